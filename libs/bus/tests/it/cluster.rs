//! Three servers and three replicas: decisions are made on what the leader says, and calls outlive its end.

use std::time::Duration;

use bytes::Bytes;
use muster_bus::{Bucket, Bus, KvError};
use muster_testkit::Cluster;

const READY: Duration = Duration::from_secs(60);

/// A connection of a service to one node.
async fn connect(cluster: &Cluster, node: usize) -> Bus {
    let bus = Bus::open(cluster.settings_at(node, "orchestration")).await.unwrap();
    tokio::time::timeout(READY, bus.ready()).await.unwrap();
    bus
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_read_as_it_was_written_last_whichever_node_is_asked() {
    let cluster = Cluster::start().await;
    let mut stores = Vec::new();
    for node in 0..Cluster::NODES {
        stores.push(connect(&cluster, node).await.kv::<u32>(Bucket::Registry));
    }
    for number in 0..150 {
        let store = &stores[number as usize % Cluster::NODES];
        let revision = store.put("key", &number).await.unwrap();
        for other in &stores {
            let read = other.get("key").await.unwrap().unwrap();
            assert_eq!((read.value, read.revision), (number, revision));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_outlives_the_leader_and_is_made_once() {
    let cluster = Cluster::start().await;
    let bus = connect(&cluster, 0).await;
    let store = bus.kv::<u32>(Bucket::Registry);
    let created = store.create("key", &0).await.unwrap();
    let leader = cluster.until_led("KV_REGISTRY", READY).await;
    // The connection stays: only the stream loses its leader.
    if leader == 0 {
        cluster.stop(0).await;
        cluster.restart(0);
        cluster.until_healthy(READY).await;
    }
    cluster.kill(cluster.until_led("KV_REGISTRY", READY).await);
    let updated = store.update("key", &1, created).await.unwrap();
    assert!(matches!(store.update("key", &2, created).await, Err(KvError::Conflict)));
    assert!(matches!(store.create("key", &2).await, Err(KvError::Conflict)));
    let read = store.get("key").await.unwrap().unwrap();
    assert_eq!((read.value, read.revision), (1, updated));
    store.delete("key").await.unwrap();
    assert_eq!(store.get("key").await.unwrap(), None);
    store.create("key", &3).await.unwrap();
    assert_eq!(store.get("key").await.unwrap().unwrap().value, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_published_by_two_at_once_is_acknowledged_to_both() {
    let cluster = Cluster::start().await;
    let (one, other) = (connect(&cluster, 0).await, connect(&cluster, 1).await);
    for number in 0..100 {
        let (command, id) = (crate::command("k"), crate::id(&number.to_string()));
        let (first, second) =
            tokio::join!(one.publish(&command, &id), other.publish(&command, &id));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.sequence, second.sequence);
        assert!(first.duplicate ^ second.duplicate);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_there_at_once_whichever_node_is_asked() {
    let cluster = Cluster::start().await;
    let mut stores = Vec::new();
    for node in 0..Cluster::NODES {
        stores.push(connect(&cluster, node).await.artifacts());
    }
    for number in 0..50 {
        let (name, body) = (format!("object-{number}"), Bytes::from(vec![7; 300_000]));
        stores[number % Cluster::NODES].put(&name, body.clone()).await.unwrap();
        for other in &stores {
            assert_eq!(other.get(&name).await.unwrap().as_ref(), Some(&body), "{name}");
        }
    }
}
