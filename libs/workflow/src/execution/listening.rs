//! What a task that consumes events has consumed, and how facts change that.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Detail, Execution, Live};
use crate::event::{Interest, Progress, Taken};
use crate::{Consumed, Fact};

/// A task that consumes events or messages, and does something with each of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listening<V = Arc<Value>> {
    pub(crate) progress: Progress,
    /// What it is registered for; none where it wants nothing more.
    pub(crate) interests: Vec<Interest>,
    /// It wants nothing more.
    pub(crate) closed: bool,
    /// How many items it has consumed.
    pub(crate) count: usize,
    /// Items that wait for their turn, in the order of their positions.
    pub(crate) waiting: VecDeque<(u64, V)>,
    /// The item whose turn it is.
    pub(crate) current: Option<Current<V>>,
    /// Index of the item whose turn comes next.
    pub(crate) next: usize,
    /// What has come of the items, in the order of their positions.
    pub(crate) results: Vec<(u64, V)>,
}

/// The item whose turn it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Current<V = Arc<Value>> {
    pub(crate) index: usize,
    pub(crate) position: u64,
    pub(crate) item: V,
}

impl<V> Listening<V> {
    pub(crate) fn new(interests: Vec<Interest>, progress: Progress) -> Listening<V> {
        Listening {
            progress,
            interests,
            closed: false,
            count: 0,
            waiting: VecDeque::new(),
            current: None,
            next: 0,
            results: Vec::new(),
        }
    }

    /// The same with its values held in another way; `None` where one cannot be.
    pub(super) fn map<'v, W>(
        &'v self,
        value: &mut dyn FnMut(&'v V) -> Option<W>,
    ) -> Option<Listening<W>> {
        let mut each = |(position, held): &'v (u64, V)| Some((*position, value(held)?));
        let waiting = self.waiting.iter().map(&mut each).collect::<Option<_>>()?;
        let results = self.results.iter().map(&mut each).collect::<Option<_>>()?;
        let current = match &self.current {
            None => None,
            Some(Current { index, position, item }) => {
                Some(Current { index: *index, position: *position, item: value(item)? })
            }
        };
        Some(Listening {
            progress: self.progress.clone(),
            interests: self.interests.clone(),
            closed: self.closed,
            count: self.count,
            waiting,
            current,
            next: self.next,
            results,
        })
    }

    /// Inserts behind all with the same or a smaller position: what was published first comes first,
    /// also where it came later.
    fn insert(list: &mut Vec<(u64, V)>, position: u64, value: V) {
        let place = list.partition_point(|(other, _)| *other <= position);
        list.insert(place, (position, value));
    }
}

impl Execution {
    /// Whether a task wants events.
    pub fn is_listening(&self, task: &str) -> bool {
        let run = self.find(task).and_then(|run| self.runs.get(run));
        run.is_some_and(
            |run| matches!(run.detail(), Detail::Listen(listening) if !listening.closed),
        )
    }

    /// Applies what is about consuming events.
    pub(super) fn apply_consuming(&mut self, fact: &Fact) {
        match fact {
            Fact::ListeningStarted { task, interests, correlations } => self.live(task, |live| {
                let correlations = correlations.clone();
                let progress = Progress { correlations, ..Progress::default() };
                let listening = Listening::new(interests.clone(), progress);
                live.detail = Detail::Listen(Box::new(listening));
            }),
            Fact::EventConsumed { task, consumed } => {
                self.live(task, |live| consume(live, consumed));
                self.release_signal(consumed.position);
            }
            Fact::ItemStarted { task, index } => self.live(task, |live| {
                let Detail::Listen(listening) = &mut live.detail else { return };
                if let Some((position, item)) = listening.waiting.pop_front() {
                    live.data = item.clone();
                    listening.current = Some(Current { index: *index, position, item });
                    listening.next = index + 1;
                }
            }),
            Fact::ItemCompleted { task, output, .. } => self.live(task, |live| {
                let Detail::Listen(listening) = &mut live.detail else { return };
                let Some(Current { position, item, .. }) = listening.current.take() else { return };
                let output = output.as_ref().map_or(item, |output| Arc::new(output.clone()));
                Listening::insert(&mut listening.results, position, output);
            }),
            Fact::ListeningEnded { task, discard, .. } => self.live(task, |live| {
                let Detail::Listen(listening) = &mut live.detail else { return };
                listening.closed = true;
                listening.interests.clear();
                if *discard {
                    listening.waiting.clear();
                }
            }),
            Fact::ListeningResumed { task, interests } => self.live(task, |live| {
                let Detail::Listen(listening) = &mut live.detail else { return };
                listening.closed = false;
                listening.interests.clone_from(interests);
            }),
            Fact::SignalKept { position, event } => {
                let Some(live) = self.live_mut(0) else { return };
                if !matches!(live.detail, Detail::Kept { .. }) {
                    live.detail = Detail::Kept { signals: Vec::new() };
                }
                if let Detail::Kept { signals } = &mut live.detail {
                    Listening::insert(signals, *position, Arc::new(event.clone()));
                }
            }
            _ => {}
        }
    }

    /// Removes a kept signal that a task has taken.
    fn release_signal(&mut self, taken: u64) {
        let Some(live) = self.live_mut(0) else { return };
        if let Detail::Kept { signals } = &mut live.detail {
            signals.retain(|(position, _)| *position != taken);
        }
    }
}

fn consume(live: &mut Live, consumed: &Consumed) {
    let Detail::Listen(listening) = &mut live.detail else { return };
    let taken = Taken {
        filter: consumed.filter,
        until: consumed.until,
        correlations: consumed.correlations.clone(),
    };
    listening.progress.note(&taken);
    if consumed.until {
        return;
    }
    listening.count += 1;
    let item = Arc::new(consumed.item.clone());
    if consumed.waits {
        let waiting = &mut listening.waiting;
        let place = waiting.partition_point(|(other, _)| *other <= consumed.position);
        waiting.insert(place, (consumed.position, item));
    } else {
        Listening::insert(&mut listening.results, consumed.position, item);
    }
}
