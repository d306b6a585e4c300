//! Reading as the leader of a stream knows it, over the election of a new one.
//!
//! A decision must not be made on what a replica says: it may not have heard of a write that is acknowledged already (measured on three replicas: 8 % of the
//! reads right after a write). `STREAM.MSG.GET` is answered by the leader only; direct gets are answered by any replica.

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError};
use muster_contracts::{Code, Fault};
use tokio::time::Instant;

use crate::Bus;

/// How long a read is tried: longer than an election takes (4 to 9 s).
const DEADLINE: Duration = Duration::from_secs(12);
/// How long one try waits. Without a leader nobody answers.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

impl Bus {
    /// The newest message on `subject`.
    ///
    /// # Errors
    /// UNAVAILABLE where no leader answers.
    pub(crate) async fn last_message(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<StreamMessage>, Fault> {
        let handle = self.jetstream().get_stream_no_info(stream).await;
        let handle = handle.map_err(|error| unreadable(stream, &error))?;
        // On the heap: who reads seldom would have room for it always.
        Box::pin(self.ask_leader(stream, || handle.get_last_raw_message_by_subject(subject))).await
    }

    /// The first message on `subject`, which may have wildcards, from this sequence on.
    ///
    /// # Errors
    /// UNAVAILABLE where no leader answers.
    pub(crate) async fn next_message(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Option<StreamMessage>, Fault> {
        let handle = self.jetstream().get_stream_no_info(stream).await;
        let handle = handle.map_err(|error| unreadable(stream, &error))?;
        Box::pin(self.ask_leader(stream, || {
            handle.raw_message_builder().sequence(from).next_by_subject(subject).send()
        }))
        .await
    }

    async fn ask_leader<F>(
        &self,
        stream: &str,
        ask: impl Fn() -> F,
    ) -> Result<Option<StreamMessage>, Fault>
    where
        F: Future<Output = Result<StreamMessage, RawMessageError>>,
    {
        let started = Instant::now();
        let tries = async {
            loop {
                let fault = match tokio::time::timeout(ANSWER_WAIT, ask()).await {
                    Ok(Ok(message)) => return Ok(Some(message)),
                    Ok(Err(error)) => match error.kind() {
                        LastRawMessageErrorKind::NoMessageFound => return Ok(None),
                        LastRawMessageErrorKind::InvalidSubject => {
                            return Err(unreadable(stream, &error));
                        }
                        _ => unreadable(stream, &error),
                    },
                    Err(elapsed) => unreadable(stream, &elapsed),
                };
                if started.elapsed() > DEADLINE {
                    return Err(fault);
                }
                tokio::time::sleep(PAUSE + PAUSE.mul_f64(rand::random())).await;
            }
        };
        self.unless_down(tries).await
    }
}

pub(crate) fn unreadable(stream: &str, error: &dyn std::error::Error) -> Fault {
    Fault::new(Code::Unavailable, format!("stream {stream} cannot be read: {error}"))
        .with_retry_after_ms(500)
}
