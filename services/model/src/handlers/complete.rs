//! Asks a model for one reply, once for each idempotency key.

use anyhow::Context;
use chrono::Utc;
use futures::future::join;
use muster_bus::Repeat;
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse, Token, TokenUsage};
use muster_contracts::subject;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::app::App;
use crate::domain::prompt::Prompt;
use crate::error::Error;

/// Pieces that wait for the bus before the provider has to wait.
const PIECES: usize = 256;

pub(crate) async fn complete(
    app: App,
    request: CompleteRequest,
) -> Result<CompleteResponse, Error> {
    let prompt = Prompt::parse(&request)?;
    if !request.session.is_empty() {
        // What cannot be streamed must be known before it is paid.
        subject::token("session", &request.session)
            .map_err(|error| Error::invalid(error.to_string()))?;
    }
    app.providers.get(&request.provider)?;
    let call = app.calls.begin(&request.execution_id, &request.task);
    // On the heap: a call of a provider is much state, and it is kept inside of what records it.
    let ask = || async {
        let asked = tokio::select! {
            biased;
            // Whoever drops the call drops the connection to the provider: what is not read is not made.
            () = call.cancelled() => Err(Error::Cancelled(request.task.clone())),
            asked = Box::pin(ask(&app, &request, &prompt)) => asked,
        };
        asked.map_err(|error| error.fault())
    };
    let (response, replayed) = app.replies.run(&request.idempotency_key, Repeat::Safe, ask).await?;
    Ok(CompleteResponse { replayed, ..response })
}

async fn ask(
    app: &App,
    request: &CompleteRequest,
    prompt: &Prompt,
) -> Result<CompleteResponse, Error> {
    let _slot = app.slots.acquire().await.context("the slots for providers are closed")?;
    let (name, provider) = app.providers.get(&request.provider)?;
    let mut tokens = Tokens { app, request, sequence: 0, failed: false };
    let (sender, receiver) = mpsc::channel(PIECES);
    let (reply, ()) = join(provider.complete(prompt, sender), tokens.forward(receiver)).await;
    let reply = reply?;
    let usage = reply.usage(&prompt.messages, &prompt.tools);
    tokens.last(&reply.finish_reason, &usage).await;
    info!(
        provider = name,
        model = reply.model,
        input_tokens = usage.input_tokens,
        output_tokens = usage.output_tokens,
        finish_reason = reply.finish_reason,
        "reply received"
    );
    Ok(CompleteResponse {
        message: Some(reply.message),
        finish_reason: reply.finish_reason,
        usage: Some(usage),
        provider: name.to_owned(),
        model: reply.model,
        ..CompleteResponse::default()
    })
}

/// The live stream of one reply.
struct Tokens<'a> {
    app: &'a App,
    request: &'a CompleteRequest,
    sequence: u32,
    failed: bool,
}

impl Tokens<'_> {
    async fn forward(&mut self, mut pieces: mpsc::Receiver<String>) {
        while let Some(delta) = pieces.recv().await {
            self.emit(Token { delta, ..Token::default() }).await;
        }
    }

    async fn last(&mut self, finish_reason: &str, usage: &TokenUsage) {
        self.emit(Token {
            finish_reason: finish_reason.to_owned(),
            usage: Some(*usage),
            ..Token::default()
        })
        .await;
    }

    async fn emit(&mut self, token: Token) {
        let request = self.request;
        if request.session.is_empty() {
            return;
        }
        self.sequence += 1;
        let token = Token {
            session: request.session.clone(),
            sequence: self.sequence,
            reply: request.idempotency_key.clone(),
            execution_id: request.execution_id.clone(),
            task: request.task.clone(),
            agent: request.agent.clone(),
            sent_at_ms: Utc::now().timestamp_micros() as f64 / 1_000.0,
            ..token
        };
        // A lost token is cosmetic: the whole reply is recorded and answered.
        if let Err(error) = self.app.bus.emit(&token).await
            && !std::mem::replace(&mut self.failed, true)
        {
            warn!(%error, session = request.session, "token could not be streamed");
        }
    }
}
