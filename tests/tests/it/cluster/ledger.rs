//! What was promised to whom, so that it can be compared with what the streams hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use muster_bus::{Bus, Recorded};
use muster_contracts::Addressed;
use muster_contracts::tool::v1::{ToolExecutionCompleted, ToolExecutionRequested};
use muster_contracts::workflow::v1::JournalEntry;

use super::pulse::Pulse;

/// The books of one run.
pub(crate) struct Ledger {
    /// Acknowledged commands: key and sequence.
    pub(crate) commands: Mutex<BTreeMap<String, u64>>,
    /// How often the handler of a command ran.
    pub(crate) runs: Mutex<BTreeMap<String, u32>>,
    /// How often the handler of a completion ran.
    pub(crate) effects: Mutex<BTreeMap<String, u32>>,
    /// Acknowledged entries: journal, input and sequence.
    pub(crate) entries: Mutex<BTreeMap<(String, String), u64>>,
    /// What the live follower saw.
    pub(crate) followed: Mutex<Vec<u64>>,
    /// Acknowledged additions to the counter, and those of which nothing is known.
    pub(crate) additions: Mutex<(u64, u64)>,
    pub(crate) pulses: Pulses,
}

/// The kinds of work.
pub(crate) struct Pulses {
    pub(crate) publish: Pulse,
    pub(crate) handle: Pulse,
    pub(crate) journal: Pulse,
    pub(crate) request: Pulse,
    pub(crate) long_request: Pulse,
    pub(crate) kv: Pulse,
    pub(crate) follow: Pulse,
    /// Runs of a handler with a message that was delivered before.
    pub(crate) redelivered: Pulse,
}

impl Pulses {
    pub(crate) fn all(&self) -> [(&'static str, &Pulse); 7] {
        [
            ("publish", &self.publish),
            ("handle", &self.handle),
            ("journal", &self.journal),
            ("request", &self.request),
            ("long request", &self.long_request),
            ("key-value", &self.kv),
            ("follow", &self.follow),
        ]
    }

    pub(crate) fn reset(&self) {
        for (_, pulse) in self.all() {
            pulse.reset();
        }
        self.redelivered.reset();
    }
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            commands: Mutex::default(),
            runs: Mutex::default(),
            effects: Mutex::default(),
            entries: Mutex::default(),
            followed: Mutex::default(),
            additions: Mutex::default(),
            pulses: Pulses {
                publish: Pulse::new("publish"),
                handle: Pulse::new("handle"),
                journal: Pulse::new("journal"),
                request: Pulse::new("request"),
                long_request: Pulse::new("long request"),
                kv: Pulse::new("key-value"),
                follow: Pulse::new("follow"),
                redelivered: Pulse::new("redelivered"),
            },
        }
    }

    pub(crate) fn added(&self, known: u64, unknown: u64) {
        let mut additions = self.additions.lock().unwrap();
        additions.0 += known;
        additions.1 += unknown;
    }

    /// What the books say, in words.
    pub(crate) fn totals(&self) -> String {
        let again = |runs: &Mutex<BTreeMap<String, u32>>| {
            runs.lock().unwrap().values().map(|runs| runs - 1).sum::<u32>()
        };
        let reruns = again(&self.runs) + again(&self.effects);
        let commands = self.commands.lock().unwrap().len();
        let entries = self.entries.lock().unwrap().len();
        format!(
            "{commands} commands with their effects, {entries} entries in journals, {reruns} runs of a handler beyond the first"
        )
    }

    /// Compares everything that was acknowledged with what the stream holds. `recorded` is the whole stream.
    pub(crate) fn balance(&self, recorded: &[Recorded]) {
        let mut ids = BTreeSet::new();
        for message in recorded {
            assert!(ids.insert(&message.id), "{} is twice in the stream", message.id);
        }
        self.commands_and_effects(recorded);
        self.journals(recorded);
        let sequences: Vec<_> = recorded.iter().map(|message| message.sequence).collect();
        let followed = self.followed.lock().unwrap();
        assert_eq!(*followed, sequences, "what the follower saw is not what the stream holds");
    }

    fn commands_and_effects(&self, recorded: &[Recorded]) {
        let commands = self.commands.lock().unwrap();
        let mut stored = BTreeMap::new();
        let mut completed = BTreeSet::new();
        for message in recorded {
            if message.subject == ToolExecutionRequested::SUBJECT {
                let key = message.decode::<ToolExecutionRequested>().unwrap().idempotency_key;
                assert!(!stored.contains_key(&key), "command {key} is twice in the stream");
                stored.insert(key, message.sequence);
            } else if message.subject == ToolExecutionCompleted::SUBJECT {
                let key = message.decode::<ToolExecutionCompleted>().unwrap().idempotency_key;
                assert!(completed.insert(key.clone()), "the effect of {key} was done twice");
            }
        }
        // The load stops between messages, so every command that was sent is one that was acknowledged.
        for (key, sequence) in commands.iter() {
            let found = stored.get(key);
            assert_eq!(found, Some(sequence), "command {key} was acknowledged as {sequence}");
        }
        assert_eq!(stored.len(), commands.len(), "the stream has commands that nobody sent");
        let sent: BTreeSet<_> = commands.keys().cloned().collect();
        assert_eq!(completed, sent, "each command has one effect");
        let handled: BTreeSet<_> = self.effects.lock().unwrap().keys().cloned().collect();
        assert_eq!(handled, sent, "each effect was noticed");
    }

    /// Each writer's entries are there once, in their order, without a gap, at the sequences that it was told.
    fn journals(&self, recorded: &[Recorded]) {
        let mut next = BTreeMap::<(String, String), u64>::new();
        let mut found = BTreeMap::new();
        for message in recorded.iter().filter(|message| message.subject.starts_with("journal.")) {
            let entry: JournalEntry = message.decode().unwrap();
            let (writer, number) = entry.input_id.rsplit_once('-').unwrap();
            let next = next.entry((entry.execution_id.clone(), writer.to_owned())).or_default();
            assert_eq!(number, next.to_string(), "{} in {}", entry.input_id, entry.execution_id);
            *next += 1;
            found.insert((entry.execution_id, entry.input_id), message.sequence);
        }
        assert_eq!(found, *self.entries.lock().unwrap(), "the journals hold what was acknowledged");
    }

    /// The counter has every addition that was acknowledged, and none that was not made.
    pub(crate) fn counter(&self, value: u64) {
        let (known, unknown) = *self.additions.lock().unwrap();
        assert!(
            (known..=known + unknown).contains(&value),
            "the counter is {value}, but {known} additions were acknowledged and {unknown} are unknown"
        );
    }
}

/// The whole stream behind `marker`, which was published last.
pub(crate) async fn whole_stream(bus: &Bus, marker: u64) -> Vec<Recorded> {
    use futures::StreamExt as _;
    let mut messages = std::pin::pin!(bus.follow(
        muster_contracts::Stream::Executions,
        vec!["tool.execution.*".to_owned(), "journal.*".to_owned()],
        muster_bus::After(0)
    ));
    let mut recorded = Vec::new();
    while let Some(message) = messages.next().await {
        let last = message.sequence >= marker;
        recorded.push(message);
        if last {
            break;
        }
    }
    recorded
}
