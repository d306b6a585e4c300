//! A model of orchestration: replicas that read the journal, decide, append, publish and
//! acknowledge, and that crash between any two of these. Whatever comes twice, late or never asked
//! for, and wherever they crash: the end is that of the simple sequential run.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_workflow::{Definition, Effect, Execution, Fact, Input, effects};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::driver::{definition, noon};
use crate::replay::{answer, run, task, written};

/// Where a replica ends while it handles an input.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Crash {
    Never,
    BeforeAppend,
    AfterAppend,
    /// When it has published so many effects.
    AmongEffects(usize),
    BeforeAcknowledging,
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![
        6 => Just(Crash::Never),
        1 => Just(Crash::BeforeAppend),
        1 => Just(Crash::AfterAppend),
        1 => (0..3_usize).prop_map(Crash::AmongEffects),
        1 => Just(Crash::BeforeAcknowledging),
    ]
}

/// What chance decides about one delivery.
#[derive(Debug, Clone)]
struct Chance {
    /// Which message is delivered next.
    message: usize,
    replica: usize,
    crash: Crash,
    /// Whether the message comes once more: with its id, or as another message.
    again: Option<bool>,
    /// Whether something comes that nobody asked for.
    stray: bool,
    /// Whether a snapshot is written afterwards.
    snapshot: bool,
}

fn chance() -> impl Strategy<Value = Chance> {
    let again = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (
        any::<usize>(),
        0..2_usize,
        crash(),
        again,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(message, replica, crash, again, stray, snapshot)| Chance {
            message,
            replica,
            crash,
            again,
            stray,
            snapshot,
        })
}

#[derive(Clone)]
struct Message {
    id: String,
    input: Input,
}

/// What the replicas share: the broker.
struct World {
    definition: Arc<Definition>,
    /// Ids of inputs with their facts.
    journal: Vec<(String, Vec<Fact>)>,
    /// What was published, under its id: a second message with an id is dropped.
    published: BTreeMap<String, Effect>,
    waiting: Vec<Message>,
    /// A saved state, and how many entries are in it.
    snapshot: Option<(Vec<u8>, usize)>,
    replicas: [Option<(Execution, usize)>; 2],
}

impl World {
    fn new(text: &str, input: Value) -> World {
        let start = Message { id: "start".to_owned(), input: Input::Start { input } };
        World {
            definition: definition(text),
            journal: Vec::new(),
            published: BTreeMap::new(),
            waiting: vec![start],
            snapshot: None,
            replicas: [None, None],
        }
    }

    /// The execution as a replica that knows nothing reads it.
    fn load(&self) -> (Execution, usize) {
        let (mut execution, read) = match &self.snapshot {
            Some((saved, read)) => {
                (Execution::restore(saved, self.definition.clone()).unwrap(), *read)
            }
            None => (Execution::new("execution-1", self.definition.clone()), 0),
        };
        let rest = self.journal[read..].iter();
        rest.flat_map(|(_, facts)| facts).for_each(|fact| execution.apply(fact));
        (execution, self.journal.len())
    }

    /// Handles a message; true where it is acknowledged.
    fn handle(&mut self, message: &Message, chance: &Chance) -> bool {
        loop {
            let known = self.replicas[chance.replica].take();
            let (mut execution, read) = known.unwrap_or_else(|| self.load());
            if let Some(place) = self.journal.iter().position(|(id, _)| *id == message.id) {
                // It was appended, but perhaps no more than that.
                let facts = self.journal[place].1.clone();
                self.replicas[chance.replica] = Some((execution, read));
                return self.publish(place, &facts, chance);
            }
            let facts = execution.advance(&message.input, noon());
            if read != self.journal.len() {
                // The append is refused, or what is decided may not matter to what was appended
                // since: read again.
                continue;
            }
            if facts.is_empty() {
                self.replicas[chance.replica] = Some((execution, read));
                return true;
            }
            if chance.crash == Crash::BeforeAppend {
                return false;
            }
            self.journal.push((message.id.clone(), facts.clone()));
            if chance.crash == Crash::AfterAppend {
                return false;
            }
            self.replicas[chance.replica] = Some((execution, read + 1));
            return self.publish(read, &facts, chance);
        }
    }

    /// Publishes the effects of an entry; false where the replica ends meanwhile.
    fn publish(&mut self, place: usize, facts: &[Fact], chance: &Chance) -> bool {
        for (index, effect) in effects(facts).into_iter().enumerate() {
            if chance.crash == Crash::AmongEffects(index) {
                self.replicas[chance.replica] = None;
                return false;
            }
            let id = format!("{place}-{index}");
            if let Some(before) = self.published.insert(id.clone(), effect.clone()) {
                assert_eq!(before, effect, "the same id is the same effect");
                continue;
            }
            let id = format!("answer of {id}");
            match effect {
                Effect::Call { task, arguments, .. } => {
                    let input = answer(&task, &arguments);
                    self.waiting.push(Message { id, input });
                }
                Effect::SetTimer { timer, .. } => {
                    self.waiting.push(Message { id, input: Input::TimerFired { timer } });
                }
                _ => {}
            }
        }
        if chance.crash == Crash::BeforeAcknowledging {
            self.replicas[chance.replica] = None;
            return false;
        }
        true
    }
}

/// Delivers every message until it is acknowledged.
fn deliver_all(world: &mut World, mut chances: impl Iterator<Item = Chance>) {
    let mut deliveries = 0;
    while !world.waiting.is_empty() {
        let mut chance = chances.next().unwrap();
        deliveries += 1;
        assert!(deliveries < 20_000, "it does not end");
        if deliveries > 2_000 {
            // Crashes end at some time, or nothing else ever would.
            (chance.crash, chance.again, chance.stray) = (Crash::Never, None, false);
        }
        if chance.stray {
            let input = Input::Completed { task: "/do/0/nobody".to_owned(), output: json!(1) };
            let stray = Message { id: format!("stray {deliveries}"), input };
            world.handle(&stray, &Chance { crash: Crash::Never, ..chance.clone() });
        }
        let place = chance.message % world.waiting.len();
        let message = world.waiting[place].clone();
        if world.handle(&message, &chance) {
            world.waiting.remove(place);
            match chance.again {
                Some(true) => world.waiting.push(message),
                Some(false) => {
                    let id = format!("{} once more {deliveries}", message.id);
                    world.waiting.push(Message { id, ..message });
                }
                None => {}
            }
        }
        if chance.snapshot {
            let (execution, read) = world.load();
            world.snapshot = Some((execution.save().unwrap(), read));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crashes_duplicates_and_strays_lead_to_the_end_of_the_sequential_run(
        tasks in prop::collection::vec(task(), 1..4),
        chances in prop::collection::vec(chance(), 97),
    ) {
        let text = written(&tasks);
        let sequential = run(&text, |_| 0, false);
        let mut world = World::new(&text, json!({"n": 0}));
        deliver_all(&mut world, chances.into_iter().cycle());
        let (execution, _) = world.load();
        prop_assert!(execution.status().is_ended());
        prop_assert_eq!(execution.hash(), sequential.execution.hash());
        // The journal alone says the same as the snapshot and the rest.
        world.snapshot = None;
        prop_assert_eq!(world.load().0.hash(), sequential.execution.hash());
        let ids: std::collections::BTreeSet<_> = world.journal.iter().map(|(id, _)| id).collect();
        prop_assert_eq!(ids.len(), world.journal.len(), "an input has one entry");
        let mut calls: Vec<_> = world.published.values().filter_map(called).collect();
        calls.sort_unstable();
        let all = calls.len();
        calls.dedup();
        prop_assert_eq!(calls.len(), all, "each task is called once");
    }
}

fn called(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::Call { task, .. } => Some(task),
        _ => None,
    }
}
