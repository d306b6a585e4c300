//! The live stream of one reply.

use chrono::Utc;
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse, Token, TokenUsage};
use tokio::sync::mpsc;
use tracing::warn;

use crate::app::App;
use crate::providers::Piece;

/// The live stream of one reply.
pub(super) struct Tokens<'a> {
    app: &'a App,
    request: &'a CompleteRequest,
    sequence: u32,
    failed: bool,
}

impl<'a> Tokens<'a> {
    pub(super) const fn new(app: &'a App, request: &'a CompleteRequest) -> Self {
        Self { app, request, sequence: 0, failed: false }
    }

    /// Whether anybody may have got a piece of it.
    pub(super) const fn has_begun(&self) -> bool {
        self.sequence > 0
    }

    /// Sends the pieces on as they come.
    pub(super) async fn forward(&mut self, mut pieces: mpsc::Receiver<Piece>) {
        while let Some(piece) = pieces.recv().await {
            self.piece(piece).await;
        }
    }

    pub(super) async fn last(&mut self, finish_reason: &str, usage: &TokenUsage) {
        self.emit(Token {
            finish_reason: finish_reason.to_owned(),
            usage: Some(*usage),
            ..Token::default()
        })
        .await;
    }

    /// A whole reply at once.
    pub(super) async fn whole(&mut self, reply: &CompleteResponse) {
        let message = reply.message.clone().unwrap_or_default();
        for piece in [Piece::Thought(message.reasoning), Piece::Text(message.content)] {
            if !piece.is_empty() {
                self.piece(piece).await;
            }
        }
        self.last(&reply.finish_reason, &reply.usage.unwrap_or_default()).await;
    }

    async fn piece(&mut self, piece: Piece) {
        let token = match piece {
            Piece::Text(delta) => Token { delta, ..Token::default() },
            Piece::Thought(reasoning) => Token { reasoning, ..Token::default() },
        };
        self.emit(token).await;
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
