//! A reply in pieces, as they come.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse, Token};
use muster_contracts::{Code, Fault};
use tokio::sync::OwnedSemaphorePermit;
use tracing::error;

use super::LONGEST;
use super::abandon::Waiting;
use super::chat::{message, random, refused};
use crate::app::App;
use crate::auth::Client;
use crate::error::Error;
use crate::problem::Problem;
use crate::wire::openai::Writer;

/// How long a client waits for the head of its response: a reply that fails before that is told by its status.
const FIRST: Duration = Duration::from_secs(10);
/// So often a quiet stream says that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The most bytes that are sent at once where pieces wait.
const MOST: usize = 64 << 10;

/// Where a reply comes from.
pub(super) struct Source {
    tokens: BoxStream<'static, Token>,
    reply: BoxFuture<'static, Result<CompleteResponse, Error>>,
    waiting: Option<Waiting>,
}

impl Source {
    pub(super) async fn of_model(app: &App, mut request: CompleteRequest) -> Result<Self, Error> {
        // Its own, also where the reply is a recorded one: two clients may ask with one key.
        request.session = random();
        // Before the request: a fast reply must find us listening.
        let tokens = app.bus.listen_to::<Token>(&[("session", &request.session)]).await?.boxed();
        let waiting = request.unrecorded.then(|| app.abandoned.unless_answered(&request.session));
        let bus = app.bus.clone();
        let reply = async move { bus.request_within(&request, LONGEST).await.map_err(refused) };
        Ok(Self { tokens, reply: reply.boxed(), waiting })
    }

    /// An agent's reply is told when its run has ended: what it says on the way is not its result.
    pub(super) fn of_agent(run: BoxFuture<'static, Result<CompleteResponse, Error>>) -> Self {
        Self { tokens: futures::stream::pending().boxed(), reply: run, waiting: None }
    }
}

/// What came next.
enum Next {
    Token(Token),
    Reply(Result<CompleteResponse, Error>),
    Nothing,
    /// The client's key is nobody's any more.
    Gone,
}

/// One client's stream.
struct Streamed<W> {
    source: Source,
    /// The end of the client's key.
    gone: BoxFuture<'static, ()>,
    writer: W,
    one_call: bool,
    /// What the client has, of the text and of the thoughts before it.
    sent: String,
    thought: String,
    /// The sequence of the next token; none where one was lost or the reply begun again: then the rest comes with the whole reply.
    expected: Option<u32>,
    over: bool,
    _permit: OwnedSemaphorePermit,
}

/// The response, as soon as there is a first piece.
pub(super) async fn respond<W: Writer>(
    app: &App,
    client: &Client,
    mut source: Source,
    writer: W,
    one_call: bool,
) -> Result<Response, Error> {
    let permit = Arc::clone(&app.streams).try_acquire_owned();
    let permit = permit.map_err(|_full| Error::TooManyStreams(app.max_streams))?;
    let first = match source.next(FIRST).await {
        Next::Reply(Err(error)) => {
            source.answered(&error);
            return Err(error);
        }
        first => first,
    };
    let streamed = Streamed {
        source,
        gone: app.auth.gone(client),
        writer,
        one_call,
        sent: String::new(),
        thought: String::new(),
        expected: Some(1),
        over: false,
        _permit: permit,
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, Body::from_stream(streamed.frames(first))).into_response())
}

impl Source {
    async fn next(&mut self, patience: Duration) -> Next {
        tokio::select! {
            biased;
            Some(token) = self.tokens.next() => Next::Token(token),
            reply = &mut self.reply => Next::Reply(reply),
            () = tokio::time::sleep(patience) => Next::Nothing,
        }
    }

    /// Where nobody knows how it went, the provider may still be at work.
    fn answered(&mut self, error: &Error) {
        if let Some(waiting) = &mut self.waiting
            && error.code() != Code::Deadline
        {
            waiting.answered();
        }
    }
}

impl<W: Writer> Streamed<W> {
    fn frames(mut self, first: Next) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        async_stream::stream! {
            let mut frame = BytesMut::new();
            self.writer.begin(&mut frame);
            self.write(first, &mut frame);
            while !self.over {
                yield Ok(frame.split().freeze());
                let next = tokio::select! {
                    biased;
                    () = &mut self.gone => Next::Gone,
                    next = self.source.next(KEEP_ALIVE) => next,
                };
                self.write(next, &mut frame);
                self.write_what_waits(&mut frame);
            }
            yield Ok(frame.freeze());
        }
    }

    /// Where the client is slower than the model, what has come meanwhile goes out at once.
    fn write_what_waits(&mut self, frame: &mut BytesMut) {
        while !self.over && frame.len() < MOST {
            match self.source.tokens.next().now_or_never() {
                Some(Some(token)) => self.write(Next::Token(token), frame),
                _ => return,
            }
        }
    }

    fn write(&mut self, next: Next, frame: &mut BytesMut) {
        match next {
            Next::Token(token) => self.token(&token, frame),
            Next::Nothing => frame.extend_from_slice(b": still there\n\n"),
            // Not answered: the provider's work ends with the stream.
            Next::Gone => {
                let text = "the key of this request was removed, or has expired";
                self.fail(Fault::new(Code::Unauthenticated, text).into(), frame);
            }
            Next::Reply(Ok(response)) => {
                if let Some(waiting) = &mut self.source.waiting {
                    waiting.answered();
                }
                self.end(response, frame);
            }
            Next::Reply(Err(error)) => {
                self.source.answered(&error);
                self.fail(error, frame);
            }
        }
    }

    fn token(&mut self, token: &Token, frame: &mut BytesMut) {
        self.expected = self.expected.filter(|expected| *expected == token.sequence);
        let Some(expected) = &mut self.expected else { return };
        *expected += 1;
        if !token.reasoning.is_empty() {
            self.writer.thought(frame, &token.reasoning);
            self.thought.push_str(&token.reasoning);
        }
        if !token.delta.is_empty() {
            self.writer.text(frame, &token.delta);
            self.sent.push_str(&token.delta);
        }
    }

    /// The whole reply says what is missing.
    fn end(&mut self, mut response: CompleteResponse, frame: &mut BytesMut) {
        let message = message(&mut response, self.one_call);
        let Some(rest) = message.content.strip_prefix(&self.sent) else {
            let text =
                "the reply was begun again after a part of it was sent: send the request again";
            return self.fail(Fault::new(Code::Unavailable, text).into(), frame);
        };
        // A lost thought is not worth to break off a whole reply.
        if let Some(rest) = message.reasoning.strip_prefix(&self.thought)
            && !rest.is_empty()
        {
            self.writer.thought(frame, rest);
        }
        if !message.reasoning_signature.is_empty() {
            self.writer.signature(frame, &message.reasoning_signature);
        }
        if !rest.is_empty() {
            self.writer.text(frame, rest);
        }
        self.writer.calls(frame, &message.tool_calls);
        self.writer.end(frame, &response);
        self.over = true;
    }

    fn fail(&mut self, error: Error, frame: &mut BytesMut) {
        if error.code() == Code::Internal {
            error!(error = format!("{error:#}"), "reply broke off");
        }
        self.writer.fail(frame, &Problem::of(&error));
        self.over = true;
    }
}
