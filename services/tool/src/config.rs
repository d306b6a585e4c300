//! Settings.

use std::time::Duration;

use anyhow::anyhow;
use muster_runtime::Env;

use crate::calls::Secrets;
use crate::domain::egress::Egress;
use crate::process::{PROGRAMS, Processes};

/// The settings of the service.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) egress: Egress,
    /// How long a call may take.
    pub(crate) timeout: Duration,
    pub(crate) secrets: Secrets,
    pub(crate) processes: Processes,
    /// The folder of WebAssembly modules; empty: none.
    pub(crate) modules: String,
    /// Calls of one tool at the same time.
    pub(crate) concurrency: usize,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        let egress = Egress::parse(env.get("MUSTER_HTTP_ALLOW").unwrap_or_default())
            .map_err(|problem| anyhow!(problem))?;
        let seconds = env.within("MUSTER_TOOL_TIMEOUT_SECONDS", 30, 1..=600)?;
        let concurrency = env.within("MUSTER_TOOL_CONCURRENCY", 64, 1..=4_096)?;
        let secrets = Secrets::new(env.get("MUSTER_SECRETS_DIR").unwrap_or_default());
        let timeout = Duration::from_secs(seconds);
        let processes = Processes {
            path: env.get("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin").to_owned(),
            commands: list(env.get("MUSTER_MCP_COMMANDS").unwrap_or_default()),
            run: run(env.get("MUSTER_RUN").unwrap_or_default())?,
            timeout,
        };
        let modules = env.get("MUSTER_WASM_DIR").unwrap_or_default().to_owned();
        Ok(Self { egress, timeout, secrets, processes, modules, concurrency })
    }
}

/// The entries of a list with commas.
fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

/// What the tasks `run: script` and `run: shell` may run.
fn run(text: &str) -> anyhow::Result<Vec<String>> {
    let programs = list(text);
    match programs.iter().find(|program| !PROGRAMS.contains(&program.as_str())) {
        Some(unknown) => Err(anyhow!(
            "MUSTER_RUN is {text:?}, but {unknown:?} is none of {}",
            PROGRAMS.join(", ")
        )),
        None => Ok(programs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_setting_is_named() {
        for (name, value) in [
            ("MUSTER_HTTP_ALLOW", "http://x"),
            ("MUSTER_HTTP_ALLOW", "orders.example.com:8080=0.0.0.0/0"),
            ("MUSTER_TOOL_TIMEOUT_SECONDS", "0"),
            ("MUSTER_TOOL_CONCURRENCY", "x"),
            ("MUSTER_RUN", "shell,perl"),
        ] {
            let error = Config::from_env(&[(name, value)].into_iter().collect()).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(Config::from_env(&Env::default()).unwrap().timeout, Duration::from_secs(30));
    }
}
