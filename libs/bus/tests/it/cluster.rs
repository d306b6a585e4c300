//! Three servers and three replicas: decisions are made on what the leader says, and calls outlive its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use muster_bus::{
    Bucket, Bus, Consume, Delivery, Idempotency, KvError, RecordedCalls, Repeat, Routes, Settings,
};
use muster_contracts::Fault;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_testkit::{Cluster, eventually};
use tokio::sync::Semaphore;

const READY: Duration = Duration::from_secs(60);

/// A connection of a service to one node.
async fn connect(cluster: &Cluster, node: usize) -> Bus {
    opened(cluster.settings_at(node, "orchestration")).await
}

async fn opened(settings: Settings) -> Bus {
    let bus = Bus::open(settings).await.unwrap();
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
    for number in 0..75 {
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
    for number in 0..50 {
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
    for number in 0..24 {
        let (name, body) = (format!("object-{number}"), Bytes::from(vec![7; 300_000]));
        stores[number % Cluster::NODES].put(&name, body.clone()).await.unwrap();
        for other in &stores {
            assert_eq!(other.get(&name).await.unwrap().as_ref(), Some(&body), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_run_while_a_leader_is_elected_are_made_once_and_their_results_kept() {
    let cluster = Cluster::start().await;
    let calls = RecordedCalls::<usize>::new(&opened(cluster.settings("tool")).await);
    let other = RecordedCalls::<usize>::new(&opened(cluster.settings("tool")).await);
    let made = AtomicUsize::new(0);
    let began = Semaphore::new(0);
    let elected = Semaphore::new(0);
    let all = join_all((0..20).map(|number| {
        let (calls, key) = (calls.clone(), number.to_string());
        let (made, began, elected) = (&made, &began, &elected);
        async move {
            let call = || async move {
                made.fetch_add(1, Ordering::SeqCst);
                began.add_permits(1);
                elected.acquire().await.unwrap().forget();
                Ok(number)
            };
            calls.run(&key, Repeat::Never, call).await
        }
    }));
    let election = async {
        began.acquire_many(20).await.unwrap().forget();
        let leader = cluster.until_led("KV_RESULTS", READY).await;
        cluster.kill(leader);
        eventually(READY, "another leads", || async {
            cluster.leader("KV_RESULTS").await.is_some_and(|new| new != leader)
        })
        .await;
        // Somebody who asks again meanwhile waits for the result: no call counts as interrupted.
        let asked = join_all((0..20).map(|number: usize| {
            let (other, key) = (other.clone(), number.to_string());
            async move { other.run(&key, Repeat::Never, || async { Ok(usize::MAX) }).await }
        }));
        let ended = async { elected.add_permits(20) };
        tokio::join!(asked, ended).0
    };
    let (results, asked) = tokio::join!(all, election);
    for (number, result) in results.into_iter().chain(asked).enumerate() {
        assert_eq!(result.unwrap().0, number % 20);
    }
    assert_eq!(made.load(Ordering::SeqCst), 20);
}

type Runs = Arc<Mutex<HashMap<String, u32>>>;

/// A handler whose effect nobody records.
async fn count(runs: Runs, delivery: Delivery<ToolExecutionRequested>) -> Result<(), Fault> {
    *runs.lock().unwrap().entry(delivery.idempotency_key.clone()).or_default() += 1;
    // So that some are in hand whenever something happens.
    tokio::time::sleep(Duration::from_millis(5)).await;
    Ok(())
}

async fn publish(publisher: &Bus, round: &str) {
    for number in 0..100 {
        let key = format!("{round}-{number}");
        let (command, id) = (crate::command(&key), crate::id(&key));
        eventually(READY, "it is published", || publisher.publish(&command, &id)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmed_acknowledgements_outlive_a_leader_and_cut_links_and_no_handler_runs_twice() {
    let cluster = Cluster::start().await;
    let publisher = opened(cluster.settings("orchestration")).await;
    let settings = Settings { ack_wait: Duration::from_secs(5), ..cluster.settings("tool") };
    let (bus, runs) = (opened(settings).await, Runs::default());
    let consume = Consume {
        idempotency: Idempotency::Handler("the test counts"),
        confirm_acks: true,
        ..Consume::default()
    };
    let _serving = crate::serve(&bus, Routes::new(runs.clone()).on_with(consume, count));
    publish(&publisher, "quiet").await;
    let leader = cluster.until_led("EXECUTIONS", READY).await;
    let kill = async {
        cluster.kill(leader);
        eventually(READY, "another leads", || async {
            cluster.leader("EXECUTIONS").await.is_some_and(|new| new != leader)
        })
        .await;
        cluster.restart(leader);
    };
    tokio::join!(publish(&publisher, "killed"), kill);
    cluster.until_healthy(READY).await;
    let leader = cluster.until_led("EXECUTIONS", READY).await;
    let others = (0..Cluster::NODES).filter(|node| *node != leader);
    others.clone().for_each(|other| cluster.cut(leader, other));
    let heal = async {
        eventually(READY, "the others have a leader of their own", || async {
            cluster.leader("EXECUTIONS").await.is_some_and(|new| new != leader)
        })
        .await;
        others.for_each(|other| cluster.heal(leader, other));
    };
    tokio::join!(publish(&publisher, "cut"), heal);
    eventually(READY, "everything is handled", || async {
        let runs = runs.lock().unwrap().len();
        if runs == 300 { Ok(()) } else { Err(runs) }
    })
    .await;
    let jetstream = async_nats::jetstream::new(cluster.client("operator").await);
    eventually(READY, "everything is acknowledged", || async {
        let stream = jetstream.get_stream("EXECUTIONS").await.map_err(|error| error.to_string())?;
        let info = stream.consumer_info("tool-tool-execution-requested").await;
        let info = info.map_err(|error| error.to_string())?;
        let open = info.num_pending + info.num_ack_pending as u64;
        if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
    })
    .await;
    let twice: Vec<_> = runs.lock().unwrap().clone().into_iter().filter(|it| it.1 > 1).collect();
    assert_eq!(twice, []);
}
