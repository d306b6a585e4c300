//! Durable timers in the broker (ADR-51): a message that is published when its time has come.

use chrono::{DateTime, SecondsFormat, Utc};
use muster_contracts::{Code, Fault, Timer};

use crate::publish::{encode, subject_of};
use crate::{Bus, MessageId, headers};

impl Bus {
    /// Publishes `timer` at `at`, or at once where that is past; the broker is up to 0.3 s late. A second timer with the same address replaces the first.
    ///
    /// # Errors
    /// INVALID where a field cannot be a token of a subject, UNAVAILABLE where the broker does not acknowledge.
    pub async fn schedule<T: Timer>(
        &self,
        timer: &T,
        at: DateTime<Utc>,
        id: &MessageId,
    ) -> Result<(), Fault> {
        let mut headers = headers::durable(self.service(), timer, id);
        headers.insert(
            "Nats-Schedule",
            format!("@at {}", at.to_rfc3339_opts(SecondsFormat::Nanos, true)),
        );
        headers.insert("Nats-Schedule-Target", subject_of(timer)?);
        self.publish_raw(address(timer)?, headers, encode(timer)?).await.map(|_published| ())
    }

    /// Cancels a timer that has not fired.
    ///
    /// # Errors
    /// INVALID where a field cannot be a token of a subject, UNAVAILABLE where the broker cannot be reached.
    pub async fn cancel<T: Timer>(&self, timer: &T) -> Result<(), Fault> {
        let subject = address(timer)?;
        let operation = async {
            let failed = |error: &dyn std::error::Error| {
                Fault::new(
                    Code::Unavailable,
                    format!("timer {subject} could not be cancelled: {error}"),
                )
            };
            let stream = self
                .jetstream()
                .get_stream_no_info(T::STREAM.name())
                .await
                .map_err(|error| failed(&error))?;
            stream.purge().filter(subject.as_str()).await.map_err(|error| failed(&error))
        };
        self.unless_down(operation).await.map(|_purged| ())
    }
}

fn address<T: Timer>(timer: &T) -> Result<String, Fault> {
    timer.schedule().map_err(|error| Fault::new(Code::Invalid, error.to_string()))
}
