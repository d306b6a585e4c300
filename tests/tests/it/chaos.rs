//! Any process may be killed at any moment, and nothing is lost and nothing is done twice.

mod load;
mod log;
mod world;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use muster_contracts::workflow::v1::JournalEntry;
use muster_contracts::{Addressed, subject};
use muster_testkit::{Cluster, NatsServer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout;

use self::world::World;
use crate::platform::{Nats, Platform};

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
/// Of the kills on a cluster one of so many is that of a server.
const NODE_EVERY: u64 = 4;
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::vars()
        .find(|(found, _)| found == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(default)
}

/// Executions that go on while what they need is killed.
struct Storm<N> {
    seed: u64,
    choose: StdRng,
    world: World,
    platform: Platform<N>,
    transitions: async_nats::Subscriber,
    /// Every execution with the marks that it will leave.
    begun: Vec<(String, Vec<String>)>,
    open: VecDeque<String>,
}

impl<N: Nats> Storm<N> {
    /// A platform on these servers, with a client that hears of every transition.
    async fn begin(nats: N, operator: async_nats::Client) -> Self {
        let seed = number("MUSTER_CHAOS_SEED", rand::random::<u32>().into());
        println!("seed {seed}: MUSTER_CHAOS_SEED={seed} repeats this run's choices");
        let world = World::start().await;
        let platform = Platform::start_on(nats, &[("MUSTER_HTTP_ALLOW", &world.address)]).await;
        load::register(&platform).await;
        let transitions =
            operator.subscribe(subject::pattern(JournalEntry::SUBJECT)).await.unwrap();
        let choose = StdRng::seed_from_u64(seed);
        let (begun, open) = (Vec::new(), VecDeque::new());
        Self { seed, choose, world, platform, transitions, begun, open }
    }

    /// Lets some transitions happen.
    async fn go_on(&mut self) {
        self.drop_ended().await;
        while self.open.len() < AT_ONCE {
            let execution = load::begin(&self.platform, &self.world, self.begun.len()).await;
            self.open.push_back(execution.0.clone());
            self.begun.push(execution);
        }
        for _ in 0..self.choose.random_range(1..=STEPS) {
            // Nothing moves where what is needed is down or coming up.
            if timeout(QUIET, self.transitions.next()).await.is_err() {
                break;
            }
        }
    }

    fn kill_a_service(&mut self) {
        let victim = VICTIMS[self.choose.random_range(0..VICTIMS.len())];
        let victim = &self.platform.processes[victim];
        victim.kill_9();
        victim.restart();
    }

    /// Makes room for new executions.
    async fn drop_ended(&mut self) {
        for _ in 0..self.open.len() {
            let Some(id) = self.open.pop_front() else { return };
            let (status, state) = self.platform.get(&format!("/v1/executions/{id}")).await;
            // What cannot be read at the moment is looked at later.
            if !(status.is_success() && state["status"] == "completed") {
                self.open.push_back(id);
            }
        }
    }

    async fn ends_well(self, what: &str) {
        let Self { seed, world, platform, begun, .. } = self;
        all_is_done_once(&platform, &world, &begun, seed).await;
        println!(
            "seed {seed}: {what} over {} executions of {} kinds: none lost, none doubled, each log complete",
            begun.len(),
            load::KINDS.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_loses_nothing_and_doubles_nothing() {
    let kills = number("MUSTER_CHAOS_ROUNDS", 200);
    let nats = NatsServer::start().await;
    let operator = nats.client("operator").await;
    let mut storm = Storm::begin(nats, operator).await;
    for _ in 0..kills {
        storm.go_on().await;
        storm.kill_a_service();
    }
    storm.ends_well(&format!("{kills} kills")).await;
}

/// Services and the servers under them, in turn.
#[tokio::test(flavor = "multi_thread")]
async fn chaos_of_executions_on_a_cluster_loses_nothing_and_doubles_nothing() {
    let kills = number("MUSTER_CHAOS_CLUSTER", 8);
    let cluster = Cluster::start().await;
    let operator = cluster.client("operator").await;
    let mut storm = Storm::begin(cluster, operator).await;
    for round in 0..kills {
        storm.go_on().await;
        if round % NODE_EVERY == 0 {
            let node = storm.choose.random_range(0..Cluster::NODES);
            storm.platform.nats.kill(node);
            storm.go_on().await;
            storm.platform.nats.restart(node);
            storm.platform.nats.until_healthy(HEALTHY_WITHIN).await;
        } else {
            storm.kill_a_service();
        }
    }
    storm.ends_well(&format!("{kills} kills of services and servers")).await;
}

/// Every execution completes, leaves its marks once and nothing else, and has a complete log.
async fn all_is_done_once(
    platform: &Platform<impl Nats>,
    world: &World,
    begun: &[(String, Vec<String>)],
    seed: u64,
) {
    let mut expected = BTreeSet::new();
    for (id, marks) in begun {
        let state = platform.ended(id, ALL_END_WITHIN).await;
        if state["status"] != "completed" {
            let (_, events) = platform.get(&format!("/v1/executions/{id}/events?limit=1000")).await;
            panic!("seed {seed}: {state:#}\nwhat happened: {events:#}");
        }
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
