//! Claim checks: a large body lies in an object store, and the message says where.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use chrono::Utc;
use muster_contracts::{Code, Fault, ObjectStore, Stream};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::debug;

use crate::id::hex;
use crate::{Bus, MessageId, headers};

/// How long the body of a message is tried to be stored: longer than the election of a new leader takes.
const PUT_DEADLINE: Duration = Duration::from_secs(15);
const PUT_PAUSE: Duration = Duration::from_millis(250);
/// How often a body is asked for: for 1.5 s in all.
const FETCH_TRIES: u32 = 6;
const FETCH_PAUSE: Duration = Duration::from_millis(50);

/// Where a body lies, and what it is.
pub(crate) struct Claim {
    store: ObjectStore,
    name: String,
    sha256: String,
    size: usize,
}

impl Claim {
    /// The claim for the body of a durable message. The name says message and content: a second try finds the same object, and never changes the body of a message that is out already.
    pub(super) fn of_message(stream: Stream, id: &MessageId, body: &[u8]) -> Self {
        let hash = Sha256::digest(body);
        let id = hex(&Sha256::digest(id.as_str().as_bytes()), 16);
        // The day makes sure that a message never names an object that is much older than itself.
        let day = Utc::now().format("%Y-%m-%d");
        let name = format!("{}/{day}/{id}-{}", stream.name(), hex(&hash, 16));
        Self { store: ObjectStore::Claims, name, sha256: hex(&hash, 32), size: body.len() }
    }

    /// The claim for the body of a request or a reply.
    pub(super) fn of_exchange(body: &[u8]) -> Self {
        Self {
            store: ObjectStore::Exchange,
            name: uuid::Uuid::now_v7().simple().to_string(),
            sha256: hex(&Sha256::digest(body), 32),
            size: body.len(),
        }
    }

    /// The claim that the headers make, for a body of at most `largest` bytes.
    pub(super) fn read(headers: &HeaderMap, largest: usize) -> Result<Option<Self>, Fault> {
        let Some(place) = headers::get(Some(headers), headers::CLAIM) else { return Ok(None) };
        let stores = [ObjectStore::Claims, ObjectStore::Exchange];
        let found = place.split_once('/').and_then(|(store, name)| {
            let store = stores.into_iter().find(|known| known.name() == store)?;
            (!name.is_empty()).then_some((store, name))
        });
        let (store, name) = found.ok_or_else(|| {
            invalid(headers::CLAIM, place, "CLAIMS/<object> or EXCHANGE/<object>")
        })?;
        let sha256 = headers::get(Some(headers), headers::CLAIM_SHA256).unwrap_or_default();
        if sha256.len() != 64 || !sha256.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(invalid(headers::CLAIM_SHA256, sha256, "64 hexadecimal digits"));
        }
        let size = headers::get(Some(headers), headers::CLAIM_SIZE).unwrap_or_default();
        let size = size.parse().ok().filter(|size| *size <= largest).ok_or_else(|| {
            invalid(headers::CLAIM_SIZE, size, &format!("a number of bytes up to {largest}"))
        })?;
        let sha256 = sha256.to_ascii_lowercase();
        Ok(Some(Self { store, name: name.to_owned(), sha256, size }))
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(headers::CLAIM, format!("{}/{}", self.store.name(), self.name));
        headers.insert(headers::CLAIM_SHA256, self.sha256.as_str());
        headers.insert(headers::CLAIM_SIZE, self.size.to_string());
    }

    /// Stores the body; a message's over the election of a new leader, as its publish is tried.
    pub(super) async fn put(&self, bus: &Bus, body: &[u8]) -> Result<(), Fault> {
        let started = Instant::now();
        loop {
            match bus.objects(self.store).put_once(&self.name, body).await {
                Err(fault)
                    if fault.code == Code::Unavailable
                        && self.store == ObjectStore::Claims
                        && started.elapsed() < PUT_DEADLINE => {}
                done => return done,
            }
            tokio::time::sleep(PUT_PAUSE).await;
        }
    }

    /// The body itself, if it is what the message says. On a cluster the object may not be everywhere yet when its message is.
    pub(super) async fn fetch(&self, bus: &Bus) -> Result<Bytes, Fault> {
        let mut pause = FETCH_PAUSE;
        for _try in 1..FETCH_TRIES {
            match self.try_to_fetch(bus).await {
                Err(fault) if fault.code == Code::Unavailable => tokio::time::sleep(pause).await,
                done => return done,
            }
            pause *= 2;
        }
        self.try_to_fetch(bus).await
    }

    async fn try_to_fetch(&self, bus: &Bus) -> Result<Bytes, Fault> {
        let place = format!("{}/{}", self.store.name(), self.name);
        let body = bus.objects(self.store).get(&self.name, self.size).await?;
        let body = body.ok_or_else(|| {
            let text = format!("the message's body {place} is not in the object store");
            Fault::new(Code::Unavailable, text).with_retry_after_ms(500)
        })?;
        let sha256 = hex(&Sha256::digest(&body), 32);
        if body.len() == self.size && sha256 == self.sha256 {
            return Ok(body);
        }
        Err(Fault::new(
            Code::Invalid,
            format!(
                "the message's body {place} was changed: it has {} bytes with SHA-256 {sha256}, but must have {} with {}",
                body.len(),
                self.size,
                self.sha256
            ),
        ))
    }
}

fn invalid(header: &str, value: &str, right: &str) -> Fault {
    Fault::new(Code::Invalid, format!("{header} is {value:?}, but must be {right}"))
}

/// An object that is removed when this is dropped.
pub(crate) struct Lent {
    bus: Bus,
    claim: Option<Claim>,
}

impl Lent {
    pub(super) fn new(bus: &Bus, claim: Claim) -> Self {
        Self { bus: bus.clone(), claim: Some(claim) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some(claim), Ok(runtime)) = (self.claim.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        // The store of messages is nobody's to clear, whatever a reply says.
        if claim.store != ObjectStore::Exchange {
            return;
        }
        let bus = self.bus.clone();
        runtime.spawn(async move {
            if let Err(error) = bus.objects(claim.store).delete(&claim.name).await {
                debug!(object = claim.name, %error, "body could not be removed, its age will do it");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::LARGEST_WRITTEN;

    #[test]
    fn a_claim_is_read_as_it_was_written() {
        let mut headers = HeaderMap::new();
        assert!(Claim::read(&headers, LARGEST_WRITTEN).unwrap().is_none());
        let id = MessageId::derived(["a"]);
        let claim = Claim::of_message(Stream::Executions, &id, b"body");
        claim.write(&mut headers);
        let read = Claim::read(&headers, LARGEST_WRITTEN).unwrap().unwrap();
        assert_eq!((read.name, read.sha256, read.size), (claim.name.clone(), claim.sha256, 4));
        let again = Claim::of_message(Stream::Executions, &id, b"body");
        assert_eq!(again.name, claim.name, "a second try is the same object");
        let other = Claim::of_message(Stream::Executions, &id, b"another body");
        assert_ne!(other.name, claim.name, "another body never replaces one that is out");
    }

    #[test]
    fn a_claim_that_cannot_be_true_is_refused_with_what_would_be_right() {
        let check = |header: &str, value: &str, expected: &str| {
            let mut headers = HeaderMap::new();
            Claim::of_exchange(b"body").write(&mut headers);
            headers.insert(header, value);
            let fault = Claim::read(&headers, LARGEST_WRITTEN).err().unwrap();
            assert_eq!(fault.code, Code::Invalid);
            assert!(fault.message.contains(expected), "{}", fault.message);
        };
        check("Muster-Claim", "ARTIFACTS/x", "\"ARTIFACTS/x\", but must be CLAIMS/<object>");
        check("Muster-Claim", "CLAIMS/", "but must be CLAIMS/<object>");
        check("Muster-Claim-Sha256", "abc", "but must be 64 hexadecimal digits");
        check("Muster-Claim-Size", "99999999999", "but must be a number of bytes up to 16777216");
        check("Muster-Claim-Size", "", "but must be a number of bytes");
    }
}
