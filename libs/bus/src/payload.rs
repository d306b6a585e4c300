//! How a body travels: as JSON, unless the headers of its message say more.
//!
//! | header | meaning |
//! |---|---|
//! | `Content-Encoding: zstd` | the body is compressed |
//! | `Muster-Claim`, `Muster-Claim-Sha256`, `Muster-Claim-Size` | the body lies in an object store, and this one is empty |
//! | `Muster-Sealed: v1` | fields that the contract marks as sealed are encrypted |
//!
//! Written in this order: sealed, compressed, claimed; read in the reverse one. A message without these headers costs three look-ups and no allocation.

mod claim;
mod compress;
mod depth;
mod seal;

use async_nats::HeaderMap;
use bytes::Bytes;
use muster_contracts::dead_letter::v1::DeadLetter;
use muster_contracts::workflow::v1 as workflow;
use muster_contracts::{Code, Durable, Fault, Message, ObjectStore, Stream};
use serde_json::{Map, Value};

pub(crate) use claim::Lent;
pub(crate) use depth::check_depth;
pub(crate) use seal::SETTING as SEAL_KEYS_SETTING;
pub use seal::SealKeys;

use crate::publish::{check, decode, json};
use crate::{Bus, MessageId, headers};

/// The largest message, in bytes of its JSON.
pub(crate) const LARGEST: usize = 10 * 1024 * 1024;
/// The most that a body becomes by sealing, or inside a dead letter; what is larger was not written by a bus.
const LARGEST_WRITTEN: usize = 16 * 1024 * 1024;
/// The largest entry of a journal, and what tells of a whole execution: the values of one transition may each be as large as a message.
const LARGEST_ENTRY: usize = 80 * 1024 * 1024;
/// A larger body goes to an object store: streams and subscriptions stay quick and small.
const CLAIM_ABOVE: usize = 512 * 1024;
/// A reply up to this size is sent as it is, whatever the requester takes.
pub(crate) const SMALL: usize = compress::ABOVE;
/// What the bus says of the replies that it takes.
pub(crate) const ACCEPTED: &str = "zstd, muster-claim";
/// The word of a bus's inboxes behind their owner, which says the same to whoever serves what may be larger than a message: a header would make a request a third dearer.
pub(crate) const TAKES_PACKED: &str = "z";
const ACCEPTED_CLAIM: &str = "muster-claim";

/// The headers of a body that is not the JSON itself.
const PACKED: [&str; 3] = [headers::CONTENT_ENCODING, headers::CLAIM, headers::SEALED];

/// Whether the body is the JSON itself.
pub(crate) fn is_plain(headers: Option<&HeaderMap>) -> bool {
    headers.is_none_or(|headers| headers.iter().all(|(name, _)| !PACKED.contains(&name.as_ref())))
}

/// The JSON of a message, its sealed fields encrypted; then the headers say so. `id` is the message's, if it has one.
///
/// # Errors
/// INVALID where it is larger than a message may be, UNAVAILABLE where a field is to be sealed and there is no key.
pub(crate) fn write<M: Message>(
    message: &M,
    id: &str,
    keys: &SealKeys,
    headers: &mut HeaderMap,
) -> Result<Bytes, Fault> {
    let body = json(message)?;
    let largest = match largest(M::NAME) {
        LARGEST_WRITTEN if M::NAME != DeadLetter::NAME => LARGEST,
        largest => largest,
    };
    if body.len() > largest {
        return Err(Fault::new(
            Code::Invalid,
            format!("{} has {} bytes, but may have at most {largest}", M::NAME, body.len()),
        ));
    }
    if M::SEALED.is_empty() {
        return Ok(body);
    }
    let mut fields: Map<String, Value> = decode_as::<M, _>(&body)?;
    if !keys.seal::<M>(&mut fields, id)? {
        return Ok(body);
    }
    headers.insert(headers::SEALED, seal::VERSION);
    serde_json::to_vec(&fields).map(Bytes::from).map_err(|error| not_a::<M>(&error))
}

/// The most that the body of a message of this type becomes.
fn largest(message: &str) -> usize {
    if is_large(message) { LARGEST_ENTRY } else { LARGEST_WRITTEN }
}

/// Whether a message of this type may be larger than others: what happened at once in an execution, and what tells of all of it.
pub(crate) fn is_large(message: &str) -> bool {
    let large = [
        workflow::JournalEntry::NAME,
        workflow::ExecutionState::NAME,
        workflow::ExecutionReplay::NAME,
        workflow::ExecutionFile::NAME,
        workflow::ImportExecutionRequest::NAME,
        workflow::ImportedExecution::NAME,
    ];
    large.contains(&message)
}

/// Whether a reply to this inbox is read by a bus.
pub(crate) fn is_of_bus(inbox: &str) -> bool {
    inbox.starts_with("_INBOX_") && inbox.split('.').nth(1) == Some(TAKES_PACKED)
}

/// What opens the sealed fields of one message.
#[derive(Clone, Debug)]
pub(crate) struct Seals {
    keys: SealKeys,
    id: String,
}

/// The message in an opened body.
///
/// # Errors
/// INVALID where the body is of another type or a field was sealed for another message, UNAVAILABLE where its key is not known.
pub(crate) fn unseal<M: Message>(body: &[u8], seals: Option<&Seals>) -> Result<M, Fault> {
    let Some(seals) = seals.filter(|_| !M::SEALED.is_empty()) else { return decode(body) };
    let mut fields: Map<String, Value> = decode_as::<M, _>(body)?;
    seals.keys.open::<M>(&mut fields, &seals.id)?;
    serde_json::from_value(Value::Object(fields)).map_err(|error| not_a::<M>(&error))
}

impl Bus {
    pub(crate) fn seal_keys(&self) -> &SealKeys {
        &self.inner.settings.seal_keys
    }

    /// The headers and the body of a durable message, ready to be published.
    ///
    /// # Errors
    /// INVALID where it lacks a field or is too large, UNAVAILABLE where the object store cannot be written or a key is missing.
    pub(crate) async fn pack<M: Durable>(
        &self,
        message: &M,
        id: &MessageId,
    ) -> Result<(HeaderMap, Bytes), Fault> {
        let (ours, body) = self.pack_body(message, id).await?;
        let mut headers = headers::durable(self.service(), message, id);
        headers::add(&mut headers, &ours);
        Ok((headers, body))
    }

    /// The body of a durable message, and the headers that say how it is written.
    ///
    /// # Errors
    /// As [`Bus::pack`].
    pub(crate) async fn pack_body<M: Durable>(
        &self,
        message: &M,
        id: &MessageId,
    ) -> Result<(HeaderMap, Bytes), Fault> {
        check(message)?;
        let mut headers = HeaderMap::new();
        let body = write(message, id.as_str(), self.seal_keys(), &mut headers)?;
        if body.len() <= SMALL {
            return Ok((headers, body));
        }
        // What is rare is on the heap: everybody who publishes would have room for it.
        Box::pin(self.pack_large::<M>(id, headers, body)).await
    }

    async fn pack_large<M: Durable>(
        &self,
        id: &MessageId,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes), Fault> {
        let body = compress::smaller(body, &mut headers).await;
        if body.len() <= CLAIM_ABOVE || !M::STREAMS.iter().all(|stream| outlives(*stream)) {
            return Ok((headers, body));
        }
        let claim = claim::Claim::of_message(M::STREAM, id, &body);
        claim.put(self, &body).await?;
        claim.write(&mut headers);
        Ok((headers, Bytes::new()))
    }

    /// The body of a request. A large one is lent to its reader for as long as the second value lives.
    ///
    /// # Errors
    /// As [`Bus::pack`].
    pub(crate) async fn pack_request<M: Message>(
        &self,
        request: &M,
        headers: &mut HeaderMap,
    ) -> Result<(Bytes, Option<Lent>), Fault> {
        check(request)?;
        let body = write(request, "", self.seal_keys(), headers)?;
        if body.len() <= CLAIM_ABOVE {
            return Ok((body, None));
        }
        let claim = claim::Claim::of_exchange(&body);
        Box::pin(claim.put(self, &body)).await?;
        claim.write(headers);
        Ok((Bytes::new(), Some(Lent::new(self, claim))))
    }

    /// The body of a reply as the requester takes it, who said in `accepted` what beside plain JSON that may be.
    ///
    /// # Errors
    /// INVALID where it is too large for this requester, UNAVAILABLE where the object store cannot be written.
    pub(crate) async fn pack_reply(
        &self,
        body: Bytes,
        headers: &mut HeaderMap,
        accepted: &str,
    ) -> Result<Bytes, Fault> {
        let takes = |coding: &str| accepted.split(',').any(|word| word.trim() == coding);
        let body = if body.len() > SMALL && takes(compress::ZSTD) {
            Box::pin(compress::smaller(body, headers)).await
        } else {
            body
        };
        if body.len() > CLAIM_ABOVE && takes(ACCEPTED_CLAIM) {
            let claim = claim::Claim::of_exchange(&body);
            Box::pin(claim.put(self, &body)).await?;
            claim.write(headers);
            return Ok(Bytes::new());
        }
        let limit = self.client().max_payload();
        if limit > 0 && body.len() > limit {
            let size = body.len();
            let text = format!("the reply has {size} bytes, but the server takes {limit} at once");
            return Err(Fault::new(Code::Invalid, text));
        }
        Ok(body)
    }

    /// The JSON of a body, its sealed fields still sealed.
    ///
    /// # Errors
    /// INVALID where the body is not what its headers say, UNAVAILABLE where the object store cannot be read or does not have it.
    pub(crate) async fn open_body(
        &self,
        headers: Option<&HeaderMap>,
        body: Bytes,
    ) -> Result<Bytes, Fault> {
        let message = headers::get(headers, headers::CE_TYPE).unwrap_or_default();
        self.open_body_within(headers, body, largest(message)).await
    }

    async fn open_body_within(
        &self,
        headers: Option<&HeaderMap>,
        body: Bytes,
        largest: usize,
    ) -> Result<Bytes, Fault> {
        let Some(headers) = headers.filter(|headers| !is_plain(Some(headers))) else {
            return Ok(body);
        };
        let body = match claim::Claim::read(headers, largest)? {
            Some(claim) => claim.fetch(self).await?,
            None => body,
        };
        match headers.get(headers::CONTENT_ENCODING) {
            Some(coding) => compress::expand(body, coding.as_str(), largest).await,
            None => Ok(body),
        }
    }

    /// What opens the sealed fields of the message with these headers; none where it has none.
    ///
    /// # Errors
    /// INVALID where they are sealed in a way that this version does not know.
    pub(crate) fn seals(&self, headers: Option<&HeaderMap>) -> Result<Option<Seals>, Fault> {
        match headers::get(headers, headers::SEALED) {
            None => Ok(None),
            Some(seal::VERSION) => Ok(Some(Seals {
                keys: self.seal_keys().clone(),
                id: headers::get(headers, headers::CE_ID).unwrap_or_default().to_owned(),
            })),
            Some(other) => Err(Fault::new(
                Code::Invalid,
                format!("{} is {other:?}, but must be {}", headers::SEALED, seal::VERSION),
            )),
        }
    }

    /// The message with these headers and this body.
    ///
    /// # Errors
    /// As [`Bus::open_body`], [`Bus::seals`] and [`unseal`].
    pub(crate) async fn read<M: Message>(
        &self,
        headers: Option<&HeaderMap>,
        body: Bytes,
    ) -> Result<M, Fault> {
        if is_plain(headers) {
            return decode(&body);
        }
        let body = Box::pin(self.open_body_within(headers, body, largest(M::NAME))).await?;
        unseal(&body, self.seals(headers)?.as_ref())
    }

    /// Removes the claim of a reply that was read; the store's age does it where this fails.
    pub(crate) fn give_back(&self, headers: Option<&HeaderMap>) {
        if let Some(Ok(Some(claim))) = headers.map(|it| claim::Claim::read(it, LARGEST_ENTRY)) {
            drop(Lent::new(self, claim));
        }
    }
}

/// Whether the store of claims keeps a body as long as this stream, and after it the dead letters, may have the message.
fn outlives(stream: Stream) -> bool {
    let age = stream.settings().max_age_s;
    let dead = Stream::Dlq.settings().max_age_s;
    // An object may be a day older than its message.
    age != 0 && age + dead + 24 * 3600 <= ObjectStore::Claims.settings().max_age_s
}

fn decode_as<M: Message, T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|error| not_a::<M>(&error))
}

fn not_a<M: Message>(error: &serde_json::Error) -> Fault {
    Fault::new(Code::Invalid, format!("not a {}: {error}", M::NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_outlive_the_streams_that_run_executions() {
        assert!(
            outlives(Stream::Executions) && outlives(Stream::Deliverables) && outlives(Stream::Dlq)
        );
        assert!(
            !outlives(Stream::Audit) && !outlives(Stream::Queues),
            "their bodies stay with them"
        );
    }

    #[test]
    fn an_inbox_says_whether_a_bus_reads_it() {
        assert!(is_of_bus("_INBOX_gateway.z.ZoU6jUXR8vs8ZBK7tdQHl1.ZoU6jUXR8vs8ZBK7tdQIVf"));
        for inbox in ["_INBOX_worker.z9.1", "_INBOX.z.1", "_INBOX_worker.registered", "z", ""] {
            assert!(!is_of_bus(inbox), "{inbox}");
        }
    }

    #[test]
    fn a_message_without_our_headers_is_plain() {
        let mut headers = HeaderMap::new();
        assert!(is_plain(None) && is_plain(Some(&headers)));
        headers.insert("ce-id", "1");
        assert!(is_plain(Some(&headers)));
        headers.insert("Muster-Sealed", "v1");
        assert!(!is_plain(Some(&headers)));
    }
}
