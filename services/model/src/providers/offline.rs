//! The built-in provider that follows a script: deterministic, without key and network. See docs/offline.md.

use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::sleep;

use super::{OFFLINE, Pieces, Provider, Texts, Vectors};
use crate::domain::prompt::Prompt;
use crate::domain::reply::Reply;
use crate::domain::{script, tokens};
use crate::error::Error;

pub(super) struct Offline {
    delay: Duration,
}

impl Offline {
    pub(super) const fn new(delay: Duration) -> Self {
        Self { delay }
    }

    async fn answer(&self, prompt: &Prompt, pieces: Pieces) -> Result<Reply, Error> {
        let prompt = prompt.clone();
        // Templates and summaries of long texts take milliseconds, too long for a thread that serves others.
        let reply = tokio::task::spawn_blocking(move || answer(&prompt))
            .await
            .context("the offline provider's script broke off")??;
        for word in reply.message.content.split_inclusive(char::is_whitespace) {
            if !self.delay.is_zero() {
                sleep(self.delay).await;
            }
            // Nobody reads them any more: the reply is still made, recorded and answered.
            if pieces.send(word.to_owned()).await.is_err() {
                break;
            }
        }
        Ok(reply)
    }
}

fn answer(prompt: &Prompt) -> Result<Reply, Error> {
    let mut reply = script::reply(prompt)?;
    let limit = usize::try_from(prompt.max_tokens).unwrap_or(usize::MAX);
    if limit > 0
        && let Some(cut) = tokens::cut(&reply.message.content, limit)
    {
        reply.message.content = cut;
        "length".clone_into(&mut reply.finish_reason);
    }
    reply.usage = Some(reply.usage(&prompt.messages, &prompt.tools));
    Ok(reply)
}

impl Provider for Offline {
    fn complete<'a>(
        &'a self,
        _model: &'a str,
        prompt: &'a Prompt,
        pieces: Pieces,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        self.answer(prompt, pieces).boxed()
    }

    fn embed<'a>(
        &'a self,
        _model: &'a str,
        _texts: &'a Texts,
    ) -> BoxFuture<'a, Result<Vectors, Error>> {
        let message = format!("{OFFLINE} has no vectors: configure a provider that has");
        std::future::ready(Err(Error::invalid(message))).boxed()
    }

    fn is_ready(&self) -> bool {
        true
    }
}
