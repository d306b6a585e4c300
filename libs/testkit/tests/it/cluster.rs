use std::time::Duration;

use async_nats::jetstream::{self, stream};
use muster_testkit::{Cluster, eventually};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_without_its_leader_and_without_a_link() {
    let cluster = Cluster::start_without_users("").await;
    let servers: Vec<async_nats::ServerAddr> =
        cluster.url().split(',').map(|url| url.parse().unwrap()).collect();
    let jetstream = jetstream::new(async_nats::connect(servers).await.unwrap());
    let config = stream::Config { name: "S".into(), num_replicas: 3, ..Default::default() };
    eventually(SOON, "a stream of three replicas", || {
        jetstream.get_or_create_stream(config.clone())
    })
    .await;
    let stored = || async { jetstream.publish("S", "x".into()).await?.await };
    eventually(SOON, "a message is stored", stored).await;

    let leader = cluster.until_led("S", SOON).await;
    cluster.kill(leader);
    eventually(SOON, "another leads", || async {
        cluster.leader("S").await.filter(|other| *other != leader)
    })
    .await;
    eventually(SOON, "a message is stored by two", stored).await;
    cluster.restart(leader);
    cluster.until_healthy(SOON).await;

    let leader = cluster.until_led("S", SOON).await;
    let (one, other) = ((leader + 1) % Cluster::NODES, (leader + 2) % Cluster::NODES);
    cluster.cut(one, other);
    eventually(SOON, "a message is stored over the leader's links", stored).await;
    // Without the proxies' ports nobody finds a way round.
    cluster.cut(leader, one);
    eventually(SOON, "the lonely node says so", || async { !cluster.is_healthy(one).await }).await;
    cluster.heal(one, other);
    cluster.heal(leader, one);
    cluster.until_healthy(SOON).await;
    cluster.stop(leader).await;
    assert!(cluster.log(leader).contains("Server Exiting"), "{}", cluster.log(leader));
}
