//! The discovery part of the NATS Services API (ADR-32): who serves what, and how much. `nats micro ls|info|stats` ask it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{SubscribeError, Subscriber};
use chrono::{DateTime, SecondsFormat, Utc};
use futures::StreamExt;
use futures::stream::select_all;
use muster_contracts::permissions::queue_group;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::Bus;

/// What one endpoint has done.
pub(crate) struct Tally {
    name: String,
    subject: String,
    requests: AtomicU64,
    errors: AtomicU64,
    nanoseconds: AtomicU64,
    last_error: Mutex<String>,
}

impl Tally {
    pub(crate) fn new(name: &str, subject: &str) -> Self {
        Self {
            name: name.to_owned(),
            subject: subject.to_owned(),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
            last_error: Mutex::default(),
        }
    }

    pub(crate) fn answered(&self, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, error: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        error.clone_into(&mut self.last_error.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A service as it tells of itself.
pub(crate) struct Announcement {
    name: String,
    id: String,
    started: DateTime<Utc>,
    endpoints: Vec<Arc<Tally>>,
}

/// The questions, as the second word of their subject.
const VERBS: [&str; 3] = ["PING", "INFO", "STATS"];

impl Announcement {
    pub(crate) fn new(service: &str, endpoints: Vec<Arc<Tally>>) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        Self { name: service.to_owned(), id, started: Utc::now(), endpoints }
    }

    /// Subscribes to the questions about all services, about this one, and about this instance of it.
    pub(crate) async fn listen(&self, bus: &Bus) -> Result<Vec<Subscriber>, SubscribeError> {
        let mut questions = Vec::new();
        for verb in VERBS {
            for about in ["", &format!(".{}", self.name), &format!(".{}.{}", self.name, self.id)] {
                questions.push(bus.client().subscribe(format!("$SRV.{verb}{about}")).await?);
            }
        }
        Ok(questions)
    }

    /// Answers questions until `shutdown`.
    pub(crate) async fn answer(
        self,
        bus: Bus,
        questions: Vec<Subscriber>,
        shutdown: CancellationToken,
    ) {
        let mut questions = select_all(questions);
        loop {
            let question = tokio::select! {
                () = shutdown.cancelled() => return,
                question = questions.next() => question,
            };
            let Some(question) = question else { return };
            let (Some(inbox), Some(answer)) = (question.reply, self.told(&question.subject)) else {
                continue;
            };
            if let Err(error) = bus.client().publish(inbox, answer.to_string().into()).await {
                warn!(%error, "discovery could not be answered");
            }
        }
    }

    fn told(&self, subject: &str) -> Option<Value> {
        let verb = subject.split('.').nth(1)?;
        let kind = match verb {
            "PING" => "ping_response",
            "INFO" => "info_response",
            "STATS" => "stats_response",
            _ => return None,
        };
        let mut answer = json!({
            "type": format!("io.nats.micro.v1.{kind}"),
            "name": self.name,
            "id": self.id,
            "version": env!("CARGO_PKG_VERSION"),
            "metadata": {},
        });
        let fields = answer.as_object_mut()?;
        match verb {
            "INFO" => {
                fields.insert("description".to_owned(), json!(""));
                fields.insert("endpoints".to_owned(), self.endpoints(|_tally| json!({})));
            }
            "STATS" => {
                let started = self.started.to_rfc3339_opts(SecondsFormat::Millis, true);
                fields.insert("started".to_owned(), started.into());
                fields.insert("endpoints".to_owned(), self.endpoints(stats));
            }
            _ => {}
        }
        Some(answer)
    }

    /// Name, address and whatever `more` says of every endpoint.
    fn endpoints(&self, more: impl Fn(&Tally) -> Value) -> Value {
        let one = |tally: &Arc<Tally>| {
            let mut endpoint = more(tally);
            if let Some(fields) = endpoint.as_object_mut() {
                fields.insert("name".to_owned(), tally.name.as_str().into());
                fields.insert("subject".to_owned(), tally.subject.as_str().into());
                fields.insert("queue_group".to_owned(), queue_group(&self.name).into());
                fields.insert("metadata".to_owned(), json!({}));
            }
            endpoint
        };
        self.endpoints.iter().map(one).collect()
    }
}

fn stats(tally: &Tally) -> Value {
    let requests = tally.requests.load(Ordering::Relaxed);
    let nanoseconds = tally.nanoseconds.load(Ordering::Relaxed);
    json!({
        "num_requests": requests,
        "num_errors": tally.errors.load(Ordering::Relaxed),
        "last_error": *tally.last_error.lock().unwrap_or_else(PoisonError::into_inner),
        "processing_time": nanoseconds,
        "average_processing_time": nanoseconds.checked_div(requests).unwrap_or_default(),
    })
}
