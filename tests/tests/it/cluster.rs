//! Three nats-servers, three replicas of each stream: any of them may die, and nothing that was acknowledged is lost or done twice.

mod faults;
mod ledger;
mod load;
mod pulse;

use std::time::Duration;

use muster_testkit::Cluster;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::faults::Scenario;
use self::ledger::Ledger;
use self::load::Load;
use crate::chaos::number;

/// What a round of `make chaos` counts as: so many rounds play every scenario once.
const ROUNDS_FOR_ALL: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn chaos_in_the_cluster_loses_nothing_and_doubles_nothing() {
    let seed = number("MUSTER_CHAOS_SEED", rand::random::<u32>().into());
    let rounds = number("MUSTER_CHAOS_ROUNDS", 0);
    println!("seed {seed}: MUSTER_CHAOS_SEED={seed} repeats the choices of this run");
    let mut choose = StdRng::seed_from_u64(seed);
    let scenarios = if rounds == 0 {
        // Some 15 s each; the others are slower variants of these.
        vec![
            Scenario::KillLeader,
            Scenario::KillAll,
            Scenario::RollingRestart,
            Scenario::Pause,
            Scenario::CutLink,
        ]
    } else {
        Scenario::ALL.repeat(rounds.div_ceil(ROUNDS_FOR_ALL) as usize)
    };
    let cluster = Cluster::start().await;
    let mut load = Load::start(&cluster).await;
    println!(
        "{:<20} {:<13} {:>8} {:>8} {:>12}",
        "scenario", "work", "done", "faults", "longest gap"
    );
    for scenario in scenarios {
        load.go_on();
        let ledger = load.ledger.clone();
        load.while_alive(async {
            warm(&ledger).await;
            scenario.play(&cluster, &mut choose).await;
            warm(&ledger).await;
        })
        .await;
        report(scenario, &load.ledger);
        load.settle().await;
        cluster.until_agreed("EXECUTIONS", Duration::from_secs(60)).await;
    }
    println!("{}: nothing lost, nothing done twice", load.ledger.totals());
}

/// Waits until every kind of work works.
async fn warm(ledger: &Ledger) {
    for (name, pulse) in ledger.pulses.all() {
        let enough = pulse.read().worked + 10;
        muster_testkit::eventually(Duration::from_secs(60), name, || async {
            pulse.read().worked >= enough
        })
        .await;
    }
}

fn report(scenario: Scenario, ledger: &Ledger) {
    for (name, pulse) in ledger.pulses.all() {
        let beats = pulse.read();
        let (worked, failed, longest) = (beats.worked, beats.failed(), beats.longest());
        println!("{:<20} {name:<13} {worked:>8} {failed:>8} {longest:>10.2?}", scenario.name());
    }
    let redelivered = ledger.pulses.redelivered.read().worked;
    println!("{:<20} {redelivered} handler runs on redelivered messages", scenario.name());
}
