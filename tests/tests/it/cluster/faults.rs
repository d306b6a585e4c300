//! What happens to the cluster while it works.

use std::time::Duration;

use muster_testkit::{Cluster, eventually};
use rand::Rng as _;
use rand::rngs::StdRng;

const STREAM: &str = "EXECUTIONS";
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// One way of failing, with its healing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    KillLeader,
    KillOneByOne,
    KillAll,
    RollingRestart,
    Pause,
    CutLink,
    Isolate,
    Freeze,
}

impl Scenario {
    pub(crate) const ALL: [Self; 8] = [
        Self::KillLeader,
        Self::KillOneByOne,
        Self::KillAll,
        Self::RollingRestart,
        Self::Pause,
        Self::CutLink,
        Self::Isolate,
        Self::Freeze,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill -9 the leader",
            Self::KillOneByOne => "kill -9 one by one",
            Self::KillAll => "kill -9 all three",
            Self::RollingRestart => "SIGTERM, in turn",
            Self::Pause => "SIGSTOP the leader",
            Self::CutLink => "cut a link",
            Self::Isolate => "isolate the leader",
            Self::Freeze => "a link swallows all",
        }
    }

    /// Lets it happen and returns when the cluster is whole again.
    pub(crate) async fn play(self, cluster: &Cluster, choose: &mut StdRng) {
        let leader = cluster.until_led(STREAM, HEALTHY_WITHIN).await;
        let other = (leader + choose.random_range(1..Cluster::NODES)) % Cluster::NODES;
        match self {
            Self::KillLeader => {
                cluster.kill(leader);
                eventually(HEALTHY_WITHIN, "another node leads", || async {
                    cluster.leader(STREAM).await.is_some_and(|new| new != leader)
                })
                .await;
                wait(choose, 500..3000).await;
                cluster.restart(leader);
            }
            Self::KillOneByOne => {
                for node in 0..Cluster::NODES {
                    cluster.kill(node);
                    wait(choose, 0..2000).await;
                    cluster.restart(node);
                    cluster.until_healthy(HEALTHY_WITHIN).await;
                }
            }
            Self::KillAll => {
                (0..Cluster::NODES).for_each(|node| cluster.kill(node));
                wait(choose, 0..1000).await;
                (0..Cluster::NODES).for_each(|node| cluster.restart(node));
            }
            Self::RollingRestart => {
                for node in 0..Cluster::NODES {
                    cluster.stop(node).await;
                    cluster.restart(node);
                    cluster.until_healthy(HEALTHY_WITHIN).await;
                }
            }
            Self::Pause => {
                cluster.pause(leader);
                wait(choose, 6000..12_000).await;
                cluster.resume(leader);
            }
            Self::CutLink => {
                cluster.cut(leader, other);
                wait(choose, 5000..12_000).await;
                cluster.heal(leader, other);
            }
            Self::Isolate => {
                let third = Cluster::NODES - leader - other;
                cluster.cut(leader, other);
                cluster.cut(leader, third);
                wait(choose, 8000..15_000).await;
                cluster.heal(leader, other);
                cluster.heal(leader, third);
            }
            Self::Freeze => {
                cluster.freeze(leader, other);
                wait(choose, 5000..12_000).await;
                cluster.heal(leader, other);
            }
        }
        cluster.until_healthy(HEALTHY_WITHIN).await;
        cluster.until_led(STREAM, HEALTHY_WITHIN).await;
    }
}

/// The length of an outage is part of what happens; nothing is waited for.
async fn wait(choose: &mut StdRng, milliseconds: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(choose.random_range(milliseconds))).await;
}
