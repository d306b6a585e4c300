//! Any process may be killed at any moment, and nothing is lost and nothing is done twice.

mod agents;
mod checks;
mod load;
mod log;
mod outside;
mod people;
mod provider;
mod world;

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use muster_contracts::workflow::v1::JournalEntry;
use muster_contracts::{Addressed, subject};
use muster_testkit::{Cluster, NatsServer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::checks::Checks;
use self::load::Begun;
use self::outside::Outside;
use self::people::{Decider, Door, Spender, Talk};
use self::provider::COST;
use crate::platform::{Nats, Platform};

/// The services that are killed.
const VICTIMS: [&str; 5] = ["orchestration", "agent", "tool", "model", "execution-log"];
/// Executions at the same time.
const AT_ONCE: usize = 12;
/// One conversation begins with so many executions.
const TALK_EVERY: usize = 8;
/// A kill comes after so many transitions of any executions, at most.
const STEPS: usize = 6;
/// Where nothing moves, because what was killed was needed, the next kill does not wait for a transition.
const QUIET: Duration = Duration::from_secs(4);
/// As in the settings of the platform under test.
const ACK_WAIT: Duration = Duration::from_secs(2);
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
    outside: Outside,
    platform: Platform<N>,
    transitions: async_nats::Subscriber,
    begun: Vec<Begun>,
    open: VecDeque<String>,
    decider: Decider,
    spender: Spender,
    talks: Vec<JoinHandle<Talk>>,
}

impl<N: Nats> Storm<N> {
    /// A platform on these servers, with a client that hears of every transition.
    async fn begin(nats: N, operator: async_nats::Client) -> Self {
        let seed = number("MUSTER_CHAOS_SEED", rand::random::<u32>().into());
        println!("seed {seed}: MUSTER_CHAOS_SEED={seed} repeats this run's choices");
        let (outside, platform) = prepared(nats).await;
        let transitions =
            operator.subscribe(subject::pattern(JournalEntry::SUBJECT)).await.unwrap();
        let choose = StdRng::seed_from_u64(seed);
        let (begun, open, talks) = (Vec::new(), VecDeque::new(), Vec::new());
        let decider = Decider::start(door(&platform));
        let spender = Spender::start(door(&platform), COST).await;
        Self { seed, choose, outside, platform, transitions, begun, open, decider, spender, talks }
    }

    /// Lets some transitions happen.
    async fn go_on(&mut self) {
        self.drop_ended().await;
        while self.open.len() < AT_ONCE {
            let number = self.begun.len();
            let execution = load::begin(&self.platform, &self.outside.world, number).await;
            self.open.push_back(execution.id.clone());
            self.begun.push(execution);
            if number.is_multiple_of(TALK_EVERY) {
                let base = format!("http://{}", self.outside.world.address);
                self.talks.push(tokio::spawn(people::talk(door(&self.platform), base, number)));
            }
        }
        for _ in 0..self.choose.random_range(1..=STEPS) {
            // Nothing moves where what is needed is down or coming up.
            if timeout(QUIET, self.transitions.next()).await.is_err() {
                break;
            }
        }
    }

    fn kill_a_service(&mut self) {
        let name = VICTIMS[self.choose.random_range(0..VICTIMS.len())];
        let victim = &self.platform.processes[name];
        // What was paid and not recorded died with it.
        if name == "model" {
            self.outside.kills.around(|| victim.kill_9());
        } else {
            victim.kill_9();
        }
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
        let Self { seed, outside, platform, begun, decider, spender, talks, .. } = self;
        let checks = Checks { platform: &platform, outside: &outside, seed };
        let mut expected = checks.all_complete(&begun).await;
        let mut conversations = Vec::new();
        for talk in talks {
            conversations.push(talk.await.unwrap());
        }
        expected.append(&mut checks.answered_in_order(&conversations).await);
        checks.decided(&decider.end().await).await;
        checks.marked_once(&expected);
        let answers = conversations.iter().flat_map(|talk| &talk.executions);
        let executions = begun.iter().map(|begun| &begun.id).chain(answers);
        let recorded = checks.logs(executions).await;
        checks.delivered_once(&begun).await;
        let again = checks.paid_exactly(recorded, spender).await;
        no_letters(&platform, seed).await;
        println!(
            "seed {seed}: {what} over {} executions of {} kinds and {} conversations: none lost, none doubled, each log complete; \
             {again} replies died with one of {} that were killed while somebody may have asked, and were paid twice",
            begun.len(),
            load::KINDS.len(),
            conversations.len(),
            outside.kills.count(),
        );
    }
}

/// A platform on these servers with everything registered, and what stands outside of it.
async fn prepared<N: Nats>(nats: N) -> (Outside, Platform<N>) {
    let outside = Outside::start().await;
    let settings = outside.settings();
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let platform = Platform::start_on(nats, &settings).await;
    load::register(&platform).await;
    (outside, platform)
}

fn door(platform: &Platform<impl Nats>) -> Door {
    Door { client: platform.client.clone(), http: platform.http.clone() }
}

async fn no_letters(platform: &Platform<impl Nats>, seed: u64) {
    let letters = platform.bus().await.dead_letters().list(10).await.unwrap();
    assert!(letters.is_empty(), "seed {seed}: dead letters: {letters:?}");
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
            // Where a server is away, a reply that was paid may find nowhere to be recorded.
            let Storm { outside, platform, .. } = &storm;
            outside.kills.around(|| platform.nats.kill(node));
            storm.go_on().await;
            storm.platform.nats.restart(node);
            storm.platform.nats.until_healthy(HEALTHY_WITHIN).await;
        } else {
            storm.kill_a_service();
        }
    }
    storm.ends_well(&format!("{kills} kills of services and servers")).await;
}

/// Replicas share the executions; one that is paused for longer than its messages are its own goes on with old ideas.
#[tokio::test(flavor = "multi_thread")]
async fn chaos_of_zombies_changes_nothing() {
    let seed = number("MUSTER_CHAOS_SEED", rand::random::<u32>().into());
    let rounds = number("MUSTER_CHAOS_ZOMBIES", 5);
    println!("seed {seed}: MUSTER_CHAOS_SEED={seed} repeats this run's choices; {rounds} pauses");
    let mut choose = StdRng::seed_from_u64(seed);
    let (outside, platform) = prepared(NatsServer::start().await).await;
    let decider = Decider::start(door(&platform));
    let others = [platform.another("orchestration"), platform.another("orchestration")];
    let replicas = [&platform.processes["orchestration"], &others[0], &others[1]];

    let mut begun = Vec::new();
    for _ in 0..rounds {
        for _ in 0..AT_ONCE {
            begun.push(load::begin(&platform, &outside.world, begun.len()).await);
        }
        // What it works on at this moment is given to the others, and when it goes on it works on it too.
        let zombie = replicas[choose.random_range(0..replicas.len())];
        zombie.pause();
        tokio::time::sleep(ACK_WAIT + Duration::from_millis(choose.random_range(200..1500))).await;
        zombie.resume();
    }
    let checks = Checks { platform: &platform, outside: &outside, seed };
    let expected = checks.all_complete(&begun).await;
    checks.decided(&decider.end().await).await;
    checks.marked_once(&expected);
    checks.logs(begun.iter().map(|begun| &begun.id)).await;
    checks.delivered_once(&begun).await;
    no_letters(&platform, seed).await;
}
