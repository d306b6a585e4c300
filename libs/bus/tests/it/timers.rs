//! Durable timers: each fires when it is due and as often as it should, over restarts of the server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use muster_bus::{After, Bus, Delivery, MessageId, Routes, Schedule};
use muster_contracts::workflow::v1::TimerFired;
use muster_contracts::{Code, Fault, Stream, subject};
use muster_testkit::{NatsServer, eventually};

use crate::{connect, id, serve};

const PATIENCE: Duration = Duration::from_secs(60);

fn timer(execution: &str, name: &str) -> TimerFired {
    TimerFired {
        execution_id: execution.into(),
        timer_id: subject::derived_token(name),
        timer: name.into(),
        fire_at: None,
    }
}

async fn set(bus: &Bus, name: &str, schedule: &Schedule) {
    bus.set_timer(&timer("e1", name), schedule, &id(name)).await.unwrap();
}

async fn names(bus: &Bus) -> Vec<String> {
    let waiting = bus.timers::<TimerFired>(&[("execution_id", "e1")]).await.unwrap();
    waiting.into_iter().map(|waiting| waiting.timer.timer).collect()
}

#[tokio::test]
async fn timers_fire_once_cancelled_ones_never_and_a_restart_changes_nothing() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    let soon = Schedule::at(Utc::now() + chrono::Duration::seconds(5));
    for name in ["a", "b", "cancelled"] {
        set(&bus, name, &soon).await;
    }
    bus.cancel(&timer("e1", "cancelled")).await.unwrap();
    bus.cancel(&timer("e1", "never set")).await.unwrap();
    assert_eq!(names(&bus).await, ["a", "b"]);
    nats.kill();
    nats.restart().await;
    let pattern = subject::address::<TimerFired>(&[("execution_id", "e1")]).unwrap();
    let reader = connect(&nats, "operator").await;
    let mut fired = Box::pin(reader.follow(Stream::Executions, vec![pattern], After(0)));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "last") {
        let message = tokio::time::timeout(PATIENCE, fired.next()).await.unwrap().unwrap();
        let name = message.decode::<TimerFired>().unwrap().timer;
        assert_eq!(message.id, id(&name).as_str());
        seen.push(name);
        if seen.len() == 2 {
            // It fires behind everything that was due with the others.
            set(&bus, "last", &Schedule::at(Utc::now() + chrono::Duration::seconds(1))).await;
        }
    }
    seen.sort();
    assert_eq!(seen, ["a", "b", "last"]);
    eventually(PATIENCE, "none waits", || async { names(&bus).await.is_empty() }).await;
}

#[tokio::test]
async fn a_timer_that_is_past_fires_at_once() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    set(&bus, "late", &Schedule::at(Utc::now() - chrono::Duration::hours(1))).await;
    let pattern = subject::address::<TimerFired>(&[("execution_id", "e1")]).unwrap();
    let reader = connect(&nats, "operator").await;
    let mut fired = Box::pin(reader.follow(Stream::Executions, vec![pattern], After(0)));
    assert!(tokio::time::timeout(PATIENCE, fired.next()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_second_timer_with_the_same_address_replaces_the_first() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    let (first, second) = (Schedule::cron("@daily"), Schedule::every(Duration::from_secs(90)));
    for (schedule, id) in [(&first, id("first")), (&second, id("second"))] {
        bus.set_timer(&timer("e1", "again"), schedule, &id).await.unwrap();
    }
    let waiting = bus.timers::<TimerFired>(&[]).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].schedule, second);
}

type Fired = Arc<Mutex<Vec<(String, DateTime<Utc>)>>>;

async fn note(fired: Fired, delivery: Delivery<TimerFired>) -> Result<(), Fault> {
    fired.lock().unwrap().push((delivery.timer.clone(), delivery.time));
    Ok(())
}

#[tokio::test]
async fn a_repeated_timer_is_handled_each_time_until_it_is_cancelled() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    let fired = Fired::default();
    let _serving = serve(&bus, Routes::new(fired.clone()).on(note));
    let times =
        |name: &str| fired.lock().unwrap().iter().filter(|(fired, _)| fired == name).count();
    set(&bus, "every", &Schedule::every(Duration::from_secs(1))).await;
    let cron = Schedule::cron("* * * * * *").in_time_zone("Europe/Berlin");
    set(&bus, "cron", &cron).await;
    eventually(Duration::from_secs(60), "both fire three times", || async {
        times("every") >= 3 && times("cron") >= 3
    })
    .await;
    nats.kill();
    nats.restart().await;
    let before = (times("every"), times("cron"));
    eventually(Duration::from_secs(60), "both go on after a restart", || async {
        times("every") > before.0 && times("cron") > before.1
    })
    .await;
    for name in ["every", "cron"] {
        bus.cancel(&timer("e1", name)).await.unwrap();
    }
    assert!(names(&bus).await.is_empty());
    // Set behind the cancelled ones, it fires behind anything that they could still fire.
    set(&bus, "last", &Schedule::at(Utc::now() + chrono::Duration::seconds(2))).await;
    let cancelled = Utc::now();
    eventually(Duration::from_secs(60), "the last one fires", || async { times("last") == 1 })
        .await;
    let slack = chrono::Duration::milliseconds(500);
    let late =
        |(name, time): &&(String, DateTime<Utc>)| name != "last" && *time > cancelled + slack;
    assert_eq!(fired.lock().unwrap().iter().find(late), None);
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_is_named_with_what_would_be_right() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    let half_a_second = Schedule::every(Duration::from_millis(500));
    for (schedule, named) in [
        (Schedule::cron("30 9 * * *"), "\"30 9 * * *\""),
        (Schedule::cron("tomorrow"), "\"tomorrow\""),
        (Schedule::cron("0 99 * * * *"), "\"0 99 * * * *\""),
        (Schedule::cron("@daily").in_time_zone("Mars/Olympus"), "\"Mars/Olympus\""),
        (half_a_second, "500ms"),
        (Schedule::cron(""), "\"\""),
        (Schedule::cron("0 0\r\nX: y * * *"), "X: y"),
    ] {
        let set = bus.set_timer(&timer("e1", "bad"), &schedule, &MessageId::random()).await;
        let Err(fault) = set else { panic!("{schedule:?} was taken") };
        assert_eq!(fault.code, Code::Invalid, "{schedule:?}: {fault}");
        assert!(fault.message.contains(named), "{schedule:?}: {fault}");
        assert!(fault.message.contains("six fields"), "{schedule:?}: {fault}");
    }
}

#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "how late they are depends on the machine, so it is told and not asserted"
)]
async fn ten_thousand_timers_that_are_due_within_five_seconds_fire_once_each() {
    const TIMERS: usize = 10_000;
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    let fired = Fired::default();
    let _serving = serve(&bus, Routes::new(fired.clone()).on(note));
    let start = Utc::now() + chrono::Duration::seconds(8);
    let due = |n: usize| start + chrono::Duration::microseconds(500 * n as i64);
    futures::stream::iter(0..TIMERS)
        .for_each_concurrent(256, |n| {
            let bus = &bus;
            async move {
                let timer = timer(&format!("e{}", n % 100), &n.to_string());
                bus.schedule(&timer, due(n), &id(&n.to_string())).await.unwrap();
            }
        })
        .await;
    let setting_took = Utc::now() - (start - chrono::Duration::seconds(8));
    eventually(Duration::from_secs(60), "some have fired", || async {
        fired.lock().unwrap().len() > TIMERS / 4
    })
    .await;
    nats.kill();
    nats.restart().await;
    eventually(Duration::from_secs(60), "all have fired", || async {
        fired.lock().unwrap().len() >= TIMERS
    })
    .await;
    eventually(PATIENCE, "none waits", || async {
        bus.timers::<TimerFired>(&[]).await.unwrap().is_empty()
    })
    .await;
    let fired = fired.lock().unwrap();
    let mut count = HashMap::new();
    for (name, _) in fired.iter() {
        *count.entry(name.as_str()).or_insert(0) += 1;
    }
    assert_eq!((count.len(), count.values().filter(|count| **count != 1).count()), (TIMERS, 0));
    let late = |(name, time): &(String, DateTime<Utc>)| {
        (*time - due(name.parse().unwrap())).num_milliseconds()
    };
    let mut late: Vec<i64> = fired.iter().map(late).collect();
    late.sort_unstable();
    println!(
        "{TIMERS} timers set in {} ms; late by p50 {} ms, p99 {} ms, at most {} ms (with a kill -9 of the server in between)",
        setting_took.num_milliseconds(),
        late[TIMERS / 2],
        late[TIMERS * 99 / 100],
        late[TIMERS - 1]
    );
    assert!(late[0] >= 0, "a timer fired {} ms too early", -late[0]);
}
