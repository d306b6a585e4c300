//! NATS: whether it is there, lets everybody in, and has the streams with room and time for them.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use muster_bus::{Bus, Plan, Settings, StreamChange, StreamInfo};
use muster_contracts::permissions::{password_variable, peers, services};
use muster_runtime::Env;
use serde_json::Value;

use super::Finding;
use crate::commands::streams::operator;

/// How long the server may take to let somebody in.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clocks that differ by more make cron, timers and times to live wrong.
const SKEW: TimeDelta = TimeDelta::seconds(2);
/// Room on disk, in MiB, below which it is told, and below which nothing new has a place.
const LITTLE_MIB: u64 = 1_024;
const NONE_MIB: u64 = 16;
/// Per cent from which a stream that refuses what is new is told.
const FULL_PERCENT: u64 = 80;

pub(super) async fn nats(env: &Env) -> Vec<Finding> {
    let begun = Instant::now();
    let bus = match connected(operator(env)).await {
        Ok(bus) => bus,
        Err(error) => {
            let at = shown(env.get("NATS_URL").unwrap_or("nats://127.0.0.1:4222"));
            return vec![Finding::fail(
                "nats",
                format!("{at} does not let the user `operator` in: {error:#}"),
                "start it (`make up`, deploy/README.md), set NATS_URL, and NATS_PASSWORD_OPERATOR or NATS_USER with NATS_PASSWORD; beside `make up`, `eval \"$(python3 deploy/local/servers.py env)\"` sets them",
            )];
        }
    };
    let mut findings = vec![server(&bus, env, begun), users(env).await];
    findings.push(match bus.streams().plan().await {
        Ok(plan) => streams(&plan),
        Err(error) => Finding::fail(
            "streams",
            error.to_string(),
            "JetStream must be on: `jetstream {}` in nats-server's configuration",
        ),
    });
    if let Ok(list) = bus.streams().list().await {
        findings.extend(fullness(&list));
        findings.push(letters(&list));
    }
    findings.extend(room(&bus).await);
    findings
}

async fn connected(settings: anyhow::Result<Settings>) -> anyhow::Result<Bus> {
    let bus = Bus::open(settings?).await?;
    bus.connected(PATIENCE).await?;
    Ok(bus)
}

/// The address without what may be a password in it.
fn shown(url: &str) -> String {
    let hide = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((_, host))) => format!("***@{host}"),
        _ => url.to_owned(),
    };
    url.split(',').map(|url| hide(url.trim())).collect::<Vec<_>>().join(",")
}

fn server(bus: &Bus, env: &Env, begun: Instant) -> Finding {
    let version = bus.server_version();
    let at = shown(env.get("NATS_URL").unwrap_or("nats://127.0.0.1:4222"));
    let mut parts = version.split('.').map(|part| part.parse::<u64>().unwrap_or_default());
    let new = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) >= (2, 14);
    if new {
        let took = begun.elapsed().as_millis();
        return Finding::ok("nats", format!("{at} is nats-server {version}, in within {took} ms"));
    }
    Finding::fail(
        "nats",
        format!("{at} is nats-server {version:?}"),
        "run nats-server 2.14 or newer: schedules need it",
    )
}

/// Whether each service can log in as its own user.
async fn users(env: &Env) -> Finding {
    let peers = peers();
    let names: Vec<&str> = services().into_iter().filter(|name| !peers.contains(name)).collect();
    let logins = names.iter().map(|name| async move {
        let settings = Settings::from_variables(name, |variable| env.get(variable));
        // A look changes nothing.
        let settings = settings.map(|settings| Settings { creates_streams: false, ..settings });
        let refused = connected(settings.map_err(Into::into)).await.err();
        refused.map(|error| format!("{name} ({error:#})"))
    });
    let refused: Vec<String> = join_all(logins).await.into_iter().flatten().collect();
    if refused.is_empty() {
        let own = names.iter().filter(|name| env.get(&password_variable(name)).is_some()).count();
        if own < names.len() {
            return Finding::warn(
                "users",
                format!(
                    "all {} services are let in, {own} of them with a password of their own",
                    names.len()
                ),
                "let nats-server have deploy/nats/users.conf and give each service its NATS_PASSWORD_…: then it may do what the contract says and nothing else",
            );
        }
        return Finding::ok(
            "users",
            format!("all {} services are let in, each as its own user", names.len()),
        );
    }
    Finding::fail(
        "users",
        format!("not let in: {}", refused.join("; ")),
        "`muster contracts nats-acl` writes the users; each service needs NATS_PASSWORD_SERVICE (services on other machines have theirs there)",
    )
}

fn streams(plan: &Plan) -> Finding {
    let of = |wanted: fn(&StreamChange) -> bool| -> Vec<&str> {
        let found = plan.changes.iter().filter(|(_, change)| wanted(change));
        found.map(|(name, _)| name.as_str()).collect()
    };
    let absent = of(|change| matches!(change, StreamChange::Create));
    let other = of(|change| matches!(change, StreamChange::Update(_)));
    let todo =
        "`muster streams apply --plan` shows the differences, `muster streams apply` mends them";
    match (absent.as_slice(), other.as_slice()) {
        ([], []) => {
            Finding::ok("streams", format!("all {} are as the contract says", plan.changes.len()))
        }
        (absent, []) => {
            Finding::warn("streams", format!("not there yet: {}", absent.join(", ")), todo)
        }
        ([], other) => Finding::warn(
            "streams",
            format!("not as the contract says: {}", other.join(", ")),
            todo,
        ),
        (absent, other) => Finding::warn(
            "streams",
            format!(
                "not there yet: {}; not as the contract says: {}",
                absent.join(", "),
                other.join(", ")
            ),
            todo,
        ),
    }
}

/// Streams that are nearly full and refuse what is new then. Others drop what is old, which is how they are meant.
fn fullness(streams: &[StreamInfo]) -> Option<Finding> {
    let full = streams.iter().filter_map(|stream| {
        let number = |name: &str| stream.config.get(name).and_then(Value::as_u64);
        let most = number("max_bytes").filter(|most| *most > 0)?;
        let refuses = stream.config.get("discard").and_then(Value::as_str) == Some("new");
        let percent = stream.bytes.saturating_mul(100) / most;
        (refuses && percent >= FULL_PERCENT).then(|| format!("{} ({percent} %)", stream.name()))
    });
    let full: Vec<String> = full.collect();
    (!full.is_empty()).then(|| {
        Finding::warn(
            "streams",
            format!("nearly full: {}", full.join(", ")),
            "see what does not read them (`muster streams info NAME`), raise NATS_STREAM_BYTES_PERCENT, or give the server more disk",
        )
    })
}

fn letters(streams: &[StreamInfo]) -> Finding {
    let dlq = streams.iter().find(|stream| stream.name() == muster_contracts::Stream::Dlq.name());
    match dlq.map_or(0, |stream| stream.messages) {
        0 => Finding::ok("letters", "no dead letters"),
        count => Finding::warn(
            "letters",
            format!("{count} dead letters or notes of the broker about such"),
            "`muster dlq ls` shows why they were given up, `muster dlq replay` handles them again",
        ),
    }
}

/// Room on the server's disk, and its clock.
async fn room(bus: &Bus) -> Vec<Finding> {
    let before = Utc::now();
    let todo = "raise max_file_store in nats-server's jetstream block, give it more disk, or lower NATS_STREAM_BYTES_PERCENT";
    let unknown = |error: String| vec![Finding::warn("disk", error, "ask again")];
    match bus.streams().probe(LITTLE_MIB << 20).await {
        Err(error) => unknown(error.to_string()),
        Ok(Some(clock)) => vec![
            Finding::ok("disk", format!("JetStream has more than {LITTLE_MIB} MiB left to give")),
            skew(before, clock, Utc::now()),
        ],
        Ok(None) => match bus.streams().probe(NONE_MIB << 20).await {
            Err(error) => unknown(error.to_string()),
            Ok(Some(clock)) => vec![
                Finding::warn(
                    "disk",
                    format!("JetStream has less than {LITTLE_MIB} MiB left to give"),
                    todo,
                ),
                skew(before, clock, Utc::now()),
            ],
            Ok(None) => vec![Finding::fail(
                "disk",
                format!("JetStream has less than {NONE_MIB} MiB left to give"),
                todo,
            )],
        },
    }
}

/// What lies between two looks at our own clock cannot be told apart from the way there and back.
fn skew(before: DateTime<Utc>, theirs: DateTime<Utc>, after: DateTime<Utc>) -> Finding {
    let off = (before - theirs).max(theirs - after).max(TimeDelta::zero());
    if off <= SKEW {
        return Finding::ok(
            "clock",
            format!("the server's is within {} s of this machine's", SKEW.num_seconds()),
        );
    }
    Finding::fail(
        "clock",
        format!("the server's differs from this machine's by {} s", off.num_seconds()),
        "let both be set by NTP: timers, schedules and times to live follow the server's, signatures and limits this machine's",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Level;

    #[test]
    fn clocks_are_compared_with_regard_to_the_way() {
        let at = |seconds: i64| DateTime::from_timestamp(1_000 + seconds, 0).unwrap();
        assert_eq!(skew(at(0), at(3), at(5)).level, Level::Ok);
        assert_eq!(skew(at(0), at(-2), at(0)).level, Level::Ok);
        let behind = skew(at(0), at(-60), at(1));
        assert!(behind.level == Level::Fail && behind.found.contains("60 s"), "{behind:?}");
        assert_eq!(skew(at(0), at(9), at(1)).level, Level::Fail);
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(shown("nats://a:b@host:1, nats://other:2"), "nats://***@host:1,nats://other:2");
        assert_eq!(shown("me:hush@host"), "***@host");
    }

    #[test]
    fn a_stream_that_refuses_is_told_before_it_is_full() {
        let stream = |name: &str, discard: &str, bytes| StreamInfo {
            config: serde_json::json!({ "name": name, "max_bytes": 100, "discard": discard }),
            messages: 7,
            bytes,
            first_sequence: 1,
            last_sequence: 7,
            consumers: 0,
            created: Utc::now(),
        };
        let told =
            fullness(&[stream("A", "new", 81), stream("B", "new", 79), stream("C", "old", 99)]);
        assert_eq!(told.unwrap().found, "nearly full: A (81 %)");
        assert_eq!(letters(&[stream("DLQ", "old", 1)]).level, Level::Warn);
        assert_eq!(letters(&[]).level, Level::Ok);
    }
}
