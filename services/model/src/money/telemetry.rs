//! What the service tells of its work. Telling never makes a request wait: what does not fit the queue is lost, and counted.

use metrics::counter;
use muster_bus::{Bus, MessageId};
use muster_contracts::Fault;
use muster_contracts::cache::v1::{CacheHit, CacheInvalidated, CacheMiss};
use muster_contracts::gateway::v1::{
    BudgetExceeded, LlmRequest, LlmResponse, RateLimitExceeded, RateLimitWarning, TokensSaved,
};
use tokio::sync::mpsc;
use tracing::debug;

/// Events that wait for the connection.
const QUEUE: usize = 16_384;

/// An event.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Asked(LlmRequest),
    Answered(LlmResponse),
    LimitNear(RateLimitWarning),
    LimitReached(RateLimitExceeded),
    BudgetSpent(BudgetExceeded),
    Saved(TokensSaved),
    CacheHit(CacheHit),
    CacheMiss(CacheMiss),
    CacheCleared(CacheInvalidated),
}

/// The queue of events. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Telemetry(mpsc::Sender<Told>);

/// What comes out of the queue.
pub(crate) struct Pump(mpsc::Receiver<Told>);

/// A queue and its end.
pub(crate) fn telemetry() -> (Telemetry, Pump) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Telemetry(sender), Pump(receiver))
}

impl Telemetry {
    pub(crate) fn tell(&self, event: Told) {
        if self.0.try_send(event).is_err() {
            counter!("muster.model.events.lost").increment(1);
        }
    }
}

impl Pump {
    /// Publishes what is told, for ever.
    pub(crate) async fn run(mut self, bus: Bus) {
        while let Some(event) = self.0.recv().await {
            if let Err(error) = publish(&bus, &event).await {
                counter!("muster.model.events.lost").increment(1);
                debug!(%error, "event could not be published");
            }
        }
    }
}

async fn publish(bus: &Bus, event: &Told) -> Result<(), Fault> {
    let id = &MessageId::random();
    let published = match event {
        Told::Asked(event) => bus.publish(event, id).await,
        Told::Answered(event) => bus.publish(event, id).await,
        Told::LimitNear(event) => bus.publish(event, id).await,
        Told::LimitReached(event) => bus.publish(event, id).await,
        Told::BudgetSpent(event) => bus.publish(event, id).await,
        Told::Saved(event) => bus.publish(event, id).await,
        Told::CacheHit(event) => bus.publish(event, id).await,
        Told::CacheMiss(event) => bus.publish(event, id).await,
        Told::CacheCleared(event) => bus.publish(event, id).await,
    };
    published.map(drop)
}
