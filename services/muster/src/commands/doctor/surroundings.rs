//! Postgres and the gateway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_runtime::{Database, Env};

use super::Finding;

/// The services that need Postgres.
const SEARCHED: [&str; 2] = ["vector", "execution-log"];
/// Clocks that differ by more are told, in seconds.
const SKEW: f64 = 5.0;
/// How long the gateway may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Postgres as each service that needs it finds it.
pub(super) async fn postgres(env: &Env) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for service in SEARCHED {
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
    let todo = "`make up` or `muster up` starts it; --server or MUSTER_SERVER says where it is";
    let asked = async {
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let response = client.get(&url).send().await?;
        let status = response.status();
        Ok::<_, reqwest::Error>((status, response.text().await?))
    };
    match asked.await {
        Ok((status, _)) if status.is_success() => {
            Finding::ok("gateway", format!("{server} is ready"))
        }
        Ok((status, text)) => Finding::fail(
            "gateway",
            format!("{server} answers {status}: {:.300}", text.trim()),
            "what it waits for stands in its answer",
        ),
        Err(_unreachable) => Finding::warn("gateway", format!("nobody answers at {server}"), todo),
    }
}
