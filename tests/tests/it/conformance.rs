//! The conformance features of the Serverless Workflow specification: its cases in our words (`tests/features`), run through the REST interface on real
//! servers. What they call outside is a local server that behaves like the public ones.

mod examples;
mod gherkin;
mod steps;

use std::path::{Path, PathBuf};

use muster_testkit::WebServer;

use self::gherkin::{Feature, Step};
use self::steps::World;
use crate::platform::Platform;

/// Scenarios of the specification's conformance test kit.
const SCENARIOS: usize = 21;

fn features() -> Vec<Feature> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("features");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| Feature::parse(&std::fs::read_to_string(file).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_features_of_the_specification_hold() {
    let web = WebServer::start().await;
    let platform = Platform::start_with(&[("MUSTER_HTTP_ALLOW", web.address())]).await;
    let (mut held, mut broken) = (0, Vec::new());
    for feature in features() {
        for scenario in &feature.scenarios {
            let mut world = World::new(&platform, &web);
            match run(&mut world, &scenario.steps).await {
                Ok(()) => held += 1,
                Err(reason) => {
                    broken.push(format!("{}: {}\n    {reason}", feature.name, scenario.name));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{held} hold, {} do not:\n{}", broken.len(), broken.join("\n"));
    assert_eq!(held, SCENARIOS);
}

async fn run(world: &mut World<'_>, steps: &[Step]) -> Result<(), String> {
    for step in steps {
        world.take(step).await.map_err(|reason| format!("{}: {reason}", step.text))?;
    }
    Ok(())
}
