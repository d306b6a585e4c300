//! Publishing: acknowledged for what must last, unacknowledged for live tokens.

use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use muster_contracts::{Code, Durable, Fault, Token};
use tokio::time::Instant;

use crate::{Bus, MessageId, headers, payload};

/// How long a publish is tried: longer than the election of a new leader takes (NATS: 4 to 9 s).
const PUBLISH_DEADLINE: Duration = Duration::from_secs(15);
/// How long one try waits for the acknowledgement.
const ACK_WAIT: Duration = Duration::from_secs(3);
/// The error code where another append to the subject is in flight; clusters only.
const IN_FLIGHT: u32 = 10164;
/// Error codes of what passes: the system is temporarily unavailable, the servers have no leader, a message with this id is in process, or one with this subject.
const PASSING: [u32; 4] = [10008, 10009, 10158, IN_FLIGHT];

/// Where a message was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its place in the stream; 0 where the stream does not acknowledge.
    pub sequence: u64,
    /// A message with this id was there already; nothing was stored.
    pub duplicate: bool,
}

/// A publish that was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The subject's last sequence is another.
    WrongLastSequence,
    Fault(Fault),
}

impl Refused {
    fn into_fault(self) -> Fault {
        match self {
            Self::WrongLastSequence => {
                Fault::new(Code::Conflict, "the subject's last sequence is another")
            }
            Self::Fault(fault) => fault,
        }
    }
}

impl Bus {
    /// Publishes an event or a command. When it returns, the stream has it; a second message with this id changes nothing.
    ///
    /// A stream that does not acknowledge (`no_ack` in the contract: it records, and loses what comes while it is away) is not waited for.
    ///
    /// # Errors
    /// INVALID where a field cannot be a token of the subject or the message is larger than 10 MiB, UNAVAILABLE where the stream does not acknowledge.
    pub async fn publish<M: Durable>(
        &self,
        message: &M,
        id: &MessageId,
    ) -> Result<Published, Fault> {
        let subject = subject_of(message)?;
        let (ours, body) = self.pack_body(message, id).await?;
        // Made for each try: a try takes them, and mostly there is one.
        let headers = || {
            let mut headers = headers::durable(self.service(), message, id);
            headers::add(&mut headers, &ours);
            headers
        };
        if M::STREAM.settings().no_ack {
            return self.publish_unacknowledged(subject, headers(), body).await;
        }
        self.publish_made(subject, headers, body, None).await.map_err(Refused::into_fault)
    }

    /// Publishes a token without waiting for anything: a lost token is cosmetic, the whole reply travels on the durable way.
    ///
    /// # Errors
    /// INVALID where a field cannot be a token of the subject, UNAVAILABLE where the connection is away.
    pub async fn emit<M: Token>(&self, token: &M) -> Result<(), Fault> {
        let subject = subject_of(token)?;
        check(token)?;
        let mut headers = HeaderMap::new();
        let body = payload::write(token, "", self.seal_keys(), &mut headers)?;
        let sent = async {
            let sent = match headers.is_empty() {
                true => self.client().publish(subject, body).await,
                false => self.client().publish_with_headers(subject, headers, body).await,
            };
            sent.map_err(|error| unavailable(&error))
        };
        self.unless_down(sent).await
    }

    /// A wait for the acknowledgement would end by the deadline, each time.
    async fn publish_unacknowledged(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Published, Fault> {
        let sent = async {
            let sent = self.client().publish_with_headers(subject, headers, body).await;
            sent.map_err(|error| unavailable(&error))
        };
        self.unless_down(sent).await?;
        Ok(Published { sequence: 0, duplicate: false })
    }

    pub(crate) async fn publish_raw(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Published, Fault> {
        self.publish_expecting(subject, headers, body, None).await.map_err(Refused::into_fault)
    }

    pub(crate) async fn publish_expecting(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
        expected: Option<u64>,
    ) -> Result<Published, Refused> {
        self.publish_made(subject, || headers.clone(), body, expected).await
    }

    async fn publish_made(
        &self,
        subject: String,
        headers: impl Fn() -> HeaderMap,
        body: Bytes,
        expected: Option<u64>,
    ) -> Result<Published, Refused> {
        let limit = self.client().max_payload();
        if limit > 0 && body.len() > limit {
            return Err(Refused::Fault(Fault::new(
                Code::Invalid,
                format!(
                    "a message of {} bytes is larger than the server's limit of {limit}",
                    body.len()
                ),
            )));
        }
        let operation =
            async { Ok(self.try_until_acknowledged(subject, headers, body, expected).await) };
        self.unless_down(operation).await.map_err(Refused::Fault)?
    }

    /// Tries again with the same id: where the acknowledgement was lost, the stream answers «duplicate».
    async fn try_until_acknowledged(
        &self,
        subject: String,
        headers: impl Fn() -> HeaderMap,
        body: Bytes,
        expected: Option<u64>,
    ) -> Result<Published, Refused> {
        let subject = Subject::from(subject);
        let started = Instant::now();
        let mut pause = Duration::from_millis(50);
        let mut first = true;
        loop {
            let mut message = PublishMessage::build().headers(headers()).payload(body.clone());
            if let Some(sequence) = expected {
                message = message.expected_last_subject_sequence(sequence);
            }
            let error = match self.jetstream().send_publish(subject.clone(), message).await {
                Ok(ack) => match tokio::time::timeout(ACK_WAIT, ack).await {
                    Ok(Ok(ack)) => {
                        return Ok(Published { sequence: ack.sequence, duplicate: ack.duplicate });
                    }
                    Ok(Err(error)) => error,
                    Err(_elapsed) => PublishErrorKind::TimedOut.into(),
                },
                Err(error) => error,
            };
            match error.kind() {
                PublishErrorKind::WrongLastSequence => return Err(Refused::WrongLastSequence),
                // A cluster also refuses while another append to the subject is in flight (10164), without a kind of its own.
                // After a try that was not acknowledged it may be that very one, which is still to be stored or not.
                PublishErrorKind::Other
                    if first && expected.is_some() && says(&error, IN_FLIGHT) =>
                {
                    return Err(Refused::WrongLastSequence);
                }
                // The same message is in flight, or nobody leads: the next try will tell.
                PublishErrorKind::Other
                    if PASSING.iter().any(|code| says(&error, *code))
                        && started.elapsed() < PUBLISH_DEADLINE => {}
                PublishErrorKind::TimedOut
                | PublishErrorKind::StreamNotFound
                | PublishErrorKind::BrokenPipe
                | PublishErrorKind::MaxAckPending
                    if started.elapsed() < PUBLISH_DEADLINE => {}
                _ => return Err(Refused::Fault(unavailable(&error))),
            }
            first = false;
            tokio::time::sleep(pause + Duration::from_millis(rand::random::<u64>() % 50)).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

fn says(error: &PublishError, code: u32) -> bool {
    error.to_string().contains(&format!("error code {code}"))
}

pub(crate) fn subject_of<M: muster_contracts::Addressed>(message: &M) -> Result<String, Fault> {
    message.subject().map_err(|error| Fault::new(Code::Invalid, error.to_string()))
}

/// Refuses a message that lacks a required field.
pub(crate) fn check<M: muster_contracts::Message>(message: &M) -> Result<(), Fault> {
    match message.missing() {
        Some(field) => Err(Fault::new(Code::Invalid, format!("{} needs `{field}`", M::NAME))),
        None => Ok(()),
    }
}

pub(crate) fn json<M: muster_contracts::Message>(message: &M) -> Result<Bytes, Fault> {
    serde_json::to_vec(message).map(Bytes::from).map_err(|error| {
        Fault::new(Code::Internal, format!("{} cannot be written as JSON: {error}", M::NAME))
    })
}

pub(crate) fn decode<M: muster_contracts::Message>(body: &[u8]) -> Result<M, Fault> {
    serde_json::from_slice(body)
        .map_err(|error| Fault::new(Code::Invalid, format!("not a {}: {error}", M::NAME)))
}

pub(crate) fn unavailable(error: &dyn std::error::Error) -> Fault {
    Fault::new(Code::Unavailable, format!("NATS did not take the message: {error}"))
        .with_retry_after_ms(1000)
}
