//! Runs the program and looks at what it said.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{fs, process::ExitStatus, time::Duration};

use muster_testkit::{NatsServer, Process, Program, eventually, free_port};
use tempfile::TempDir;

use crate::PATIENCE;

/// What a run of the program came to.
pub(crate) struct Muster {
    pub(crate) log: String,
    status: ExitStatus,
}

/// The program with these arguments.
pub(crate) fn program(arguments: &[&str]) -> Program {
    let program = Program::at(env!("CARGO_BIN_EXE_muster"));
    arguments.iter().fold(program, |program, argument| program.arg(*argument))
}

impl Muster {
    /// Runs it to its end.
    pub(crate) async fn run(arguments: &[&str]) -> Self {
        Self::run_for(program(arguments), Duration::from_secs(120)).await
    }

    /// Runs it to its end, which must come in this time.
    pub(crate) async fn run_for(program: Program, deadline: Duration) -> Self {
        let process = program.spawn();
        let status = process.wait(deadline).await;
        Self { log: process.log(), status }
    }

    pub(crate) fn succeeded(&self, words: &[&str]) {
        self.ended(0, words);
    }

    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        self.ended(code, words);
    }

    fn ended(&self, code: i32, words: &[&str]) {
        assert_eq!(self.status.code(), Some(code), "{}", self.log);
        for word in words {
            assert!(self.log.contains(word), "no {word:?} in:\n{}", self.log);
        }
    }
}

/// Runs these services in a process, and waits until they serve. Returns it and the gateway's address.
pub(crate) async fn up(nats: &NatsServer, services: &str) -> (Process, String) {
    let (rest, health) =
        (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let running = program(&["up", "--services", services])
        .envs(nats.env(&[]))
        .env("MUSTER_HTTP_ADDR", &rest)
        .env("MUSTER_HEALTH_ADDR", &health)
        .spawn();
    let healthy = format!("http://{health}/readyz");
    eventually(PATIENCE, "the services are ready", || async {
        Muster::run(&["health", &healthy]).await.log.contains("200 OK")
    })
    .await;
    (running, format!("http://{rest}"))
}

/// A temporary folder with these files.
pub(crate) fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}
