//! Publishing and fetching.

use muster_bus::{Bus, MessageId};
use muster_contracts::deliverable::v1::{Deliverable, TeamDeliverable};
use muster_contracts::{Code, Durable, Fault, Timestamp, permissions, subject};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::notice::{About, count, of_stored};
use crate::{Address, AddressError};

/// The longest content, in bytes.
pub const MAX_CONTENT: usize = 10_000_000;
/// Headers that say what is in the body.
pub(crate) const TOKENS: &str = "Muster-Tokens";
pub(crate) const SHA256: &str = "Muster-Sha256";

/// The deliverables of a platform. Cheap to clone.
#[derive(Clone)]
pub struct Deliverables {
    pub(crate) bus: Bus,
}

/// A deliverable that is to be stored.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where; its version is not looked at.
    pub address: Address,
    /// The text.
    pub content: String,
    /// The execution that it belongs to; empty: none.
    pub execution_id: String,
    /// The task that made it; empty: none.
    pub task: String,
    /// When it was made.
    pub timestamp: Option<Timestamp>,
}

/// Where a deliverable was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its address with the version.
    pub address: Address,
    /// Its place in the stream, which is its version.
    pub sequence: u64,
    /// It was there already; nothing was stored.
    pub duplicate: bool,
    /// How many tokens it has.
    pub tokens: u32,
    /// SHA-256 of the content, hexadecimal.
    pub sha256: String,
}

/// A deliverable as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its address with the version.
    pub address: Address,
    /// Its place in the stream.
    pub sequence: u64,
    /// What it is.
    pub deliverable: Deliverable,
}

impl Deliverables {
    /// Those that are behind this bus.
    #[must_use]
    pub fn new(bus: &Bus) -> Self {
        Self { bus: bus.clone() }
    }

    /// Stores a deliverable. A second one with the same id within the stream's window (10 min, of the example team 2 min) is not stored; without an id the same content at the same address for the same
    /// execution is the same deliverable.
    ///
    /// # Errors
    /// INVALID where the content is too long, or the address cannot be; CONFLICT where the id was used for another content; UNAVAILABLE where the stream does not take it.
    pub async fn publish(&self, draft: Draft, id: Option<MessageId>) -> Result<Published, Fault> {
        // What it waits for is large, and callers wait within much else.
        Box::pin(self.put(draft, id)).await
    }

    async fn put(&self, draft: Draft, id: Option<MessageId>) -> Result<Published, Fault> {
        let Draft { address, content, execution_id, task, timestamp } = draft;
        let address = address.at(None);
        check(&address, &content)?;
        let (content, tokens, sha256) = measure(content).await?;
        let id = id.unwrap_or_else(|| {
            let address = address.to_string();
            MessageId::derived(["deliverable", &address, &execution_id, &sha256])
        });
        let message = Deliverable {
            sha256: sha256.clone(),
            content,
            tokens,
            execution_id,
            task,
            timestamp,
            ..address.message()
        };
        let published = if address.team {
            self.bus.provide(stream_of(&address)?).await?;
            self.store(&of_team(message), &id, tokens, &sha256).await?
        } else {
            self.store(&message, &id, tokens, &sha256).await?
        };
        let address = address.at(Some(published.sequence));
        if published.duplicate {
            self.must_be(&address, &sha256).await?;
        }
        let (sequence, duplicate) = (published.sequence, published.duplicate);
        Ok(Published { address, sequence, duplicate, tokens, sha256 })
    }

    /// The deliverable at an address: the newest, or the version that the address names. None where there is none (any more).
    ///
    /// # Errors
    /// INVALID where the address cannot be, UNAVAILABLE where the stream cannot be read.
    pub async fn fetch(&self, address: &Address) -> Result<Option<Stored>, Fault> {
        let found = if address.team {
            let message = address.team_message();
            self.read(&message, address.version)
                .await?
                .map(|(sequence, found)| (sequence, of_all(found)))
        } else {
            self.read(&address.message(), address.version).await?
        };
        Ok(found.map(|(sequence, deliverable)| Stored {
            address: address.clone().at(Some(sequence)),
            sequence,
            deliverable,
        }))
    }

    async fn store<M: Durable>(
        &self,
        message: &M,
        id: &MessageId,
        tokens: u32,
        sha256: &str,
    ) -> Result<muster_bus::Published, Fault> {
        let notes = [(TOKENS, &*tokens.to_string()), (SHA256, sha256)];
        self.bus.publish_noted(message, id, &notes).await
    }

    async fn read<M: Durable>(
        &self,
        address: &M,
        version: Option<u64>,
    ) -> Result<Option<(u64, M)>, Fault> {
        match version {
            Some(sequence) => {
                Ok(self.bus.at(address, sequence).await?.map(|found| (sequence, found)))
            }
            None => self.bus.latest(address).await,
        }
    }

    /// The stream says only that it knows the id.
    async fn must_be(&self, address: &Address, sha256: &str) -> Result<(), Fault> {
        let found = self.fetch(address).await?;
        if found.is_some_and(|found| found.deliverable.sha256 == sha256) {
            return Ok(());
        }
        let error = "its id belongs to another deliverable; repeat that one unchanged or use a new id (Idempotency-Key)";
        Err(Fault::new(Code::Conflict, error))
    }
}

impl Stored {
    /// Its notice.
    ///
    /// # Errors
    /// INTERNAL where the process is about to end.
    pub async fn notice(&self) -> Result<Value, Fault> {
        let (address, content) = (self.address.clone(), self.deliverable.content.clone());
        let tokens = self.deliverable.tokens;
        aside(move || of_stored(About { address: &address, content: &content, tokens })).await
    }
}

/// Says what is wrong before anything is counted.
fn check(address: &Address, content: &str) -> Result<(), Fault> {
    address.subject().map_err(AddressError::from)?;
    let invalid = |text: String| Err(Fault::new(Code::Invalid, text));
    if content.len() > MAX_CONTENT {
        let bytes = content.len();
        return invalid(format!(
            "`content` has {bytes} bytes, but a deliverable has at most {MAX_CONTENT}"
        ));
    }
    Ok(())
}

async fn measure(content: String) -> Result<(String, u32, String), Fault> {
    aside(move || {
        let hash = Sha256::digest(content.as_bytes());
        let sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let tokens = count(&content);
        (content, tokens, sha256)
    })
    .await
}

/// A long text takes a second to count.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Fault::new(Code::Internal, format!("tokens could not be counted: {error}"))
    })
}

/// The stream of a member of the example team.
fn stream_of(address: &Address) -> Result<muster_contracts::Stream, Fault> {
    let subject = address.subject().map_err(AddressError::from)?;
    let keeps = |stream: &&muster_contracts::Stream| {
        permissions::on_demand(**stream)
            && stream.subjects().iter().any(|pattern| subject::covers(pattern, &subject))
    };
    let found = TeamDeliverable::STREAMS.iter().find(keeps).copied();
    found.ok_or_else(|| Fault::new(Code::Internal, format!("no stream keeps {subject}")))
}

fn of_team(message: Deliverable) -> TeamDeliverable {
    let Deliverable {
        agent,
        r#type,
        feature,
        content,
        sha256,
        tokens,
        execution_id,
        task,
        timestamp,
    } = message;
    TeamDeliverable {
        agent,
        r#type,
        feature,
        content,
        sha256,
        tokens,
        execution_id,
        task,
        timestamp,
    }
}

fn of_all(message: TeamDeliverable) -> Deliverable {
    let TeamDeliverable {
        agent,
        r#type,
        feature,
        content,
        sha256,
        tokens,
        execution_id,
        task,
        timestamp,
    } = message;
    Deliverable { agent, r#type, feature, content, sha256, tokens, execution_id, task, timestamp }
}

impl From<AddressError> for Fault {
    fn from(error: AddressError) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}
