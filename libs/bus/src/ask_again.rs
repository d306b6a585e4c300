//! Asking again what only reads: whoever was killed with a request in hand answers it to nobody, and another replica can do so at once.

use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject};
use futures::StreamExt;
use futures::future::{BoxFuture, pending};
use futures::stream::FuturesUnordered;
use muster_contracts::{Fault, Request, permissions};
use tokio::time::Instant;
use tracing::debug;

use crate::request::question;
use crate::{Bus, headers, metrics};

/// How long the first try has.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// How long each further one has. One that is slow is not made slower by much; and of two replicas one that hangs still gets half of the tries until the server hangs up on it, so that some are needed.
const LATER: Duration = Duration::from_secs(4);

/// The pause where a try reached nobody: the service is about to start again, or its last replica to end and to answer what it has.
const PAUSE: Duration = Duration::from_millis(500);

/// A question that was asked, with what comes of it.
pub(crate) type Try = BoxFuture<'static, Result<Message, Fault>>;

impl Bus {
    /// Asks again until `end` while every try before is still listened to. The answer that comes first, or nothing where none came.
    pub(crate) async fn ask_again<R: Request>(
        &self,
        request: &R,
        subject: &Subject,
        first: Try,
        end: Instant,
    ) -> Option<Result<Message, Fault>> {
        let again = metrics::asked_again(self.service(), permissions::kebab(R::METHOD));
        let mut tries: FuturesUnordered<Try> = FuturesUnordered::new();
        tries.push(first);
        loop {
            debug!(%subject, "no answer yet, asking again");
            again.increment(1);
            tries.push(Box::pin(self.clone().try_again(request.clone(), subject.clone())));
            let mut next = end.min(Instant::now() + LATER);
            loop {
                let answer = async {
                    match tries.next().await {
                        Some(answer) => Ok(answer),
                        None => pending().await,
                    }
                };
                match self.until(Some(next), answer).await {
                    Some(Ok(Ok(message))) => {
                        tokio::spawn(self.clone().give_back_others(tries, end));
                        return Some(Ok(message));
                    }
                    // This try reached nobody; another one may still be answered.
                    Some(Ok(Err(_fault))) => {
                        next = next.min(Instant::now() + PAUSE);
                    }
                    Some(Err(unreachable)) => return Some(Err(unreachable)),
                    None => break,
                }
            }
            if next >= end {
                return None;
            }
        }
    }

    /// Written anew: a lent body is gone once somebody has read it.
    async fn try_again<R: Request>(self, request: R, subject: Subject) -> Result<Message, Fault> {
        let mut headers = HeaderMap::new();
        headers::insert_trace(&mut headers);
        let (body, _lent) = self.pack_request(&request, &mut headers).await?;
        self.try_once(subject, question(body, headers)).await
    }

    /// An answer that nobody reads any more may have its body in the object store.
    async fn give_back_others(self, mut tries: FuturesUnordered<Try>, end: Instant) {
        while let Ok(Some(answer)) = tokio::time::timeout_at(end, tries.next()).await {
            if let Ok(message) = answer {
                self.give_back(message.headers.as_ref());
            }
        }
    }
}
