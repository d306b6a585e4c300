//! A document that is to be ingested, and one that is.

use chrono::{DateTime, SubsecRound as _, Utc};
use muster_contracts::vector::v1::{DocumentState, UpsertCompleted, UpsertRequested};
use serde_json::{Map, Value};

use super::{Problem, collection, excerpt, no_nul};

/// The largest document: what a message between the services can carry of it elsewhere.
const MAX_DOCUMENT_BYTES: usize = 8 * 1024 * 1024;

const MAX_METADATA_BYTES: usize = 64 * 1024;

/// A checked request to ingest a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upsert {
    pub(crate) collection: String,
    pub(crate) document_id: String,
    pub(crate) title: String,
    pub(crate) artifact: String,
    pub(crate) metadata: Value,
    pub(crate) request_id: String,
    /// When the request was accepted; of two requests for one document the later one wins.
    pub(crate) requested_at: DateTime<Utc>,
}

impl Upsert {
    /// Checks every field.
    pub(crate) fn parse(request: &UpsertRequested, at: DateTime<Utc>) -> Result<Self, Problem> {
        let metadata = request.metadata.clone().unwrap_or_default().into_value();
        no_nul("metadata", &metadata)?;
        let size = metadata.to_string().len();
        if size > MAX_METADATA_BYTES {
            return Err(Problem::new(format!(
                "`metadata` has {size} bytes as JSON, but at most {MAX_METADATA_BYTES} are stored"
            )));
        }
        Ok(Self {
            collection: collection(&request.collection)?,
            document_id: document_id(&request.document_id)?,
            title: line("title", &request.title, 0, 1024)?,
            artifact: request.artifact.clone(),
            metadata,
            request_id: line("request_id", &request.request_id, 1, 512)?,
            // As precise as Postgres keeps it, or a request would seem later than itself.
            requested_at: at.trunc_subsecs(6),
        })
    }
}

/// A document that is searchable.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) collection: String,
    pub(crate) document_id: String,
    pub(crate) title: String,
    pub(crate) request_id: String,
    pub(crate) requested_at: DateTime<Utc>,
    pub(crate) chunks: u32,
    pub(crate) tokens: u32,
    pub(crate) embedder: String,
    pub(crate) ingested_at: DateTime<Utc>,
}

impl Stored {
    /// Whether this request is done or was overtaken by a later one, so that it must not change anything.
    pub(crate) fn settles(&self, upsert: &Upsert) -> bool {
        self.request_id == upsert.request_id || self.requested_at > upsert.requested_at
    }

    /// What tells that `upsert` is done. An overtaken request is told with what overtook it.
    pub(crate) fn completed(&self, upsert: &Upsert) -> UpsertCompleted {
        UpsertCompleted {
            collection: self.collection.clone(),
            document_id: self.document_id.clone(),
            request_id: upsert.request_id.clone(),
            chunks: self.chunks,
            tokens: self.tokens,
            embedder: self.embedder.clone(),
            timestamp: muster_contracts::now(self.ingested_at),
        }
    }
}

impl From<Stored> for DocumentState {
    fn from(stored: Stored) -> Self {
        Self {
            collection: stored.collection,
            document_id: stored.document_id,
            title: stored.title,
            chunks: stored.chunks,
            tokens: stored.tokens,
            embedder: stored.embedder,
            ingested_at: muster_contracts::now(stored.ingested_at),
        }
    }
}

/// What writing a document came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Written {
    /// It is stored now, or was by the same or a later request.
    Stored(Stored),
    /// Nothing is stored: the collection's vectors are another embedder's.
    OtherEmbedder {
        /// The one that made the collection.
        embedder: String,
        /// The length of its vectors.
        dimension: usize,
    },
}

/// The text of a document's bytes.
pub(crate) fn text_of(artifact: &str, bytes: &[u8]) -> Result<String, Problem> {
    let name = excerpt(artifact);
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(Problem::new(format!(
            "the document in artifact {name:?} has {} bytes, but at most {MAX_DOCUMENT_BYTES} (8 MiB) are ingested: split it",
            bytes.len()
        )));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::new(format!(
            "the document in artifact {name:?} is not UTF-8 text (byte {}): convert it to UTF-8",
            error.valid_up_to()
        ))
    })?;
    if let Some(at) = text.find('\0') {
        return Err(Problem::new(format!(
            "the document in artifact {name:?} has a NUL character at byte {at}: it is not text"
        )));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(Problem::new(format!(
            "the document in artifact {name:?} is empty: nothing in its {} bytes can be searched",
            bytes.len()
        )));
    }
    Ok(text.to_owned())
}

/// Checks the id of a document.
pub(crate) fn document_id(id: &str) -> Result<String, Problem> {
    line("document_id", id, 1, 512)
}

/// A text of one line within these numbers of characters.
fn line(field: &str, text: &str, least: usize, most: usize) -> Result<String, Problem> {
    let length = text.chars().count();
    if !(least..=most).contains(&length) || text.chars().any(char::is_control) {
        return Err(Problem::new(format!(
            "`{field}` is {:?} ({length} characters), but it has {least} to {most} characters and no control characters",
            excerpt(text)
        )));
    }
    Ok(text.to_owned())
}

/// The metadata that a filter asks for, or anything where it is absent.
pub(super) fn object(map: Option<&Map<String, Value>>) -> Value {
    Value::Object(map.cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;
    use serde_json::json;

    use super::*;

    fn request() -> UpsertRequested {
        UpsertRequested {
            collection: "notes".into(),
            document_id: "doc".into(),
            title: "A title".into(),
            artifact: "file".into(),
            metadata: Some(JsonObject::wrap(json!({"lang": "en"}))),
            request_id: "r1".into(),
        }
    }

    #[test]
    fn bad_fields_are_named() {
        fn check(field: &str, change: impl Fn(&mut UpsertRequested)) {
            let mut request = request();
            change(&mut request);
            let problem = Upsert::parse(&request, DateTime::UNIX_EPOCH).unwrap_err().to_string();
            assert!(problem.contains(field), "{problem}");
        }
        assert!(Upsert::parse(&request(), DateTime::UNIX_EPOCH).is_ok());
        check("collection", |r| r.collection = "a b".into());
        check("document_id", |r| r.document_id = "a\nb".into());
        check("document_id", |r| r.document_id = "x".repeat(513));
        check("title", |r| r.title = "\0".into());
        check("metadata", |r| r.metadata = Some(JsonObject::wrap(json!({"a": ["b\0"]}))));
        check("65536", |r| r.metadata = Some(JsonObject::wrap(json!({"a": "x".repeat(70_000)}))));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        fn check(bytes: &[u8], expected: &str) {
            let problem = text_of("file", bytes).unwrap_err().to_string();
            assert!(problem.contains(expected), "{problem}");
        }
        check(b"", "empty");
        check(b" \n\t ", "empty");
        check("\u{feff}".as_bytes(), "empty");
        check(b"abc\xff", "not UTF-8 text (byte 3)");
        check(b"ab\0c", "NUL character at byte 2");
        check(&vec![b'a'; MAX_DOCUMENT_BYTES + 1], "8388609 bytes");
        assert_eq!(text_of("file", "\u{feff}text".as_bytes()).unwrap(), "text");
    }

    #[test]
    fn a_request_is_settled_by_itself_and_by_a_later_one() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let stored = Stored {
            collection: "notes".into(),
            document_id: "doc".into(),
            title: String::new(),
            request_id: "r1".into(),
            requested_at: at(10),
            chunks: 1,
            tokens: 1,
            embedder: "hashing-256".into(),
            ingested_at: at(11),
        };
        let settles = |id: &str, seconds| {
            let request = UpsertRequested { request_id: id.into(), ..request() };
            stored.settles(&Upsert::parse(&request, at(seconds)).unwrap())
        };
        assert!(settles("r1", 10));
        assert!(settles("r0", 9));
        assert!(!settles("r2", 10));
        assert!(!settles("r2", 11));
    }
}
