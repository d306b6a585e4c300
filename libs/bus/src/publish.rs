//! Publishing: acknowledged for what must last, unacknowledged for live tokens.

use std::time::Duration;

use async_nats::{HeaderMap, Request, RequestErrorKind, Subject};
use bytes::Bytes;
use muster_contracts::{Code, Durable, Fault, Token};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{Bus, MessageId, headers, payload};

/// How long a publish is tried: longer than the election of a new leader takes (NATS: 4 to 9 s).
const PUBLISH_DEADLINE: Duration = Duration::from_secs(15);
/// How long one try waits for the acknowledgement.
const ACK_WAIT: Duration = Duration::from_secs(3);
/// The error code where the subject's last sequence is another than the expected one.
pub(crate) const WRONG_LAST_SEQUENCE: u64 = 10071;
/// The same where another append to the subject is in flight; clusters only.
pub(crate) const IN_FLIGHT: u64 = 10164;
/// Error codes of what passes: the system is temporarily unavailable, the servers have no leader, a message with this id is in process, or one with this subject.
const PASSING: [u64; 5] = [10008, 10009, 10158, IN_FLIGHT, UNANSWERED];
/// What stands where the stream has said nothing: the next try will tell.
const UNANSWERED: u64 = 1;

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
    /// The subject's last sequence is another. `at_once` says that the first try was told so: then nothing of this message is stored.
    /// Otherwise an earlier try, of whose end nothing was heard, may have been stored, and another message behind it.
    WrongLastSequence {
        at_once: bool,
    },
    Fault(Fault),
}

impl Refused {
    fn into_fault(self) -> Fault {
        match self {
            Self::WrongLastSequence { .. } => {
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
    /// ```no_run
    /// # use muster_bus::{Bus, MessageId};
    /// # use muster_contracts::{Fault, tool::v1::ToolExecutionRequested};
    /// # async fn example(bus: Bus, command: ToolExecutionRequested) -> Result<(), Fault> {
    /// let stored = bus.publish(&command, &MessageId::derived(["e1", "7", "0"])).await?;
    /// println!("{} is in the stream", stored.sequence);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// INVALID where a field cannot be a token of the subject or the message is larger than 10 MiB, UNAVAILABLE where the stream does not acknowledge.
    pub async fn publish<M: Durable>(
        &self,
        message: &M,
        id: &MessageId,
    ) -> Result<Published, Fault> {
        self.publish_noted(message, id, &[]).await
    }

    /// As [`Bus::publish`], with further headers, which [`Bus::glance`] reads without the body. Their names are the contract's: it says where a message has them.
    ///
    /// # Errors
    /// As [`Bus::publish`].
    pub async fn publish_noted<M: Durable>(
        &self,
        message: &M,
        id: &MessageId,
        notes: &[(&'static str, &str)],
    ) -> Result<Published, Fault> {
        let subject = subject_of(message)?;
        let (mut ours, body) = self.pack_body(message, id).await?;
        for (name, value) in notes {
            ours.insert(*name, headers::one_line(value).as_ref());
        }
        // Made for each try: a try takes them, and mostly there is one.
        let headers = || {
            let mut headers = headers::durable(self.service(), message, id);
            headers::add(&mut headers, &ours);
            headers
        };
        if M::STREAM.settings().no_ack {
            return Box::pin(self.publish_unacknowledged(subject, headers(), body)).await;
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
        self.try_until_acknowledged(subject, headers, body, expected).await
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
        let (mut first, mut moved_on) = (true, false);
        loop {
            let mut headers = headers();
            if let Some(sequence) = expected {
                let name = async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
                headers.insert(name, sequence.to_string());
            }
            let fault = match self.store(subject.clone(), headers, body.clone()).await? {
                Stored { error: None, seq, duplicate } => {
                    return Ok(Published { sequence: seq, duplicate });
                }
                Stored { error: Some(error), .. } => match error.err_code {
                    WRONG_LAST_SEQUENCE if first || moved_on => {
                        return Err(Refused::WrongLastSequence { at_once: first });
                    }
                    // A new leader looks at the id before it looks at the sequence. Where it stores the earlier try in between, it
                    // refuses this one for that very message; asked once more, it knows the id.
                    WRONG_LAST_SEQUENCE => {
                        moved_on = true;
                        not_taken(&error)
                    }
                    // A cluster also refuses while another append to the subject is in flight.
                    // After a try that was not acknowledged it may be that very one, which is still to be stored or not.
                    IN_FLIGHT if first && expected.is_some() => {
                        return Err(Refused::WrongLastSequence { at_once: true });
                    }
                    code if PASSING.contains(&code) => not_taken(&error),
                    _ => return Err(Refused::Fault(not_taken(&error))),
                },
            };
            if started.elapsed() >= PUBLISH_DEADLINE {
                return Err(Refused::Fault(fault));
            }
            first = false;
            Box::pin(tokio::time::sleep(pause + Duration::from_millis(rand::random::<u64>() % 50)))
                .await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// One try: what the broker says, or that it says nothing. One timer for both the acknowledgement and the outage budget: a timer costs as much as a header.
    async fn store(
        &self,
        subject: Subject,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Stored, Refused> {
        let request = Request::new().headers(headers).payload(body).timeout(None);
        // On the heap: all who publish, and who calls them, would have room for it, and move it with every call.
        let asked = Box::pin(self.client().send_request(subject, request));
        let reply = async { Ok(asked.await) };
        let unanswered = |text: String| Ok(Stored::failed(text, UNANSWERED));
        match self.until(Some(Instant::now() + ACK_WAIT), reply).await {
            None => unanswered("it did not acknowledge in time".to_owned()),
            Some(Err(unreachable)) => Err(Refused::Fault(unreachable)),
            Some(Ok(Ok(reply))) => Ok(Stored::read(&reply.payload)),
            Some(Ok(Err(error))) => match error.kind() {
                RequestErrorKind::NoResponders => unanswered("no stream takes it".to_owned()),
                RequestErrorKind::Other => unanswered(error.to_string()),
                _ => Ok(Stored::failed(error.to_string(), 0)),
            },
        }
    }
}

/// What a stream says of a message.
#[derive(Deserialize)]
pub(crate) struct Stored {
    #[serde(default)]
    pub(crate) seq: u64,
    #[serde(default)]
    duplicate: bool,
    pub(crate) error: Option<NotStored>,
}

#[derive(Deserialize)]
pub(crate) struct NotStored {
    /// 0 where it is not the stream that refuses.
    #[serde(default)]
    pub(crate) err_code: u64,
    #[serde(default)]
    pub(crate) description: String,
}

impl Stored {
    pub(crate) fn read(reply: &[u8]) -> Self {
        serde_json::from_slice(reply)
            .unwrap_or_else(|error| Self::failed(format!("not an acknowledgement: {error}"), 0))
    }

    const fn failed(description: String, err_code: u64) -> Self {
        Self { seq: 0, duplicate: false, error: Some(NotStored { err_code, description }) }
    }
}

impl std::fmt::Display for NotStored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.err_code {
            0 | UNANSWERED => f.write_str(&self.description),
            code => write!(f, "{} (error code {code})", self.description),
        }
    }
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
    // Most fit at once: a vector that grows is copied each time.
    let mut body = Vec::with_capacity(1024);
    serde_json::to_writer(&mut body, message).map_err(|error| {
        Fault::new(Code::Internal, format!("{} cannot be written as JSON: {error}", M::NAME))
    })?;
    payload::check_depth(M::NAME, &body)?;
    Ok(body.into())
}

pub(crate) fn decode<M: muster_contracts::Message>(body: &[u8]) -> Result<M, Fault> {
    serde_json::from_slice(body)
        .map_err(|error| Fault::new(Code::Invalid, format!("not a {}: {error}", M::NAME)))
}

pub(crate) fn unavailable(error: &dyn std::error::Error) -> Fault {
    not_taken(error)
}

fn not_taken(error: &(impl std::fmt::Display + ?Sized)) -> Fault {
    Fault::new(Code::Unavailable, format!("NATS did not take the message: {error}"))
        .with_retry_after_ms(1000)
}
