//! The demo, on real servers and with every service in the program's own process.

use std::{path::Path, time::Duration};

use muster_testkit::{Database, NatsServer};

use crate::program::{Muster, folder_with, program};

const DEADLINE: Duration = Duration::from_secs(180);

async fn demo(arguments: &[&str]) -> Muster {
    let (nats, database) = (NatsServer::start().await, Database::create().await);
    let program = program(&[&["demo"], arguments].concat())
        .envs(nats.env(&[]))
        .env("DATABASE_URL", database.url());
    Muster::run_for(program, DEADLINE).await
}

#[tokio::test]
async fn the_demo_tells_the_story_the_brief_and_what_was_saved() {
    let demo = demo(&[]).await;
    demo.succeeded(&[
        "workflow | started",
        "researcher",
        "critic",
        "round 1",
        "workflow | completed",
        "The brief",
        "Timeline",
        "tokens in",
        "Saved by notices",
        "`offline` is built in",
    ]);
    // The target of the design: at least 95 % of what pasting the full reports would have cost.
    let percent = demo
        .log
        .split('(')
        .filter_map(|part| part.split_once(" %)"))
        .find_map(|(number, _)| number.parse::<f64>().ok());
    assert!(percent.is_some_and(|percent| percent >= 95.0), "{percent:?} in:\n{}", demo.log);
}

#[tokio::test]
async fn the_demo_takes_any_text() {
    let folder = folder_with(&[(
        "bees.txt",
        "Bees dance to tell where flowers are.\nThe angle of the dance is the angle to the sun.\n",
    )]);
    let file = folder.path().join("bees.txt").display().to_string();
    assert!(Path::new(&file).is_file());
    demo(&[&file, "--question", "How do bees tell where flowers are?"]).await.succeeded(&[
        "bees",
        "The brief",
        "Timeline",
    ]);
}
