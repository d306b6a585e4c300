//! One execution in memory.

use std::collections::HashMap;

use muster_bus::MessageId;
use muster_workflow::{Execution, Fact, weight};

/// Entries behind the last snapshot that call for another one, at least. Reading so many takes some milliseconds; writing a snapshot does, too.
pub(super) const EVERY: u64 = 500;
/// Bytes of facts behind the last snapshot that call for another one, at least: a few entries may be large.
const EVERY_BYTES: u64 = 4 * 1024 * 1024;

/// An execution in memory, as far as its journal was read.
pub(super) struct Hot {
    pub(super) execution: Execution,
    /// The sequence of the last entry.
    pub(super) last: u64,
    /// The inputs that have an entry, by a hash of their id, with the entry's sequence.
    inputs: HashMap<u64, u64>,
    since: Since,
    memory: Memory,
}

/// What the journal has behind the last snapshot.
#[derive(Default)]
struct Since {
    entries: u64,
    bytes: u64,
}

/// What the execution takes in memory.
#[derive(Default)]
struct Memory {
    bytes: u64,
    /// Bytes of facts since this was measured.
    unmeasured: u64,
}

impl Hot {
    /// An execution without a journal.
    pub(super) fn new(execution: Execution) -> Self {
        Self::saved(execution, 0, HashMap::new())
    }

    /// An execution as a snapshot has it.
    pub(super) fn saved(execution: Execution, last: u64, inputs: HashMap<u64, u64>) -> Self {
        let memory = Memory { bytes: execution.size(), unmeasured: 0 };
        Self { execution, last, inputs, since: Since::default(), memory }
    }

    /// Takes in an entry of the journal.
    pub(super) fn apply(&mut self, sequence: u64, input_id: &str, facts: &[Fact]) {
        for fact in facts {
            self.execution.apply(fact);
        }
        self.note(sequence, input_id, facts);
    }

    /// The facts, which the execution knows already, are the journal's entry at this sequence.
    pub(super) fn note(&mut self, sequence: u64, input_id: &str, facts: &[Fact]) {
        self.last = sequence;
        self.inputs.insert(key(input_id), sequence);
        let bytes = facts.iter().map(weight).sum::<u64>();
        self.since.entries += 1;
        self.since.bytes += bytes;
        self.memory.unmeasured += bytes;
        // Measuring looks at every value that flows: no more often than their size doubles.
        if self.memory.unmeasured > self.memory.bytes.max(64 * 1024) {
            self.memory = Memory { bytes: self.execution.size(), unmeasured: 0 };
        }
    }

    /// The sequence of the entry that an input has.
    pub(super) fn sequence_of(&self, input_id: &str) -> Option<u64> {
        self.inputs.get(&key(input_id)).copied()
    }

    pub(super) fn inputs(&self) -> &HashMap<u64, u64> {
        &self.inputs
    }

    /// Whether a snapshot is due.
    ///
    /// A snapshot has the whole state, which grows with the journal; with an eighth of the journal between two of them, all snapshots together cost nine
    /// times the last one at most, so that the share of each entry stays the same however long the journal is.
    pub(super) fn is_snapshot_due(&self) -> bool {
        let entries = self.inputs.len() as u64;
        self.since.entries >= EVERY.max(entries / 8)
            || (self.since.entries > 1
                && self.since.bytes >= EVERY_BYTES.max(2 * self.memory.bytes))
    }

    /// A snapshot was written, or could not be: the next one is due as far away.
    pub(super) fn saved_now(&mut self) {
        self.since = Since::default();
    }

    /// Roughly the bytes that it takes in memory.
    pub(super) fn weight(&self) -> u64 {
        self.memory.bytes + self.memory.unmeasured + 40 * self.inputs.len() as u64
    }
}

/// Ids are long, and an execution may have very many inputs.
fn key(input_id: &str) -> u64 {
    let hash = MessageId::derived([input_id]);
    hash.as_str().get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}
