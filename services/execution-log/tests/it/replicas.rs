//! The place of the log: one replica records, any may end, and what Postgres or the stream lost comes again.

use std::time::Duration;

use futures::StreamExt as _;
use muster_bus::{After, MessageId};
use muster_contracts::log::v1::LogCreated;
use muster_contracts::{Addressed as _, Code, Stream};
use muster_testkit::eventually;
use sqlx::{Connection as _, PgConnection};

use crate::{DEADLINE, Platform};

/// The ids of the events in the order in which they are found by somebody who reads on behind the last one, again and again.
async fn read_on(platform: &Platform, execution_id: &str, count: usize) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), 0);
    let reading = async {
        while ids.len() < count {
            match platform.page(execution_id, after, 0).await {
                Ok(page) => {
                    after = page.entries.last().map_or(after, |entry| entry.sequence);
                    ids.extend(page.entries.into_iter().map(|entry| entry.log_id));
                }
                // Not begun, or asked of the one that is gone.
                Err(fault) => {
                    assert!(matches!(fault.code, Code::NotFound | Code::Unavailable), "{fault}");
                }
            }
        }
    };
    assert!(tokio::time::timeout(DEADLINE, reading).await.is_ok(), "{} of {count}", ids.len());
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_on_behind_the_last_event_misses_none_whatever_replica_records() {
    const EVENTS: usize = 600;
    let mut platform = Platform::start().await;
    let url = platform.database.url().to_owned();
    let mut others = vec![platform.replica(&url), platform.replica(&url)];
    let publishing = async {
        for n in 0..EVENTS {
            platform.started("e1", &format!("event-{n}")).await;
            if n % 200 == 199 {
                others.pop().unwrap().crash();
                others.insert(0, platform.replica(&url));
            }
        }
    };
    let (found, ()) = tokio::join!(read_on(&platform, "e1", EVENTS), publishing);
    let wanted: Vec<String> = (0..EVENTS)
        .map(|n| MessageId::derived([format!("event-{n}").as_str()]).as_str().to_owned())
        .collect();
    assert_eq!(found, wanted);
    platform.service.take().unwrap().crash();
    platform.started("e1", "last").await;
    let timeline = platform.timeline("e1", EVENTS + 1).await;
    assert_eq!(timeline.len(), EVENTS + 1, "another replica goes on, and nothing is there twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgres_lost_is_recorded_again() {
    let platform = Platform::start().await;
    for n in 0..20 {
        platform.started("e1", &format!("event-{n}")).await;
    }
    let before = platform.timeline("e1", 20).await;
    // As an older backup of it.
    platform
        .sql("WITH lost AS (DELETE FROM events WHERE sequence > 7) UPDATE places SET sequence = 7, before = 0")
        .await;
    platform.started("e1", "last").await;
    let after = platform.timeline("e1", 21).await;
    assert_eq!(after.get(..20).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_kept_from_being_told_is_told() {
    let mut platform = Platform::start().await;
    for id in ["e1", "e2"] {
        platform.started(id, id).await;
        platform.timeline(id, 1).await;
    }
    platform.service.take().unwrap().crash();
    // As if both had been recorded by one statement, and then nothing more.
    platform.sql("UPDATE places SET before = 0").await;
    let url = platform.database.url().to_owned();
    platform.run(&url).await;
    let told = vec![LogCreated::SUBJECT.to_owned()];
    let mut events = Box::pin(platform.bus.follow(Stream::Executions, told, After(0)));
    loop {
        let event = tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap();
        let created: LogCreated = event.decode().unwrap();
        if created.others == ["e1"] {
            assert_eq!(created.execution_id, "e2");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_made_anew_is_read_from_its_beginning() {
    let mut platform = Platform::start().await;
    for n in 0..20 {
        platform.started("e1", &format!("old-{n}")).await;
    }
    platform.timeline("e1", 20).await;
    platform.service.take().unwrap().crash();
    platform.raw("PUB $JS.API.STREAM.DELETE.EXECUTIONS 0\r\n\r\n").await;
    eventually(DEADLINE, "the stream is gone", || async {
        platform.bus.end_of(Stream::Executions).await.err().ok_or("it is there")
    })
    .await;
    let url = platform.database.url().to_owned();
    platform.run(&url).await;
    for n in 0..3 {
        platform.started("e2", &format!("new-{n}")).await;
    }
    assert_eq!(platform.timeline("e2", 3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_made_anew_while_it_is_read_loses_nothing_of_its_beginning() {
    let platform = Platform::start().await;
    for n in 0..20 {
        platform.started("e1", &format!("old-{n}")).await;
    }
    platform.timeline("e1", 20).await;
    let settings = platform.api("$JS.API.STREAM.INFO.EXECUTIONS", "").await;
    platform.raw("PUB $JS.API.STREAM.DELETE.EXECUTIONS 0\r\n\r\n").await;
    eventually(DEADLINE, "the stream is gone", || async {
        platform.bus.end_of(Stream::Executions).await.err().ok_or("it is there")
    })
    .await;
    let config = settings.get("config").unwrap().to_string();
    platform.api("$JS.API.STREAM.CREATE.EXECUTIONS", &config).await;
    // Sooner than the reader notices, and more than the old stream had.
    for n in 0..60 {
        platform.started("e2", &format!("new-{n}")).await;
    }
    assert_eq!(platform.timeline("e2", 60).await.len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_that_was_recorded_long_ago_is_not_told_again() {
    let mut platform = Platform::start().await;
    platform.started("e1", "first").await;
    platform.timeline("e1", 1).await;
    platform.service.take().unwrap().crash();
    // Of an older stream, whose sequences were the same; told all at once they would be more than a message.
    platform
        .sql(
            "INSERT INTO events SELECT 'old' || n, 1, repeat('x', 500) || n, '', '', '', '', '', now(), 0, '{}', NULL
             FROM generate_series(1, 30000) AS n",
        )
        .await;
    platform.sql("UPDATE places SET before = 0").await;
    let url = platform.database.url().to_owned();
    platform.run(&url).await;
    platform.started("e1", "second").await;
    assert_eq!(platform.timeline("e1", 2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_is_given_up_ends_although_it_waits_for_a_lock() {
    let mut platform = Platform::start().await;
    let mut other = PgConnection::connect(platform.database.url()).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::query("LOCK TABLE execution_log.events").execute(&mut *lock).await.unwrap();
    platform.started("e1", "waits").await;
    let mut looking = PgConnection::connect(platform.database.url()).await.unwrap();
    until_so_many_wait(&mut looking, 1).await;
    platform.service.take().unwrap().crash();
    until_so_many_wait(&mut looking, 0).await;
    lock.rollback().await.unwrap();
    let url = platform.database.url().to_owned();
    platform.run(&url).await;
    assert_eq!(platform.timeline("e1", 1).await.len(), 1);
}

/// Returns when so many statements of the service wait for a lock.
async fn until_so_many_wait(connection: &mut PgConnection, wanted: i64) {
    let counting = async {
        loop {
            let count: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND application_name = 'execution-log' AND wait_event_type = 'Lock'",
            )
            .fetch_one(&mut *connection)
            .await
            .unwrap();
            if count == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, counting).await.is_ok(), "never {wanted}");
}
