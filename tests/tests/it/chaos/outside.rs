//! What stands outside of the platform under test: a world that is changed, and a provider that is paid.

use std::fs;

use tempfile::TempDir;

use super::provider::{Kills, Provider};
use super::world::World;

/// A call that ended a process is found within this: its reservation lasts no longer.
const LEASE_SECONDS: &str = "5";
const PRICES: &str = "prices: [{model: scripted, input: 0, output: 2}]";

pub(super) struct Outside {
    pub(super) world: World,
    pub(super) provider: Provider,
    pub(super) kills: Kills,
    dir: TempDir,
}

impl Outside {
    pub(super) async fn start() -> Self {
        let (world, provider) = (World::start().await, Provider::start().await);
        let dir = tempfile::tempdir().unwrap();
        let models = format!(
            "providers:\n  paid: {{dialect: openai, base_url: '{}', default_model: scripted}}\n\
             aliases:\n  default: {{targets: [{{provider: offline}}]}}\n",
            provider.model.base_url()
        );
        fs::write(dir.path().join("models.yaml"), models).unwrap();
        fs::write(dir.path().join("prices.yaml"), PRICES).unwrap();
        Self { world, provider, kills: Kills::default(), dir }
    }

    /// What the platform must be told to reach all that.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.dir.path().join(name).to_str().unwrap().to_owned();
        vec![
            ("MUSTER_HTTP_ALLOW", self.world.address.clone()),
            ("MUSTER_MODELS_FILE", file("models.yaml")),
            ("MUSTER_PRICES_FILE", file("prices.yaml")),
            ("MUSTER_RESERVATION_SECONDS", LEASE_SECONDS.to_owned()),
        ]
    }
}
