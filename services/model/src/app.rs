//! What handlers share.

use std::sync::Arc;

use futures::FutureExt;
use muster_bus::{Bus, OpenCalls, RecordedCalls, Repeat};
use muster_contracts::llm::v1::CompleteResponse;
use muster_contracts::{Code, Fault};

use crate::abandoned::Sessions;
use crate::cache::Cache;
use crate::config::Config;
use crate::keys::{Directory, Vault};
use crate::limits::{Gate, Ledger, Recorded, Work, ledger};
use crate::money::{Pump, Quotes, Telemetry, telemetry};
use crate::providers::{Keys, Providers};
use crate::routing::Routing;
use crate::slots::Slots;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) routing: Routing,
    /// Replies by their idempotency key: what is paid is not bought twice.
    pub(crate) replies: RecordedCalls<CompleteResponse>,
    /// What is asked for tasks: a cancelled one needs no reply.
    pub(crate) calls: OpenCalls,
    /// What is asked for clients that may hang up.
    pub(crate) sessions: Sessions,
    /// Requests to providers at the same time.
    pub(crate) slots: Slots,
    /// Who may ask, and what that has reserved.
    pub(crate) gate: Gate,
    pub(crate) ledger: Ledger,
    /// What requests may cost.
    pub(crate) quotes: Quotes,
    /// Replies that were given before, to whomever.
    pub(crate) cache: Cache,
    /// Keys of clients and of providers, and allowances.
    pub(crate) directory: Directory,
    pub(crate) vault: Vault,
    pub(crate) telemetry: Telemetry,
}

/// What runs beside the handlers.
pub(crate) struct Beside {
    pub(crate) accounts: Work,
    pub(crate) events: Pump,
}

impl App {
    pub(crate) fn new(bus: Bus, config: &Config) -> anyhow::Result<(Self, Beside)> {
        let settings = &config.limits;
        let directory = Directory::new(&bus);
        let vault = Vault::new(directory.clone(), settings.masters.clone());
        let (telemetry, events) = telemetry();
        let providers = Providers::new(config, &Keys::new(vault.clone(), telemetry.clone()))?;
        let replies = RecordedCalls::new(&bus);
        let (ledger, accounts) = ledger(&bus, settings.lease, recorded(replies.clone()));
        let app = Self {
            gate: Gate::new(
                directory.clone(),
                ledger.clone(),
                telemetry.clone(),
                settings.takes_unpriced,
            ),
            ledger,
            quotes: Quotes {
                prices: settings.prices.clone(),
                output_tokens: settings.output_tokens,
            },
            cache: Cache::new(&bus, settings.cache.clone(), telemetry.clone()),
            directory,
            vault,
            telemetry,
            routing: Routing::new(&bus, config, providers)?,
            replies,
            calls: OpenCalls::new(&bus),
            sessions: Sessions::default(),
            slots: Slots::new(config.concurrency, config.queue),
            bus,
        };
        Ok((app, Beside { accounts, events }))
    }
}

/// What a reply cost that is recorded; nothing where none is. A call that still runs is waited for.
fn recorded(replies: RecordedCalls<CompleteResponse>) -> Recorded {
    Arc::new(move |key: String| {
        let replies = replies.clone();
        async move {
            let none = || async { Err(Fault::new(Code::NotFound, "no reply is recorded")) };
            match replies.run(&key, Repeat::Safe, none).await {
                Ok((reply, _)) => Ok(Some(reply.cost_nanos)),
                Err(fault) if fault.code == Code::NotFound => Ok(None),
                Err(fault) => Err(fault),
            }
        }
        .boxed()
    })
}
