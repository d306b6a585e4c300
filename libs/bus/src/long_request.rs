//! Requests whose server gives signs of life while it works.

use std::time::Duration;

use async_nats::jetstream::message::OutboundMessage;
use async_nats::{Message, StatusCode};
use muster_contracts::{Code, Fault};
use tokio::time::Instant;

use crate::long_inbox::LongInbox;
use crate::request::{nobody_serves, too_late};
use crate::{Bus, headers};

/// How often a server says that it works.
pub(crate) const SIGN_EVERY: Duration = Duration::from_secs(1);
/// How long a silent server counts as alive.
const SILENCE: Duration = Duration::from_secs(5);

impl Bus {
    /// Publishes `question` and waits for the reply. `signs`: its server gives the first sign of life within a second; else one that gives none is waited for.
    pub(crate) async fn long_request(
        &self,
        question: OutboundMessage,
        deadline: Duration,
        signs: bool,
    ) -> Result<Message, Fault> {
        let subject = question.subject.to_string();
        let broken = |error: &dyn std::error::Error| {
            Fault::new(Code::Unavailable, format!("{subject} could not be asked: {error}"))
        };
        let opened = self.inner.long_inbox.get_or_try_init(|| LongInbox::open(self.client())).await;
        // Listens before the request is published: a fast reply must find us.
        let (inbox, mut replies) = opened.map_err(|error| broken(&error))?.begin();
        self.client()
            .publish_with_reply_and_headers(
                question.subject,
                inbox,
                question.headers.unwrap_or_default(),
                question.payload,
            )
            .await
            .map_err(|error| broken(&error))?;
        let end = Instant::now() + deadline;
        let mut silent = if signs { SILENCE } else { deadline };
        loop {
            let message =
                tokio::time::timeout_at(end.min(Instant::now() + silent), replies.next()).await;
            match message {
                Ok(Some(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                    return Err(nobody_serves(&subject));
                }
                Ok(Some(message))
                    if headers::get(message.headers.as_ref(), headers::WORKING).is_some() =>
                {
                    silent = SILENCE;
                }
                Ok(Some(message)) => return Ok(message),
                Ok(None) => return Err(self.unreachable()),
                Err(_elapsed) if Instant::now() >= end => return Err(too_late(&subject, deadline)),
                Err(_elapsed) => {
                    let text = format!(
                        "{subject} gave no sign of life for {} s: nobody serves it, or its server ended",
                        silent.as_secs()
                    );
                    return Err(Fault::new(Code::Unavailable, text).with_retry_after_ms(500));
                }
            }
        }
    }
}
