//! Runs the example on a document and shows what happens.

mod team;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, Url, header};
use serde_json::{Value, json};

use super::apply::register;
use crate::{
    cli::{Demo, OtherDemo},
    client::Client,
    demo::{
        document::Document,
        example::{BRIEF, Example},
        follow::follow,
        narrate::Narrator,
        platform::Platform,
        report,
    },
    output::{Colour, Output},
};

/// A platform that is just starting gets this long.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn demo(options: Demo, output: &Output) -> Result<ExitCode> {
    if let Some(OtherDemo::Deliverables(options)) = options.other {
        return team::team(options, output).await;
    }
    // Everything that can be wrong with the arguments is told before anything is started.
    let example = Example::find(options.example.as_deref(), BRIEF)?;
    let document = Document::read(&options.file.clone().unwrap_or_else(|| example.document()))?;
    let question = options
        .question
        .clone()
        .or_else(|| options.file.is_none().then(|| example.question()).flatten());
    let question = question.unwrap_or_else(|| document.question());
    let limit = Duration::from_secs(options.timeout);
    on_platform(options.server.as_deref(), limit, async |client| {
        run(&client, &example, &document, &question, output).await.map(|()| ExitCode::SUCCESS)
    })
    .await
}

/// Does a job on a platform: the one at this address, or one of its own that ends with the job.
async fn on_platform(
    server: Option<&str>,
    limit: Duration,
    job: impl AsyncFnOnce(Client) -> Result<ExitCode>,
) -> Result<ExitCode> {
    let mut platform = match server {
        Some(server) => Platform::at(server),
        None => Platform::start()?,
    };
    let base = platform.base().to_owned();
    let job = async {
        let client = Client::new(&base, PATIENCE)?;
        let job = tokio::time::timeout(limit, job(client));
        job.await.with_context(|| format!("not done within {} s (--timeout)", limit.as_secs()))?
    };
    let stop = platform.stop();
    let result = tokio::select! {
        result = job => result,
        asked = platform.ended() => Err(anyhow::anyhow!(if asked {
            "interrupted"
        } else {
            "the services stopped before the end; the lines above say why"
        })),
    };
    stop.now();
    platform.stopped().await;
    result
}

async fn run(
    client: &Client,
    example: &Example,
    document: &Document,
    question: &str,
    output: &Output,
) -> Result<()> {
    output.heading("Preparing");
    client.get("/readyz").await.context("the platform did not get ready")?;
    let names = register(client, example.folder(), output).await?;
    let workflow = names
        .first()
        .with_context(|| format!("{} has no workflow.yaml", example.folder().display()))?;
    ingest(client, document, output).await?;

    output.heading(&format!("Running {workflow}: {question}"));
    let execution_id = start(
        client,
        workflow,
        &json!({"collection": document.collection(), "question": question}),
    )
    .await?;
    let (end, narrator) = followed(client, &execution_id, output).await?;
    tell(client, &execution_id, &end, &narrator, output).await
}

/// Tells everything that happens in an execution until it has completed.
async fn followed(
    client: &Client,
    execution_id: &str,
    output: &Output,
) -> Result<(Value, Narrator)> {
    let mut narrator = Narrator::default();
    let hear = |event: &str, data: &Value| {
        for line in narrator.hear(event, data) {
            output.line(&line.text(output));
        }
    };
    let end = follow(client, execution_id, hear, |why| output.line(why)).await?;
    let status = end.get("status").and_then(Value::as_str).unwrap_or("unknown");
    if status != "completed" {
        let error = end.get("error").or_else(|| end.get("reason")).cloned().unwrap_or_default();
        bail!(
            "the execution {execution_id} ended as {status}: {}",
            serde_json::to_string_pretty(&error)?
        );
    }
    Ok((end, narrator))
}

async fn ingest(client: &Client, document: &Document, output: &Output) -> Result<()> {
    let mut url = Url::parse("http://any/v1/collections")?;
    url.path_segments_mut()
        .map_err(|()| anyhow::anyhow!("no path"))?
        .push(document.collection())
        .push("documents");
    url.query_pairs_mut().append_pair("title", document.title());
    let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    let request = client
        .request(Method::POST, &path)
        .header(header::CONTENT_TYPE, "text/markdown")
        .header("idempotency-key", uuid::Uuid::now_v7().to_string())
        .body(document.text().to_owned());
    let stored = client.json(request).await.context("the document cannot be ingested")?;
    if stored.get("status").is_some() {
        bail!(
            "the document was not ingested within a minute; is the vector service running, and Postgres with it?"
        );
    }
    let number = |field| stored.get(field).and_then(Value::as_u64).unwrap_or_default();
    let embedder = stored.get("embedder").and_then(Value::as_str).unwrap_or_default();
    output.line(&format!(
        "document {:?}: {} tokens in {} chunks, embedded by {embedder}",
        document.title(),
        report::grouped(number("tokens")),
        number("chunks"),
    ));
    Ok(())
}

async fn start(client: &Client, workflow: &str, input: &Value) -> Result<String> {
    // With a key the start may be repeated while services come up, and still happens once.
    let request = client
        .request(Method::POST, "/v1/executions")
        .header("idempotency-key", uuid::Uuid::now_v7().to_string())
        .json(&json!({"workflow": workflow, "input": input}));
    let started = client.json(request).await.context("the workflow cannot be started")?;
    Ok(started
        .get("execution_id")
        .and_then(Value::as_str)
        .context("the answer has no execution_id")?
        .to_owned())
}

/// The brief, the timeline, and what it cost and saved.
async fn tell(
    client: &Client,
    execution_id: &str,
    end: &Value,
    narrator: &Narrator,
    output: &Output,
) -> Result<()> {
    output.heading("The brief");
    let result = end.get("output").cloned().unwrap_or_default();
    match report::deliverable(&result) {
        Some(path) => {
            let deliverable =
                client.get(&format!("/v1/{path}")).await.context("the brief cannot be read")?;
            output.line(deliverable.get("content").and_then(Value::as_str).unwrap_or_default());
            output.line(&output.paint(Colour::Dim, &format!("(GET /v1/{path})")));
        }
        None => output.line(&serde_json::to_string_pretty(&result)?),
    }
    output.heading("Timeline");
    for line in report::timeline(&client.get(&format!("/v1/executions/{execution_id}")).await?) {
        output.line(&line);
    }
    output.heading("Tokens");
    let usage = report::settled_usage(client, execution_id, narrator.runs()).await?;
    for line in report::usage(&usage) {
        output.line(&line);
    }
    output.line("");
    output.line(&output.paint(Colour::Green, &report::saving(&usage)));
    output.line(&report::who_answered(narrator.providers()));
    Ok(())
}
