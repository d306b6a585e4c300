//! Keys of clients and of providers, and what may be spent.

use chrono::{DateTime, Utc};
use muster_contracts::model::v1 as contract;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::when;

/// The largest budget, in US dollars: a whole number of billionths of it fits everywhere.
const LARGEST: f64 = 1e9;
/// The smallest.
const SMALLEST: f64 = 1e-9;

/// A virtual key to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// `^[a-z0-9][a-z0-9_-]{0,62}$`. The tenant's own allowance counts too.
    pub tenant: String,
    /// For people, at most 200 characters.
    #[serde(default)]
    pub name: String,
    /// What may be spent within `period`, by the price table, in US dollars: a billionth or more. Absent: no limit.
    #[serde(default, deserialize_with = "budget", skip_serializing_if = "is_none")]
    pub budget_usd: f64,
    /// `total`, `day` or `month` (UTC). Absent: `total`.
    #[serde(default)]
    pub period: Period,
    /// 0 or absent: no limit.
    #[serde(default)]
    pub requests_per_minute: u32,
    /// Input and output together. 0 or absent: no limit.
    #[serde(default)]
    pub tokens_per_minute: u32,
    /// The names that requests may give as their model; `*` at the end of one fits anything. Absent: every model.
    #[serde(default)]
    pub models: Vec<String>,
    /// A time such as 2027-01-31T12:00:00Z. Absent: never.
    #[serde(default, deserialize_with = "time")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// Says what would be right, which the library's own error does not.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let wrong = |_unread| {
        D::Error::custom(format!(
            "it is {text:.80?}, but must be a time such as 2027-01-31T12:00:00Z"
        ))
    };
    text.parse().map(Some).map_err(wrong)
}

/// What may be spent, and how often it may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limited {
    /// What may be spent within `period`, by the price table, in US dollars: a billionth or more. Absent: no limit.
    #[serde(default, deserialize_with = "budget", skip_serializing_if = "is_none")]
    pub budget_usd: f64,
    /// `total`, `day` or `month` (UTC). Absent: `total`.
    #[serde(default)]
    pub period: Period,
    /// 0 or absent: no limit.
    #[serde(default)]
    pub requests_per_minute: u32,
    /// Input and output together. 0 or absent: no limit.
    #[serde(default)]
    pub tokens_per_minute: u32,
}

/// How long a budget is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// For ever.
    #[default]
    Total,
    /// A day, UTC.
    Day,
    /// A month, UTC.
    Month,
}

impl Period {
    const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    fn of(name: &str) -> Self {
        match name {
            "day" => Self::Day,
            "month" => Self::Month,
            _ => Self::Total,
        }
    }
}

/// A virtual key. Never has the key: that is shown once, when it is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Names the key.
    pub key_id: String,
    /// How the key begins, for people who look for it.
    pub start: String,
    /// Whose it is.
    pub tenant: String,
    /// For people.
    pub name: String,
    /// What may be spent with it, and how often.
    #[serde(flatten)]
    #[schema(inline)]
    pub limits: Limited,
    /// The names that requests may give as their model; empty: every model.
    pub models: Vec<String>,
    /// Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
    /// What was spent with it; only where one key is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spending: Option<Spending>,
}

/// A virtual key that was just made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// The key itself. It is shown this once: only its hash is kept.
    pub key: String,
    /// All about it.
    #[serde(flatten)]
    #[schema(inline)]
    pub about: Key,
}

/// Virtual keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Keys {
    /// In the order of their creation.
    pub keys: Vec<Key>,
}

/// What was spent within the period that we are in, by the price table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Spending {
    /// In US dollars.
    pub spent_usd: f64,
    /// The same, exactly: in billionths of a US dollar.
    pub spent_nanos: u64,
    /// What calls that run now may cost at most, in US dollars.
    pub reserved_usd: f64,
    /// When the period began; absent: nothing was spent in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
}

/// What a tenant, an agent or a provider may spend and how often it may be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Allowance {
    /// `tenant`, `agent` or `provider`.
    pub kind: String,
    /// Of a provider also `<provider>/<model>`.
    pub name: String,
    /// How much, and how often.
    #[serde(flatten)]
    #[schema(inline)]
    pub limits: Limited,
    /// What was spent of it; only where one is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spending: Option<Spending>,
}

/// Allowances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Allowances {
    /// By kind and name.
    pub allowances: Vec<Allowance>,
}

/// A key of a provider to be stored.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProviderKey {
    /// The key: visible ASCII, at most 4096 bytes. It is encrypted, and nobody can read it here again.
    pub key: String,
    /// Names it: `^[a-z0-9][a-z0-9_-]{0,62}$`; one with this name is replaced. Absent: a new name is made.
    #[serde(default)]
    pub key_id: String,
}

impl std::fmt::Debug for NewProviderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewProviderKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A stored key of a provider. Never has the key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProviderKey {
    /// The provider.
    pub provider: String,
    /// Names the key.
    pub key_id: String,
    /// When it was stored.
    pub created_at: Option<DateTime<Utc>>,
    /// The master key under which it lies.
    pub master_key_id: String,
}

/// Stored keys of a provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProviderKeys {
    /// The newest last.
    pub keys: Vec<ProviderKey>,
}

/// What became of the stored keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rewrapped {
    /// The newest master key.
    pub master_key_id: String,
    /// Keys that were under another one before.
    pub rewrapped: u32,
    /// Keys that were under it already.
    pub unchanged: u32,
}

/// A budget that is sent limits something: 0 does not say that there is none.
fn budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let budget_usd = f64::deserialize(deserializer)?;
    if (SMALLEST..=LARGEST).contains(&budget_usd) {
        return Ok(budget_usd);
    }
    Err(D::Error::custom(format!(
        "budget_usd is {budget_usd}, but must be {SMALLEST:.9} to {LARGEST}; leave it out for no limit"
    )))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_none(budget_usd: &f64) -> bool {
    *budget_usd == 0.0
}

/// Whole billionths: as many as it says, and at least one.
fn nanos(budget_usd: f64) -> u64 {
    (budget_usd * 1e9).round() as u64
}

impl Limited {
    fn of(nanos: u64, period: &str, requests_per_minute: u32, tokens_per_minute: u32) -> Self {
        Self {
            budget_usd: dollars(nanos),
            period: Period::of(period),
            requests_per_minute,
            tokens_per_minute,
        }
    }
}

fn dollars(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

impl NewKey {
    /// As the model service takes it.
    pub(crate) fn contract(self, start: &str) -> contract::VirtualKey {
        contract::VirtualKey {
            budget_nanos: nanos(self.budget_usd),
            period: self.period.name().to_owned(),
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            tenant: self.tenant,
            name: self.name,
            models: self.models,
            expires_at: self.expires_at.and_then(muster_contracts::now),
            start: start.to_owned(),
            ..contract::VirtualKey::default()
        }
    }
}

impl Limited {
    /// The allowance of an owner, as the model service takes it.
    pub(crate) fn contract(self, kind: String, name: String) -> contract::Allowance {
        contract::Allowance {
            kind,
            name,
            budget_nanos: nanos(self.budget_usd),
            period: self.period.name().to_owned(),
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            spending: None,
        }
    }
}

impl From<contract::Spending> for Spending {
    fn from(spending: contract::Spending) -> Self {
        Self {
            spent_usd: dollars(spending.spent_nanos),
            spent_nanos: spending.spent_nanos,
            reserved_usd: dollars(spending.reserved_nanos),
            since: when(spending.since.as_ref()),
        }
    }
}

impl From<contract::VirtualKey> for Key {
    fn from(key: contract::VirtualKey) -> Self {
        Self {
            limits: Limited::of(
                key.budget_nanos,
                &key.period,
                key.requests_per_minute,
                key.tokens_per_minute,
            ),
            expires_at: when(key.expires_at.as_ref()),
            created_at: when(key.created_at.as_ref()),
            spending: key.spending.map(Spending::from),
            key_id: key.key_id,
            start: key.start,
            tenant: key.tenant,
            name: key.name,
            models: key.models,
        }
    }
}

impl From<contract::Allowance> for Allowance {
    fn from(allowance: contract::Allowance) -> Self {
        Self {
            limits: Limited::of(
                allowance.budget_nanos,
                &allowance.period,
                allowance.requests_per_minute,
                allowance.tokens_per_minute,
            ),
            spending: allowance.spending.map(Spending::from),
            kind: allowance.kind,
            name: allowance.name,
        }
    }
}

impl From<contract::ProviderKey> for ProviderKey {
    fn from(key: contract::ProviderKey) -> Self {
        Self {
            created_at: when(key.created_at.as_ref()),
            provider: key.provider,
            key_id: key.key_id,
            master_key_id: key.master_key_id,
        }
    }
}
