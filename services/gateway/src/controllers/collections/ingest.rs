//! Ingests a document and waits until it can be searched.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use muster_bus::{Bucket, KvError, MessageId};
use muster_contracts::{
    Code, Fault,
    vector::v1::{GetDocumentRequest, UpsertFailed, UpsertRequested},
};
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    app::{App, Upload},
    body::{DOCUMENT_LIMIT, Media, Payload},
    controllers::executions::start::key,
    domain::{
        idempotency::{Key, UploadRecord, digest},
        name::{document_id, name},
    },
    error::Error,
    problem::Problem,
    query::Query,
    waits::Waiter,
    wire::{Document, NewDocument, PendingDocument},
};

/// How long a client waits before it is told to look later.
const WAIT: Duration = Duration::from_secs(60);
/// How often the state is read while a request waits: what tells of the end may be missed.
const READ_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct About {
    /// The document's id, where the body is the text itself.
    id: Option<String>,
    /// The document's title, where the body is the text itself.
    title: Option<String>,
}

/// Ingests a document: JSON, or the text itself. A document with the same id is replaced.
#[utoipa::path(post, path = "/v1/collections/{name}/documents", tag = "collections", operation_id = "ingest_document",
    params(("name" = String, Path, description = "The collection's name"), About,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    request_body(content((NewDocument = "application/json"), (String = "text/plain"), (String = "text/markdown")), description = "At most 8 MiB"),
    responses((status = 201, body = Document, description = "Ingested"), (status = 202, body = PendingDocument, description = "Not yet; `Location` is where to look"),
        (status = 400, body = Problem), (status = 413, body = Problem, description = "Larger than 8 MiB"), (status = 415, body = Problem)))]
pub(crate) async fn ingest(
    State(app): State<App>,
    Path(collection): Path<String>,
    Query(about): Query<About>,
    request: Request,
) -> Result<Response, Error> {
    name("collection's name", &collection)?;
    let key = key(request.headers())?;
    let document = read(request, about).await?;
    let text_digest = digest([document.text.as_bytes()]);
    let id = document.id.clone().unwrap_or_else(|| text_digest.chars().take(16).collect());
    document_id(&id)?;
    let upload = accept(&app, collection, id, &document, key.as_ref()).await?;
    finish(&app, upload, document.title).await
}

/// A document whose ingestion is under way.
struct Accepted {
    collection: String,
    id: String,
    request_id: String,
    /// When the first request for it came.
    at: DateTime<Utc>,
    /// Registered before the command is published: a fast answer must find us waiting.
    waiter: Waiter<Upload>,
}

impl Accepted {
    fn location(&self) -> String {
        format!("/v1/collections/{}/documents/{}", self.collection, self.id)
    }
}

async fn read(request: Request, about: About) -> Result<NewDocument, Error> {
    let payload = Payload::read(request, &[Media::Json, Media::Text], DOCUMENT_LIMIT).await?;
    let document = if payload.media == Media::Json {
        if about.id.is_some() || about.title.is_some() {
            return Err(Error::invalid("`id` and `title` stand in a JSON body, not in the query"));
        }
        payload.parse()?
    } else {
        NewDocument {
            id: about.id,
            title: about.title,
            text: payload.text()?.to_owned(),
            metadata: None,
        }
    };
    if document.text.trim().is_empty() {
        return Err(Error::invalid(format!(
            "the document has {} bytes and no text, but a document has 1 byte to 8 MiB of text",
            document.text.len()
        )));
    }
    if document.text.contains('\0') {
        return Err(Error::invalid(
            "the document has a NUL character, but it must be text; is the file binary?",
        ));
    }
    Ok(document)
}

async fn accept(
    app: &App,
    collection: String,
    id: String,
    document: &NewDocument,
    key: Option<&Key>,
) -> Result<Accepted, Error> {
    let request_id = key.map_or_else(Uuid::now_v7, |key| key.id("documents")).to_string();
    let waiter = app.uploads.register(&request_id);
    let mut upload = Accepted { collection, id, request_id, at: Utc::now(), waiter };
    if let Some(key) = key
        && let Some(at) = remember(app, &upload, document, key).await?
    {
        upload.at = at;
        if ingested(app, &upload).await.is_some() {
            return Ok(upload);
        }
    }
    // Each request has an artifact of its own: whoever removes it cannot take it from another request.
    let artifact = format!("uploads/{}", upload.request_id);
    app.bus.artifacts().put(&artifact, Bytes::from(document.text.clone())).await?;
    let command = UpsertRequested {
        collection: upload.collection.clone(),
        document_id: upload.id.clone(),
        title: document.title.clone().unwrap_or_default(),
        artifact,
        metadata: document.metadata.clone().map(Into::into),
        request_id: upload.request_id.clone(),
    };
    app.bus.publish(&command, &MessageId::derived([upload.request_id.as_str(), "upsert"])).await?;
    Ok(upload)
}

/// When the first request with this key came; `None` where this is the first.
async fn remember(
    app: &App,
    upload: &Accepted,
    document: &NewDocument,
    key: &Key,
) -> Result<Option<DateTime<Utc>>, Error> {
    let body = serde_json::to_vec(document).map_err(anyhow::Error::from)?;
    let request = digest([upload.collection.as_bytes(), &body]);
    let records = app.bus.kv::<UploadRecord>(Bucket::Idempotency);
    let record_key = format!("uploads/{}", upload.request_id);
    let record =
        UploadRecord { request: request.clone(), document_id: upload.id.clone(), at: upload.at };
    let record = match records.create(&record_key, &record).await {
        Ok(_) => return Ok(None),
        Err(KvError::Conflict) => {
            let found = records.get(&record_key).await?;
            found.ok_or_else(|| anyhow::anyhow!("the record {record_key} came and went"))?.value
        }
        Err(KvError::Fault(fault)) => return Err(fault.into()),
    };
    if record.request == request {
        Ok(Some(record.at))
    } else {
        Err(Error::KeyReused(key.text().to_owned()))
    }
}

async fn finish(app: &App, mut upload: Accepted, title: Option<String>) -> Result<Response, Error> {
    let over_at = Instant::now() + WAIT;
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            told = upload.waiter.told() => return match told {
                Upload::Completed(event) => Ok(created(&upload, event.into(), title)),
                Upload::Failed(event) => Err(failed(event).into()),
            },
            _ = ticks.tick() => if let Some(document) = ingested(app, &upload).await {
                return Ok(created(&upload, document, title));
            },
            () = sleep_until(over_at) => return Ok(pending(upload)),
            () = app.stop.cancelled() => return Ok(pending(upload)),
        }
    }
}

/// The document, where it was ingested since the request came. An older version of it does not count.
async fn ingested(app: &App, upload: &Accepted) -> Option<Document> {
    let request = GetDocumentRequest {
        collection: upload.collection.clone(),
        document_id: upload.id.clone(),
    };
    // A service that is away now does its work later: the command is safe.
    let document = Document::from(app.bus.request(&request).await.ok()?);
    document.ingested_at.is_some_and(|at| at >= upload.at).then_some(document)
}

fn created(upload: &Accepted, document: Document, title: Option<String>) -> Response {
    let document = Document { title: document.title.clone().or(title), ..document };
    (StatusCode::CREATED, [(header::LOCATION, upload.location())], Json(document)).into_response()
}

fn pending(upload: Accepted) -> Response {
    let location = upload.location();
    let body = PendingDocument {
        collection: upload.collection,
        id: upload.id,
        status: "pending".to_owned(),
    };
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)).into_response()
}

fn failed(event: UpsertFailed) -> Fault {
    Fault::new(Code::from_name(&event.code).unwrap_or(Code::Internal), event.error)
}
