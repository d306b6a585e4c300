//! An own nats-server for each test.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use muster_bus::Settings;

use crate::{dev, free_port, or_fail, signal, users};

const START: Duration = Duration::from_secs(60);

/// nats-server would offer three quarters of the free disk, and reserves what the contract allows a stream: a test must not depend on
/// the disk of the machine. Nothing is taken up by it.
pub(crate) const ROOM: &str = "max_file_store: 64GB";

/// A nats-server with JetStream on a random loopback port, with the users of the contract, 10 MB payloads, its store in a temporary folder.
///
/// Dropping it kills the server and removes the store, and fails the test where somebody tried what the contract does not grant.
#[derive(Debug)]
pub struct NatsServer {
    dir: TempDir,
    port: u16,
    url: String,
    child: Mutex<Option<Child>>,
    violations_expected: AtomicBool,
}

impl NatsServer {
    /// Starts a server and returns when it accepts clients (some 20 ms).
    ///
    /// # Panics
    /// When nats-server is missing and cannot be fetched, or does not start within 60 s.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// As [`NatsServer::start`], with further lines of nats-server's configuration.
    ///
    /// # Panics
    /// As `start`; the message holds the server's own complaint about its configuration.
    pub async fn start_with(config: &str) -> Self {
        or_fail(Self::try_start(&format!("{}{config}", users::conf()), ROOM).await)
    }

    /// As [`NatsServer::start`], with further settings of nats-server's `jetstream` block: `max_file_store: 4GB`.
    ///
    /// # Panics
    /// As `start_with`.
    pub async fn start_with_store(limits: &str) -> Self {
        or_fail(Self::try_start(&users::conf(), limits).await)
    }

    /// As [`NatsServer::start_with`], without the users of the contract: everybody may do everything, or what `config` says.
    ///
    /// # Panics
    /// As `start_with`.
    pub async fn start_without_users(config: &str) -> Self {
        or_fail(Self::try_start(config, ROOM).await)
    }

    async fn try_start(config: &str, limits: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("muster-nats-")
            .tempdir()
            .context("cannot make a folder for NATS")?;
        let store = dir.path().join("store");
        let config = format!(
            "max_payload: 10MB\njetstream {{ store_dir: {store:?}\n{limits} }}\n{config}\n"
        );
        std::fs::write(dir.path().join("nats.conf"), config).context("cannot write nats.conf")?;
        let port = free_port();
        let child = launch(dir.path(), port).await?;
        Ok(Self {
            dir,
            port,
            url: format!("nats://127.0.0.1:{port}"),
            child: Mutex::new(Some(child)),
            violations_expected: AtomicBool::new(false),
        })
    }

    /// `nats://127.0.0.1:PORT`; the same after a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The settings by which a service connects, as its own user. A name that the contract does not know connects as the operator.
    pub fn settings(&self, service: &str) -> Settings {
        users::settings(service, &self.url)
    }

    /// The settings of a test that plays several services, or none: as the operator, who may do everything.
    pub fn operator(&self, name: &str) -> Settings {
        users::operator(name, &self.url)
    }

    /// The environment by which services connect, each as its own user, and what else they get.
    pub fn env(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        users::env(&self.url, more)
    }

    /// As [`NatsServer::env`], for services that a test plays: each connects as the operator.
    pub fn operator_env(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        users::operator_env(&self.url, more)
    }

    /// The address with the name and password of a user, for programs that read both there. `async_nats::connect` does not: see [`NatsServer::client`].
    pub fn url_of(&self, user: &str) -> String {
        users::url_of(user, &self.url)
    }

    /// The password of a user, for a client that speaks NATS's own protocol.
    pub fn password(&self, user: &str) -> String {
        users::password(user)
    }

    /// A client that is not the bus: a user's, or the operator's.
    ///
    /// # Panics
    /// When the server does not let it in.
    pub async fn client(&self, user: &str) -> async_nats::Client {
        users::client(user, &self.url).await
    }

    /// As [`NatsServer::client`], by another address of the server: a proxy's.
    ///
    /// # Panics
    /// As `client`.
    pub async fn client_at(&self, user: &str, url: &str) -> async_nats::Client {
        users::client(user, url).await
    }

    /// The lines of the log that say that somebody tried what the contract does not grant.
    pub fn violations(&self) -> Vec<String> {
        users::violations(&self.log())
    }

    /// Says that violations are what the test is about: they do not fail it.
    pub fn expect_violations(&self) {
        self.violations_expected.store(true, Ordering::Relaxed);
    }

    /// The client port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server has logged so far, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Ends the server at once, as `kill -9` does. Nothing happens when it does not run.
    pub fn kill(&self) {
        if let Some(child) = self.child().take() {
            end(child);
        }
    }

    /// Starts the server again on the same port and store; a running one is killed first.
    ///
    /// # Panics
    /// When it does not accept clients within 60 s.
    pub async fn restart(&self) {
        self.kill();
        let child = or_fail(launch(self.dir.path(), self.port).await);
        *self.child() = Some(child);
    }

    /// Stops the server's clock (`SIGSTOP`): connections stay open and nothing answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a paused server go on (`SIGCONT`).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        if let Some(child) = self.child().as_ref() {
            signal::send(name, child.id());
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        if !self.violations_expected.load(Ordering::Relaxed) {
            users::forbid_violations(&self.log());
        }
    }
}

fn end(mut child: Child) {
    // SIGKILL also ends a paused process. Both calls fail only where it has ended already.
    drop(child.kill());
    drop(child.wait());
}

/// Starts nats-server and waits until it says that it listens.
async fn launch(dir: &Path, port: u16) -> Result<Child> {
    let program = dev::nats_server()?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .context("cannot open NATS's log")?;
    let child = Command::new(&program)
        .arg("-c")
        .arg(dir.join("nats.conf"))
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "--ports_file_dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let mut child = KillOnDrop(Some(child));
    listening(child.get()?, dir).await?;
    child.0.take().context("just started")
}

async fn listening(child: &mut Child, dir: &Path) -> Result<()> {
    let file = dir.join(format!("nats-server_{}.ports", child.id()));
    let end = Instant::now() + START;
    while Instant::now() < end {
        // Half-written at first: it counts once it can be read as a whole.
        if std::fs::read(&file).is_ok_and(|text| is_json(&text)) {
            return Ok(());
        }
        if let Some(status) = child.try_wait().context("cannot watch nats-server")? {
            let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            bail!("nats-server ended with {status}: {log}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("nats-server did not listen within {START:?}")
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(text).is_ok()
}

/// A test that is cancelled while the server starts must not leave it behind.
struct KillOnDrop(Option<Child>);

impl KillOnDrop {
    fn get(&mut self) -> Result<&mut Child> {
        self.0.as_mut().context("the server was just started")
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            end(child);
        }
    }
}
