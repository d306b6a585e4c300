//! The built-in provider that follows a script: deterministic, without key and network. See docs/offline.md.

use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use futures::future::BoxFuture;
use muster_text::hashing;
use tokio::time::sleep;

use super::{OFFLINE, Output, Piece, Provider, Texts, Vectors};
use crate::domain::prompt::Prompt;
use crate::domain::reply::Reply;
use crate::domain::usage::Told;
use crate::domain::{script, tokens};
use crate::error::Error;

pub(super) struct Offline {
    delay: Duration,
}

impl Offline {
    pub(super) const fn new(delay: Duration) -> Self {
        Self { delay }
    }

    async fn answer(&self, prompt: &Prompt, output: Output) -> Result<Reply, Error> {
        let prompt = prompt.clone();
        // Templates and summaries of long texts take milliseconds, too long for a thread that serves others.
        let reply = tokio::task::spawn_blocking(move || answer(&prompt))
            .await
            .context("the offline provider's script broke off")??;
        for word in reply.message.content.split_inclusive(char::is_whitespace) {
            if !self.delay.is_zero() {
                sleep(self.delay).await;
            }
            // It is not larger than a reply may be, as its template is not.
            drop(output.received.with(|reply| reply.push_text(word)));
            output.send(Piece::Text(word.to_owned())).await;
        }
        Ok(reply)
    }
}

fn answer(prompt: &Prompt) -> Result<Reply, Error> {
    let mut reply = script::reply(prompt)?;
    let limit = usize::try_from(prompt.most()).unwrap_or(usize::MAX);
    if limit > 0
        && let Some(cut) = tokens::cut(&reply.message.content, limit)
    {
        reply.message.content = cut;
        "length".clone_into(&mut reply.finish_reason);
    }
    reply.usage = reply.usage(&prompt.messages, &prompt.tools).into();
    Ok(reply)
}

impl Provider for Offline {
    fn complete<'a>(
        &'a self,
        _model: &'a str,
        prompt: &'a Prompt,
        output: Output,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        self.answer(prompt, output).boxed()
    }

    fn embed<'a>(
        &'a self,
        model: &'a str,
        texts: &'a Texts,
    ) -> BoxFuture<'a, Result<Vectors, Error>> {
        vectors(model, texts).boxed()
    }

    fn lacks(&self) -> Option<String> {
        None
    }
}

/// Vectors that match words, not meaning.
async fn vectors(model: &str, texts: &Texts) -> Result<Vectors, Error> {
    if !["", hashing::NAME].contains(&model) {
        let message = format!(
            "{OFFLINE} makes vectors as {:?} only, not as {model:?}: configure a provider that has this model",
            hashing::NAME
        );
        return Err(Error::invalid(message));
    }
    if texts.dimensions != 0 && u64::from(texts.dimensions) != hashing::DIMENSION {
        let message = format!(
            "dimensions is {}, but {:?} makes vectors of {} numbers only",
            texts.dimensions,
            hashing::NAME,
            hashing::DIMENSION
        );
        return Err(Error::invalid(message));
    }
    let mut vectors = Vec::with_capacity(texts.inputs.len());
    for few in texts.inputs.chunks(16) {
        vectors.extend(few.iter().map(|text| hashing::vector(text)));
        // Many long texts keep a thread busy; others want it too.
        tokio::task::yield_now().await;
    }
    Ok(Vectors { vectors, usage: Told::default(), model: hashing::NAME.to_owned() })
}
