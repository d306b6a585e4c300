//! The vector service on a real nats-server and a real Postgres.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

mod embedders;
mod ingest;
mod outage;
mod search;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use muster_bus::{After, Bus, MessageId};
use muster_contracts::vector::v1::{
    SearchRequest, SearchResponse, UpsertCompleted, UpsertFailed, UpsertRequested,
};
use muster_contracts::{Addressed as _, Code, Fault, JsonObject, Message as _, Stream};
use muster_runtime::testing::{Running, start};
use muster_testkit::{Database, NatsServer};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// The service with servers of its own.
struct Platform {
    nats: NatsServer,
    database: Database,
    bus: Bus,
    service: Option<Running>,
}

impl Platform {
    async fn start() -> Self {
        let database = Database::create().await;
        let url = database.url().to_owned();
        Self::start_on(database, &url).await
    }

    /// The service reaches its database at another address.
    async fn start_on(database: Database, url: &str) -> Self {
        let nats = NatsServer::start().await;
        let bus = Bus::open(nats.settings("gateway")).await.unwrap();
        let mut platform = Self { nats, database, bus, service: None };
        platform.run(&[("DATABASE_URL", url)]).await;
        platform
    }

    /// Runs the service with these settings, in place of the one that runs.
    async fn run(&mut self, settings: &[(&str, &str)]) {
        if let Some(service) = self.service.take() {
            assert!(service.stop().await, "the service did not stop well");
        }
        // A crash leaves messages in work; others get them soon.
        let mut all = vec![("DATABASE_URL", self.database.url()), ("MUSTER_ACK_WAIT", "1")];
        all.extend_from_slice(settings);
        self.service = Some(start([muster_vector::service()], &self.nats.env(&all)));
        self.bus.ready().await;
        muster_testkit::eventually(DEADLINE, "the service answers", || async {
            // A request that a crashed one took with it is never answered.
            let request = SearchRequest {
                collection: "nowhere".into(),
                query: "anything".into(),
                ..SearchRequest::default()
            };
            match self.bus.request_within(&request, Duration::from_secs(1)).await {
                Err(fault) if fault.code == Code::NotFound => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    /// Stores a document's bytes and asks to ingest them.
    async fn request(&self, document_id: &str, bytes: &[u8], metadata: Value) -> UpsertRequested {
        let request_id = MessageId::random().as_str().to_owned();
        self.bus.artifacts().put(&request_id, Bytes::copy_from_slice(bytes)).await.unwrap();
        let request = UpsertRequested {
            collection: "notes".into(),
            document_id: document_id.into(),
            title: format!("Title of {document_id}"),
            artifact: request_id.clone(),
            metadata: Some(JsonObject::wrap(metadata)),
            request_id,
        };
        self.bus.publish(&request, &MessageId::random()).await.unwrap();
        request
    }

    /// What became of a request.
    async fn outcome(&self, request: &UpsertRequested) -> Result<UpsertCompleted, UpsertFailed> {
        let patterns = vec![UpsertCompleted::SUBJECT.to_owned(), UpsertFailed::SUBJECT.to_owned()];
        let mut events = Box::pin(self.bus.follow(Stream::Executions, patterns, After(0)));
        let wanted = async {
            while let Some(event) = events.next().await {
                if event.message_type == UpsertCompleted::NAME {
                    let completed: UpsertCompleted = event.decode().unwrap();
                    if completed.request_id == request.request_id {
                        return Ok(completed);
                    }
                } else {
                    let failed: UpsertFailed = event.decode().unwrap();
                    if failed.request_id == request.request_id {
                        return Err(failed);
                    }
                }
            }
            panic!("the stream of events ended");
        };
        tokio::time::timeout(DEADLINE, wanted).await.unwrap()
    }

    /// Ingests a document that is good.
    async fn ingest(&self, document_id: &str, text: &str) -> UpsertCompleted {
        let request = self.request(document_id, text.as_bytes(), json!({})).await;
        self.outcome(&request).await.unwrap()
    }

    async fn search(&self, collection: &str, query: &str) -> Result<SearchResponse, Fault> {
        self.bus
            .request(&SearchRequest {
                collection: collection.into(),
                query: query.into(),
                ..SearchRequest::default()
            })
            .await
    }

    /// The documents that a search in `notes` finds, best first.
    async fn documents(&self, query: &str) -> Vec<String> {
        let found = self.search("notes", query).await.unwrap();
        found.hits.into_iter().map(|hit| hit.document_id).collect()
    }

    async fn assert_no_dead_letter(&self) {
        let letters = self.bus.dead_letters().list(10).await.unwrap();
        assert!(letters.is_empty(), "{letters:?}");
    }
}

/// A Markdown document of many sections that fill several chunks each.
fn handbook() -> String {
    let topics = [
        ("Bread", "A baker mixes flour, water, salt and yeast, kneads the dough and lets it rise."),
        (
            "Rivers",
            "A river carries sediment from the mountains and drops it where the current slows.",
        ),
        (
            "Violins",
            "A luthier carves spruce for the top and maple for the back of the instrument.",
        ),
        ("Telescopes", "A mirror of two metres gathers light of galaxies that no eye can see."),
        (
            "Queues",
            "A durable consumer acknowledges each message, and the broker redelivers what was lost.",
        ),
    ];
    topics
        .iter()
        .map(|(topic, text)| format!("# {topic}\n\n{}\n\n", format!("{text} ").repeat(25)))
        .collect()
}
