//! Looks whether everything is as the platform needs it, and says what to do where it is not.

mod nats;
pub(super) mod settings;
mod surroundings;

use std::process::ExitCode;

use anyhow::Result;
use muster_runtime::Env;
use serde::Serialize;

use crate::{
    cli::Doctor,
    output::{Colour, Output},
};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// The platform runs, but something of it does not, or not for long.
    Warn,
    /// The platform does not run like this.
    Fail,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    level: Level,
    what: &'static str,
    found: String,
    /// What to do; empty where there is nothing to do.
    todo: String,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, found: found.into(), todo: String::new() }
    }

    fn warn(what: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { level: Level::Warn, what, found: found.into(), todo: todo.into() }
    }

    fn fail(what: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { level: Level::Fail, what, found: found.into(), todo: todo.into() }
    }
}

pub(crate) async fn doctor(what: &Doctor, output: &Output) -> Result<ExitCode> {
    let env = Env::of_process();
    let mut findings = settings::settings(&env);
    findings.extend(nats::nats(&env).await);
    findings.extend(surroundings::postgres(&env).await);
    findings.push(settings::models(&env));
    findings.push(surroundings::gateway(&what.server.server).await);
    if what.json {
        output.line(&serde_json::to_string_pretty(&findings)?);
    } else {
        tell(&findings, output);
    }
    let worst = findings.iter().map(|finding| finding.level).max();
    Ok(if worst == Some(Level::Fail) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn tell(findings: &[Finding], output: &Output) {
    for Finding { level, what, found, todo } in findings {
        let (word, colour) = match level {
            Level::Ok => ("ok  ", Colour::Green),
            Level::Warn => ("warn", Colour::Speaker(2)),
            Level::Fail => ("fail", Colour::Red),
        };
        output.line(&format!("{} {what:<10} {found}", output.paint(colour, word)));
        if !todo.is_empty() {
            output.line(&format!("{:16}{todo}", ""));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    output.line(&format!(
        "{} ok, {} to look at, {} wrong",
        count(Level::Ok),
        count(Level::Warn),
        count(Level::Fail)
    ));
}
