//! What the bucket `KEYS` has.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use muster_contracts::model::v1::{Allowance, ProviderKey, VirtualKey};
use muster_contracts::now;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::envelope::Envelope;
use crate::error::Error;
use crate::limits::{Limits, Owner, Period};

const MAX_NAME: usize = 200;
const MAX_MODELS: usize = 100;

/// An entry of the bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Record {
    Virtual(VirtualRecord),
    Allowance(AllowanceRecord),
    Provider(ProviderRecord),
}

/// A key of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VirtualRecord {
    pub(crate) key_id: String,
    /// SHA-256 of the key. It has 256 random bits: nobody can try them all, so a slow hash with salt would only cost time.
    pub(crate) hash: String,
    pub(crate) tenant: String,
    name: String,
    start: String,
    limits: LimitsRecord,
    models: BTreeSet<String>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
}

/// What an owner may spend and do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AllowanceRecord {
    pub(crate) kind: String,
    pub(crate) name: String,
    limits: LimitsRecord,
}

/// An encrypted key of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProviderRecord {
    pub(crate) provider: String,
    pub(crate) key_id: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) envelope: Envelope,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LimitsRecord {
    budget_nanos: u64,
    period: String,
    requests_per_minute: u32,
    tokens_per_minute: u32,
}

impl LimitsRecord {
    fn limits(&self) -> Limits {
        Limits {
            budget: self.budget_nanos,
            period: Period::parse(&self.period).unwrap_or_default(),
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
        }
    }
}

fn period(text: &str) -> Result<String, Error> {
    let period = Period::parse(text).ok_or_else(|| {
        Error::invalid(format!("period is {text:?}, but must be total, day or month"))
    })?;
    Ok(period.name().to_owned())
}

/// Whether it can be the name of a tenant, an agent, a provider or a key.
pub(crate) fn is_id(name: &str) -> bool {
    let good =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && name.len() <= 63 && name.bytes().all(good)
}

pub(crate) fn check_id(field: &str, name: &str) -> Result<(), Error> {
    if is_id(name) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{field} is {name:?}, but must be 1 to 63 lower-case letters, digits, `-` and `_`, the first one a letter or a digit"
    )))
}

impl VirtualRecord {
    /// Checks what is to be created. The id follows from the hash: whoever has the key finds its entry without a list.
    pub(crate) fn parse(key: VirtualKey, hash: &str, at: DateTime<Utc>) -> Result<Self, Error> {
        check_hash(hash)?;
        check_id("`tenant`", &key.tenant)?;
        if key.name.chars().count() > MAX_NAME || key.start.len() > 16 {
            return Err(Error::invalid(format!(
                "`name` has more than {MAX_NAME} characters, or `start` more than 16"
            )));
        }
        if key.models.len() > MAX_MODELS {
            return Err(Error::invalid(format!(
                "`models` has {} entries, but must have at most {MAX_MODELS}",
                key.models.len()
            )));
        }
        let expires_at = key.expires_at.map(time).transpose()?;
        if let Some(past) = expires_at.filter(|end| *end <= at) {
            return Err(Error::invalid(format!(
                "`expires_at` is {past}, which has passed: it must be a time to come, or absent for a key that stays"
            )));
        }
        Ok(Self {
            key_id: key_id(hash),
            hash: hash.to_owned(),
            limits: LimitsRecord {
                budget_nanos: key.budget_nanos,
                period: period(&key.period)?,
                requests_per_minute: key.requests_per_minute,
                tokens_per_minute: key.tokens_per_minute,
            },
            tenant: key.tenant,
            name: key.name,
            start: key.start,
            models: key.models.into_iter().collect(),
            expires_at,
            created_at: at,
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits.limits()
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner::key(&self.key_id)
    }

    pub(crate) fn has_expired(&self, at: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|end| end <= at)
    }

    /// Whether a request may name this model, alone or behind its provider.
    pub(crate) fn allows(&self, provider: &str, model: &str) -> bool {
        let whole = format!("{provider}/{model}");
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => model.starts_with(start) || whole.starts_with(start),
            None => pattern == model || *pattern == whole,
        };
        self.models.is_empty() || self.models.iter().any(fits)
    }

    pub(crate) fn models(&self) -> String {
        self.models.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The key as others may know it.
    pub(crate) fn shown(&self) -> VirtualKey {
        VirtualKey {
            key_id: self.key_id.clone(),
            tenant: self.tenant.clone(),
            name: self.name.clone(),
            budget_nanos: self.limits.budget_nanos,
            period: self.limits.period.clone(),
            requests_per_minute: self.limits.requests_per_minute,
            tokens_per_minute: self.limits.tokens_per_minute,
            models: self.models.iter().cloned().collect(),
            expires_at: self.expires_at.and_then(now),
            created_at: now(self.created_at),
            start: self.start.clone(),
            spending: None,
        }
    }
}

impl AllowanceRecord {
    pub(crate) fn parse(allowance: Allowance) -> Result<Self, Error> {
        owner(&allowance.kind, &allowance.name)?;
        let limits = LimitsRecord {
            budget_nanos: allowance.budget_nanos,
            period: period(&allowance.period)?,
            requests_per_minute: allowance.requests_per_minute,
            tokens_per_minute: allowance.tokens_per_minute,
        };
        if limits.limits().is_none() {
            return Err(Error::invalid(
                "the allowance has no budget_nanos, requests_per_minute or tokens_per_minute: set one, or delete it",
            ));
        }
        Ok(Self { kind: allowance.kind, name: allowance.name, limits })
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits.limits()
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        Owner::of(&self.kind, &self.name)
    }

    pub(crate) fn shown(&self) -> Allowance {
        Allowance {
            kind: self.kind.clone(),
            name: self.name.clone(),
            budget_nanos: self.limits.budget_nanos,
            period: self.limits.period.clone(),
            requests_per_minute: self.limits.requests_per_minute,
            tokens_per_minute: self.limits.tokens_per_minute,
            spending: None,
        }
    }
}

impl ProviderRecord {
    pub(crate) fn shown(&self) -> ProviderKey {
        ProviderKey {
            provider: self.provider.clone(),
            key_id: self.key_id.clone(),
            created_at: now(self.created_at),
            master_key_id: self.envelope.master.clone(),
        }
    }
}

/// The owner of an allowance.
pub(crate) fn owner(kind: &str, name: &str) -> Result<Owner, Error> {
    let owner = Owner::of(kind, name).ok_or_else(|| {
        Error::invalid(format!("kind is {kind:?}, but must be tenant, agent or provider"))
    })?;
    match name.split_once('/') {
        Some((provider, model))
            if kind == "provider" && !model.is_empty() && model.len() <= 200 =>
        {
            check_id("the provider in name", provider)?;
        }
        _ => check_id("name", name)?,
    }
    Ok(owner)
}

/// The id of the key with this hash.
pub(crate) fn key_id(hash: &str) -> String {
    let digest = Sha256::digest(format!("muster virtual key {hash}").as_bytes());
    digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn check_hash(hash: &str) -> Result<(), Error> {
    let good = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if hash.len() == 64 && hash.bytes().all(good) {
        return Ok(());
    }
    Err(Error::invalid("hash must be the SHA-256 of the key: 64 lower-case hexadecimal digits"))
}

fn time(stamp: muster_contracts::Timestamp) -> Result<DateTime<Utc>, Error> {
    DateTime::try_from(stamp)
        .map_err(|_out_of_range| Error::invalid("`expires_at` is no time that there can be"))
}
