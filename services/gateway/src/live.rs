//! The live stream of an execution: its journal and its tokens, merged, from any position.

mod merge;

use std::convert::Infallible;

use axum::response::sse;
use futures::{Stream, StreamExt, stream::BoxStream};
use muster_bus::{After, Bus, Recorded};
use muster_contracts::{
    Addressed, Fault, Message, Stream as Kept, agent::v1::RunEntry, llm::v1::Token, subject,
    workflow::v1::JournalEntry,
};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use crate::{
    app::App,
    domain::{
        position::Position,
        recorded::{Step, end_index, of_agent, of_model, of_workflow},
    },
    error::Error,
    live::merge::{Merge, Next},
};

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    name: &'static str,
    position: Position,
    data: Value,
}

impl Told {
    fn into_event(self) -> sse::Event {
        sse::Event::default()
            .event(self.name)
            .id(self.position.to_string())
            .data(self.data.to_string())
    }
}

/// The events behind `position`, until the execution's end; `None` where the client has them all.
pub(crate) async fn events(
    app: &App,
    execution_id: &str,
    position: Position,
    permit: OwnedSemaphorePermit,
) -> Result<Option<impl Stream<Item = Result<sse::Event, Infallible>> + Send + 'static>, Error> {
    let address = JournalEntry { execution_id: execution_id.to_owned(), ..JournalEntry::default() };
    let newest = app.bus.latest(&address).await?;
    let journal_end = newest.as_ref().map_or(0, |(sequence, _)| *sequence);
    if let Some((sequence, entry)) = &newest
        // The end takes the place behind the last fact.
        && let Some(index) = end_index(entry)
        && position.covers(*sequence, index + 1)
    {
        return Ok(None);
    }
    let tokens_end = newest_token(&app.bus, execution_id).await?;
    // The message of the position again: some of its facts may not have been told.
    let before = position.journal.saturating_sub(1);
    // On the heap, each of them: together they would overflow the stack of a thread that opens one for many clients.
    let journal = app
        .bus
        .follow(
            Kept::Executions,
            vec![
                address_of::<JournalEntry>("execution_id", execution_id)?,
                address_of::<RunEntry>("execution_id", execution_id)?,
            ],
            After(before),
        )
        .boxed();
    // Tokens are kept in memory: behind a restart of the broker they count from 1 again.
    let behind = if position.token <= tokens_end { position.token } else { 0 };
    let tokens = app
        .bus
        .follow(
            Kept::LlmStreams,
            vec![address_of::<Token>("session", execution_id)?],
            After(behind),
        )
        .boxed();
    let position = Position { token: behind, ..position };
    let merge = Merge::new((before, journal_end), (behind, tokens_end));
    let live = Live {
        bus: app.bus.clone(),
        execution_id: execution_id.to_owned(),
        position,
        journal_end,
        merge,
    };
    let told = live.told(journal, tokens).boxed();
    let stop = app.stop.clone();
    Ok(Some(told.take_until(stop.cancelled_owned()).map(move |told| {
        let _held_while_streaming = &permit;
        Ok(told.into_event())
    })))
}

fn address_of<M: Addressed>(field: &'static str, value: &str) -> Result<String, Error> {
    Ok(subject::address::<M>(&[(field, value)])?)
}

/// The sequence of the newest token; 0 where there is none.
async fn newest_token(bus: &Bus, execution_id: &str) -> Result<u64, Fault> {
    let address = Token { session: execution_id.to_owned(), ..Token::default() };
    Ok(bus.latest(&address).await?.map_or(0, |(sequence, _)| sequence))
}

/// One client's stream.
struct Live {
    bus: Bus,
    execution_id: String,
    position: Position,
    /// The sequence of the workflow's last entry when the stream was opened.
    journal_end: u64,
    merge: Merge,
}

impl Live {
    fn told(
        mut self,
        mut journal: BoxStream<'static, Recorded>,
        mut tokens: BoxStream<'static, Recorded>,
    ) -> impl Stream<Item = Told> + Send {
        async_stream::stream! {
            loop {
                match self.merge.next() {
                    Next::Journal(recorded) => {
                        let (told, over) = self.of_journal(&recorded);
                        for told in told {
                            yield told;
                        }
                        if over {
                            return;
                        }
                    }
                    Next::Token(recorded) => {
                        if let Some(told) = self.of_token(&recorded) {
                            yield told;
                        }
                    }
                    Next::Wait { settling } => tokio::select! {
                        Some(recorded) = journal.next(), if self.merge.wants_journal() => self.journal(recorded).await,
                        Some(recorded) = tokens.next(), if self.merge.wants_token() => self.merge.token(recorded),
                        () = tokio::time::sleep(merge::PATIENCE), if settling => self.merge.give_up(),
                    },
                }
            }
        }
    }

    /// Behind a fault an execution may have been retried: then that was not its end.
    fn may_end_with(&self, recorded: &Recorded) -> bool {
        recorded.sequence >= self.journal_end
    }

    async fn journal(&mut self, recorded: Recorded) {
        if self.may_end_with(&recorded) && steps(&recorded).iter().any(|step| step.end.is_some()) {
            // The last tokens come before the end.
            let until = newest_token(&self.bus, &self.execution_id).await.unwrap_or_default();
            self.merge.last_journal(until);
        }
        self.merge.journal(recorded);
    }

    /// The events of a journal message that were not told yet, and whether the execution is over with it.
    fn of_journal(&mut self, recorded: &Recorded) -> (Vec<Told>, bool) {
        let mut events = Vec::new();
        let mut over = false;
        for (index, step) in steps(recorded).into_iter().enumerate() {
            events.extend(self.tell("step", recorded.sequence, index, step.data));
            if let Some(end) = step.end.filter(|_| self.may_end_with(recorded)) {
                // The end takes the place behind its fact, so that a client can have the fact without the end.
                events.extend(self.tell("done", recorded.sequence, index + 1, end));
                over = true;
                break;
            }
        }
        (events, over)
    }

    fn tell(
        &mut self,
        name: &'static str,
        sequence: u64,
        index: usize,
        data: Value,
    ) -> Option<Told> {
        if self.position.covers(sequence, index) {
            return None;
        }
        (self.position.journal, self.position.index) = (sequence, index);
        Some(Told { name, position: self.position, data })
    }

    fn of_token(&mut self, recorded: &Recorded) -> Option<Told> {
        let data = recorded.decode::<Token>().map(of_model).ok()?;
        self.position.token = recorded.sequence;
        Some(Told { name: "token", position: self.position, data })
    }
}

fn steps(recorded: &Recorded) -> Vec<Step> {
    let steps = if recorded.message_type == RunEntry::NAME {
        recorded.decode::<RunEntry>().map(|entry| vec![of_agent(entry)])
    } else {
        recorded.decode::<JournalEntry>().map(of_workflow)
    };
    steps.unwrap_or_else(|fault| {
        warn!(sequence = recorded.sequence, error = %fault, "journal entry cannot be read");
        Vec::new()
    })
}
