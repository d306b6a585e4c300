//! The deployment files: valid, and true. No Docker is needed.

mod compose;
mod topology;

use std::process::Command;
use std::time::Duration;

use muster_testkit::{Program, repository};

use self::compose::Compose;
use self::topology::Topology;

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(35);

#[test]
fn compose_kubernetes_and_nats_files_are_valid() {
    let checked =
        Command::new("python3").arg(repository().join("deploy/validate.py")).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned()
        + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}

#[tokio::test]
async fn the_compose_topology_runs_as_separate_processes() {
    let compose = Compose::read();
    let mut topology = Topology::start_servers(&compose).await;
    for name in compose.start_order() {
        topology.start(&compose, &name).await;
    }
    let rest = format!("http://{}/readyz", topology.rest());
    assert!(
        Program::of_workspace("muster").arg("health").arg(rest).spawn().wait(START).await.success()
    );

    for (name, process) in topology.services() {
        let status = process.terminate(STOP).await;
        assert!(status.success(), "{name} ended with {status}: {}", process.log());
    }
}
