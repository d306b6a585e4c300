use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use muster_testkit::{Program, eventually, free_port};

use crate::SOON;

fn shell(script: &str) -> Program {
    Program::at("/bin/sh").arg("-c").arg(script)
}

#[tokio::test]
async fn the_log_and_the_environment_are_those_of_the_child() {
    let process =
        shell("echo \"hello $NAME\"; echo oops >&2; exit 3").env("NAME", "muster").spawn();
    assert_eq!(process.wait(SOON).await.code(), Some(3));
    assert_eq!(process.log(), "hello muster\noops\n");
}

#[tokio::test]
async fn it_ends_by_the_signal_that_was_sent_and_starts_again() {
    let process = shell("echo up; exec sleep 60").spawn();
    let first = process.pid();
    process.kill_9();
    assert_eq!(process.exit_status().unwrap().signal(), Some(9));

    process.restart();
    assert_ne!(process.pid(), first);
    eventually(SOON, "two starts in one log", || async {
        process.log() == "up\nup\n" || process.log() == "up\n"
    })
    .await;
    assert!(process.is_running());
    assert_eq!(process.terminate(SOON).await.signal(), Some(15));
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let process = shell("exec sleep 60").spawn();
    let pid = process.pid();
    drop(process);
    let gone =
        || async move { !shell(&format!("kill -0 {pid}")).spawn().wait(SOON).await.success() };
    eventually(Duration::from_secs(60), "the child is gone", gone).await;
}

#[tokio::test]
async fn a_free_port_can_be_bound() {
    assert!(tokio::net::TcpListener::bind(("127.0.0.1", free_port())).await.is_ok());
}
