//! Any process may be killed at any moment, and nothing is lost and nothing is done twice.

mod load;
mod log;
mod world;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use muster_contracts::workflow::v1::JournalEntry;
use muster_contracts::{Addressed, subject};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout;

use self::world::World;
use crate::platform::Platform;

/// The services that are killed.
const VICTIMS: [&str; 5] = ["orchestration", "agent", "tool", "model", "execution-log"];
/// Executions at the same time.
const AT_ONCE: usize = 12;
/// A kill comes after so many transitions of any executions, at most.
const STEPS: usize = 6;
/// Where nothing moves, because what was killed was needed, the next kill does not wait for a transition.
const QUIET: Duration = Duration::from_secs(4);
/// As in the settings of the platform under test.
const ACK_WAIT: Duration = Duration::from_secs(2);
const ALL_END_WITHIN: Duration = Duration::from_secs(240);

pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::vars()
        .find(|(found, _)| found == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_loses_nothing_and_doubles_nothing() {
    let seed = number("MUSTER_CHAOS_SEED", rand::random::<u32>().into());
    let kills = number("MUSTER_CHAOS_ROUNDS", 200);
    println!("seed {seed}: MUSTER_CHAOS_SEED={seed} repeats this run's choices; {kills} kills");
    let mut choose = StdRng::seed_from_u64(seed);
    let world = World::start().await;
    let platform = Platform::start_with(&[("MUSTER_HTTP_ALLOW", &world.address)]).await;
    load::register(&platform).await;

    let operator = platform.nats.client("operator").await;
    let mut transitions =
        operator.subscribe(subject::pattern(JournalEntry::SUBJECT)).await.unwrap();
    let mut begun = Vec::new();
    let mut open = VecDeque::new();
    for _ in 0..kills {
        while open.len() < AT_ONCE {
            let execution = load::begin(&platform, &world, begun.len()).await;
            open.push_back(execution.0.clone());
            begun.push(execution);
        }
        for _ in 0..choose.random_range(1..=STEPS) {
            // Nothing moves where what is needed is down or coming up.
            if timeout(QUIET, transitions.next()).await.is_err() {
                break;
            }
        }
        let victim = &platform.processes[VICTIMS[choose.random_range(0..VICTIMS.len())]];
        victim.kill_9();
        victim.restart();
        drop_ended(&platform, &mut open).await;
    }

    all_is_done_once(&platform, &world, &begun, seed).await;
    println!(
        "seed {seed}: {kills} kills over {} executions of {} kinds: none lost, none doubled, each log complete",
        begun.len(),
        load::KINDS.len()
    );
}

/// Every execution completes, leaves its marks once and nothing else, and has a complete log.
async fn all_is_done_once(
    platform: &Platform,
    world: &World,
    begun: &[(String, Vec<String>)],
    seed: u64,
) {
    let mut expected = BTreeSet::new();
    for (id, marks) in begun {
        let state = platform.ended(id, ALL_END_WITHIN).await;
        assert_eq!(state["status"], "completed", "seed {seed}: {state:#}");
        expected.extend(marks.iter().cloned());
    }
    let marks = world.marks();
    assert_eq!(marks.keys().cloned().collect::<BTreeSet<_>>(), expected, "seed {seed}");
    for (mark, keys) in &marks {
        assert_eq!(keys.len(), 1, "seed {seed}: {mark} was done under {keys:?}");
    }
    for (id, _) in begun {
        log::log_is_complete(platform, id, seed).await;
    }
    let letters = platform.bus().await.dead_letters().list(10).await.unwrap();
    assert!(letters.is_empty(), "seed {seed}: dead letters: {letters:?}");
}

/// Makes room for new executions.
async fn drop_ended(platform: &Platform, open: &mut VecDeque<String>) {
    for _ in 0..open.len() {
        let Some(id) = open.pop_front() else { return };
        let (status, state) = platform.get(&format!("/v1/executions/{id}")).await;
        // What cannot be read at the moment is looked at later.
        if !(status.is_success() && state["status"] == "completed") {
            open.push_back(id);
        }
    }
}

/// Replicas share the executions; one that is paused for longer than its messages are its own goes on with old ideas.
#[tokio::test(flavor = "multi_thread")]
async fn chaos_of_zombies_changes_nothing() {
    let seed = number("MUSTER_CHAOS_SEED", rand::random::<u32>().into());
    let rounds = number("MUSTER_CHAOS_ZOMBIES", 5);
    println!("seed {seed}: MUSTER_CHAOS_SEED={seed} repeats this run's choices; {rounds} pauses");
    let mut choose = StdRng::seed_from_u64(seed);
    let world = World::start().await;
    let platform = Platform::start_with(&[("MUSTER_HTTP_ALLOW", &world.address)]).await;
    load::register(&platform).await;
    let others = [platform.another("orchestration"), platform.another("orchestration")];
    let replicas = [&platform.processes["orchestration"], &others[0], &others[1]];

    let mut begun = Vec::new();
    for _ in 0..rounds {
        for _ in 0..AT_ONCE {
            begun.push(load::begin(&platform, &world, begun.len()).await);
        }
        // What it works on at this moment is given to the others, and when it goes on it works on it too.
        let zombie = replicas[choose.random_range(0..replicas.len())];
        zombie.pause();
        tokio::time::sleep(ACK_WAIT + Duration::from_millis(choose.random_range(200..1500))).await;
        zombie.resume();
    }
    all_is_done_once(&platform, &world, &begun, seed).await;
}
