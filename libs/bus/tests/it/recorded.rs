//! Recorded calls: made once, whatever happens to those who ask and to those who make them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::join_all;
use muster_bus::{RecordedCalls, Repeat};
use muster_contracts::{Code, Fault};
use muster_testkit::NatsServer;
use tokio::sync::{Notify, oneshot};

use crate::connect;

/// Renewed three times in this time, by a machine that may be busy.
const LEASE: Duration = Duration::from_secs(3);

async fn calls(nats: &NatsServer) -> RecordedCalls<u32> {
    RecordedCalls::new(&connect(nats, "tool").await).with_lease(LEASE)
}

/// A call that begins and never ends, because its process dies.
async fn interrupt(calls: &RecordedCalls<u32>, key: &'static str, repeat: Repeat) {
    let (began, begins) = oneshot::channel();
    let calls = calls.clone();
    let task = tokio::spawn(async move {
        calls
            .run(key, repeat, || async {
                began.send(()).unwrap();
                std::future::pending().await
            })
            .await
    });
    begins.await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn fifty_calls_with_one_key_in_two_processes_are_one_call() {
    let nats = NatsServer::start().await;
    // A lease that no slow machine outlives.
    let patient = Duration::from_secs(60);
    let replicas = [calls(&nats).await.with_lease(patient), calls(&nats).await.with_lease(patient)];
    let made = Arc::new(AtomicU32::new(0));
    let all = (0..50).map(|at| {
        let (calls, made) = (replicas[at % 2].clone(), made.clone());
        async move {
            calls
                .run("a key: with *any* characters", Repeat::Never, || async {
                    tokio::task::yield_now().await;
                    Ok(made.fetch_add(1, Ordering::SeqCst))
                })
                .await
        }
    });
    let results: Vec<_> = join_all(all).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.load(Ordering::SeqCst), 1);
    assert!(results.iter().all(|(result, _)| *result == 0));
    assert_eq!(results.iter().filter(|(_, replayed)| !replayed).count(), 1);
}

#[tokio::test]
async fn an_interrupted_call_is_made_again_only_where_that_is_safe() {
    let nats = NatsServer::start().await;
    let calls = calls(&nats).await;
    interrupt(&calls, "safe", Repeat::Safe).await;
    interrupt(&calls, "once", Repeat::Never).await;
    assert_eq!(calls.run("safe", Repeat::Safe, || async { Ok(7) }).await, Ok((7, false)));
    let fault = calls.run("once", Repeat::Never, || async { Ok(7) }).await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
    assert!(fault.message.starts_with("interrupted: the call with the key \"once\""), "{fault}");
}

#[tokio::test]
async fn a_call_that_works_for_longer_than_its_lease_is_not_taken_over() {
    let nats = NatsServer::start().await;
    let (here, there) = (calls(&nats).await, calls(&nats).await);
    let (began, begins) = oneshot::channel();
    let done = Arc::new(Notify::new());
    let working = tokio::spawn({
        let done = done.clone();
        async move {
            here.run("long", Repeat::Never, || async move {
                began.send(()).unwrap();
                done.notified().await;
                Ok(1)
            })
            .await
        }
    });
    begins.await.unwrap();
    let waiting = there.run("long", Repeat::Never, || async { Ok(2) });
    // The other replica waits for two leases and neither calls nor gives up.
    assert!(tokio::time::timeout(LEASE * 2, waiting).await.is_err());
    done.notify_one();
    assert_eq!(working.await.unwrap(), Ok((1, false)));
    assert_eq!(there.run("long", Repeat::Never, || async { Ok(2) }).await, Ok((1, true)));
}

#[tokio::test]
async fn a_failed_call_may_be_tried_again_unless_its_effect_may_have_happened() {
    let nats = NatsServer::start().await;
    let calls = calls(&nats).await;
    let fail = |code| async move { Err(Fault::new(code, "no")) };
    for (repeat, code, again) in [
        (Repeat::Safe, Code::Internal, true),
        (Repeat::Never, Code::Unavailable, true),
        (Repeat::Never, Code::Internal, false),
    ] {
        let key = format!("{repeat:?} {code}");
        assert!(calls.run(&key, repeat, || fail(code)).await.is_err());
        let second = calls.run(&key, repeat, || async { Ok(3) }).await;
        assert_eq!(second.is_ok(), again, "{key}: {second:?}");
    }
}
