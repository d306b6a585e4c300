//! Postgres and the gateway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_runtime::{Database, Env};
use reqwest::StatusCode;
use serde_json::Value;

use super::Finding;
use crate::client;

/// The services that need Postgres.
const WITH_POSTGRES: [&str; 2] = ["vector", "execution-log"];
/// Clocks that differ by more are told, in seconds.
const SKEW: f64 = 5.0;
/// What to do where no gateway answers.
const START_IT: &str =
    "`make up` or `muster up` starts it; --server or MUSTER_SERVER says where it is";
/// How long the gateway may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Postgres as each service that needs it finds it.
pub(super) async fn postgres(env: &Env) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for service in WITH_POSTGRES {
        // A setting that is absent or wrong is told with the settings.
        let Ok(database) = Database::from_env(env, service) else { continue };
        let finding = match database.look().await {
            Err(error) => Finding::fail(
                "postgres",
                format!("{service}: {error:#}"),
                "start it (`make up`, deploy/README.md), and set DATABASE_URL; search and the log do without nothing else",
            ),
            Ok(sight) => match &sight.vector {
                None => Finding::fail(
                    "postgres",
                    format!("Postgres {} has no pgvector", sight.version),
                    "install pgvector (https://github.com/pgvector/pgvector): documents are searched with it",
                ),
                Some(vector) if (sight.clock - now()).abs() > SKEW => Finding::warn(
                    "postgres",
                    format!(
                        "Postgres {} with pgvector {vector}, whose clock differs by {:.0} s",
                        sight.version,
                        (sight.clock - now()).abs()
                    ),
                    "let both be set by NTP",
                ),
                Some(vector) => Finding::ok(
                    "postgres",
                    format!("Postgres {} with pgvector {vector}", sight.version),
                ),
            },
        };
        // One server for both is one line.
        if findings.iter().all(|before| before.found != finding.found) {
            findings.push(finding);
        }
    }
    findings
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Whether the platform runs where clients look for it.
pub(super) async fn gateway(server: &str) -> Finding {
    let url = format!("{}/readyz", server.trim_end_matches('/'));
    let asked = async {
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let response = client.get(&url).send().await?;
        let (status, kind) = (response.status(), client::about(&response));
        let body = response.json().await.unwrap_or_default();
        Ok::<_, reqwest::Error>((status, kind, body))
    };
    match asked.await {
        Ok((status, about, body)) => answered(server, status, &about, &body),
        Err(_unreachable) => {
            Finding::warn("gateway", format!("nobody answers at {server}"), START_IT)
        }
    }
}

/// What an answer to `/readyz` says. Any server may answer 200, or a page for people: ours says `status`, or tells a problem.
fn answered(server: &str, status: StatusCode, about: &str, body: &Value) -> Finding {
    let text = |field: &str| body.get(field).and_then(Value::as_str);
    match (status.is_success(), text("status"), text("detail")) {
        (true, Some("ok"), _) => Finding::ok("gateway", format!("{server} is ready")),
        (false, _, Some(detail)) if text("code").is_some() => Finding::fail(
            "gateway",
            format!("{server}: {detail:.300}"),
            "what it waits for must be there; the lines above say what is not",
        ),
        _ => Finding::fail(
            "gateway",
            format!("what answers at {server} is no Muster gateway: {about}"),
            START_IT,
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::doctor::Level;

    #[test]
    fn a_gateway_is_known_by_what_it_answers() {
        let check = |status: u16, body: Value, level: Level, words: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            let finding = answered("http://x", status, "200 OK with text/html", &body);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.found.contains(words), "{finding:?}");
        };
        check(200, json!({ "status": "ok" }), Level::Ok, "is ready");
        let problem = json!({ "code": "UNAVAILABLE", "detail": "not ready: bus: away" });
        check(503, problem, Level::Fail, "http://x: not ready: bus: away");
        let other = "is no Muster gateway: 200 OK with text/html";
        check(200, Value::Null, Level::Fail, other);
        check(200, json!({ "healthy": true }), Level::Fail, other);
        check(404, json!({ "detail": "Not Found" }), Level::Fail, other);
    }
}
