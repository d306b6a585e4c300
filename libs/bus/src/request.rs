//! Asking: a typed reply or a typed fault, always within a deadline.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::message::OutboundMessage;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use muster_contracts::{Code, Fault, Request};
use tokio::time::Instant;

use crate::ask_again::{self, Try};
use crate::publish::{decode, subject_of};
use crate::{Bus, headers, payload};

/// The deadline of [`Bus::request`].
const DEADLINE: Duration = Duration::from_secs(30);

/// A request that nobody answered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{fault}")]
pub struct Unanswered {
    /// Why: UNAVAILABLE where nobody serves it or its server ended, DEADLINE where no reply came in time, INTERNAL where what came is no reply.
    pub fault: Fault,
    /// Whether a server may have got it, so that nobody knows what was done.
    pub sent: bool,
}

impl Bus {
    /// Asks with a deadline of 30 s. What only reads (`reads` in the contract) is asked again after 2 s without an answer, and then every 4 s; the answer that comes first is taken.
    ///
    /// ```no_run
    /// # use muster_bus::Bus;
    /// # use muster_contracts::{Fault, workflow::v1::GetExecutionRequest};
    /// # async fn example(bus: Bus) -> Result<(), Fault> {
    /// let state = bus.request(&GetExecutionRequest { execution_id: "e1".into() }).await?;
    /// println!("{}", state.status);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The fault that the server answered; UNAVAILABLE where nobody serves it, DEADLINE where no reply comes in time.
    pub async fn request<R: Request>(&self, request: &R) -> Result<R::Reply, Fault> {
        self.request_within(request, DEADLINE).await
    }

    /// Asks with this deadline. A server of a `long` request gives signs of life, so that its end is noticed at once.
    ///
    /// # Errors
    /// The fault that the server answered; UNAVAILABLE where nobody serves it or its server ended, DEADLINE where no reply comes in time.
    pub async fn request_within<R: Request>(
        &self,
        request: &R,
        deadline: Duration,
    ) -> Result<R::Reply, Fault> {
        let message = self.send(request, deadline).await?;
        if let Some(fault) = fault_of(&message) {
            return Err(fault);
        }
        self.reply::<R>(message).await
    }

    /// Asks as [`Bus::request_within`], and tells what the server answered from what nobody answered: then the work may be done or not.
    ///
    /// # Errors
    /// [`Unanswered`] where no reply came, or one that is none; the inner fault is one that the server answered.
    pub async fn ask<R: Request>(
        &self,
        request: &R,
        deadline: Duration,
    ) -> Result<Result<R::Reply, Fault>, Unanswered> {
        let message = self.send(request, deadline).await.map_err(|fault| {
            let kept_here = fault.code == Code::Invalid
                || request.subject().is_ok_and(|subject| fault == nobody_serves(&subject));
            Unanswered { fault, sent: !kept_here }
        })?;
        if let Some(fault) = fault_of(&message) {
            return Ok(Err(fault));
        }
        // Where it cannot be read, what was done is known to nobody here.
        self.reply::<R>(message).await.map(Ok).map_err(|fault| Unanswered { fault, sent: true })
    }

    /// The reply itself, fetched where it lies in the object store. One that is none is the server's mistake, not the requester's.
    async fn reply<R: Request>(&self, message: Message) -> Result<R::Reply, Fault> {
        let headers = message.headers.as_ref();
        let reply = if payload::is_plain(headers) {
            decode::<R::Reply>(&message.payload)
        } else {
            let reply = Box::pin(self.read(headers, message.payload)).await;
            self.give_back(headers);
            reply
        };
        reply.map_err(|fault| match fault.code {
            Code::Invalid => {
                let text = format!("the reply of {} is {}", R::METHOD, fault.message);
                Fault::new(Code::Internal, text)
            }
            _ => fault,
        })
    }

    async fn send<R: Request>(&self, request: &R, deadline: Duration) -> Result<Message, Fault> {
        let subject = subject_of(request)?;
        let mut headers = HeaderMap::new();
        headers::insert_trace(&mut headers);
        // A large body is lent until the reply is there.
        let (body, _lent) = self.pack_request(request, &mut headers).await?;
        if R::LONG {
            headers.insert(headers::SIGNS, "1");
            headers.insert(headers::ACCEPT_ENCODING, payload::ACCEPTED);
            return self
                .unless_down(Box::pin(self.long_request(
                    OutboundMessage::new(subject.into(), body, Some(headers)),
                    deadline,
                    !R::PEERS,
                )))
                .await;
        }
        let subject = Subject::from(subject);
        // On the heap: whoever asks, and who calls it, would have room for it, and move it with every call.
        let asked = self.clone().try_once(subject.clone(), question(body, headers));
        let mut answer: Try = Box::pin(asked);
        let begun = Instant::now();
        let end = begun + deadline;
        let again = if R::READS { end.min(begun + ask_again::PATIENCE) } else { end };
        if let Some(message) = self.until(Some(again), answer.as_mut()).await {
            return message;
        }
        let late = if again < end {
            Box::pin(self.ask_again(request, &subject, answer, end)).await
        } else {
            None
        };
        late.unwrap_or_else(|| Err(too_late(&subject, deadline)))
    }

    /// Asks and waits for ever: the deadline is the caller's, so that one timer does for it and for the look at the connection.
    pub(crate) async fn try_once(
        self,
        subject: Subject,
        question: async_nats::Request,
    ) -> Result<Message, Fault> {
        self.client().send_request(subject.clone(), question).await.map_err(|error| {
            match error.kind() {
                RequestErrorKind::NoResponders => nobody_serves(&subject),
                _ => {
                    Fault::new(Code::Unavailable, format!("{subject} could not be asked: {error}"))
                }
            }
        })
    }
}

/// What is sent. It has no deadline of its own.
pub(crate) fn question(body: Bytes, headers: HeaderMap) -> async_nats::Request {
    let question = async_nats::Request::new().payload(body).timeout(None);
    if headers.is_empty() { question } else { question.headers(headers) }
}

pub(crate) fn nobody_serves(subject: &str) -> Fault {
    Fault::new(Code::Unavailable, format!("nobody serves {subject}")).with_retry_after_ms(500)
}

pub(crate) fn too_late(subject: &str, deadline: Duration) -> Fault {
    Fault::new(
        Code::Deadline,
        format!("{subject} did not answer within {} ms", deadline.as_millis()),
    )
}

/// The fault that a reply carries. A plain worker may set the service headers only.
fn fault_of(message: &Message) -> Option<Fault> {
    let code = headers::get(message.headers.as_ref(), NATS_SERVICE_ERROR_CODE)?;
    let text =
        headers::get(message.headers.as_ref(), NATS_SERVICE_ERROR).unwrap_or("the service failed");
    Some(serde_json::from_slice(&message.payload).unwrap_or_else(|_| {
        let known = Code::ALL.into_iter().find(|known| known.http_status().to_string() == code);
        Fault::new(known.unwrap_or(Code::Internal), text)
    }))
}
