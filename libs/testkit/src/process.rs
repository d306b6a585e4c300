//! Programs of this workspace as child processes.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{eventually, or_fail, signal};

/// Settings of the machine that a program under test must not see by accident.
const HIDDEN: [&str; 5] = ["NATS_", "DATABASE_URL", "OPENAI_", "MUSTER_", "RUST_LOG"];

/// Ports that no system hands out by itself: a server that is away for a while finds its port free when it comes back.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
const TRIES: u32 = 1_000;

/// A loopback port that was free a moment ago.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let found = (0..TRIES).map(|_| random_port()).find(|port| {
        // On all addresses: a port that is taken on another one may be taken here too.
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()
    });
    or_fail(found.with_context(|| format!("no free loopback port of {PORTS:?}")))
}

fn random_port() -> u16 {
    // Not the first half, which is the time: two calls of one moment would get the same port.
    let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
    let offset = random % u64::from(PORTS.end - PORTS.start);
    PORTS.start + u16::try_from(offset).unwrap_or_default()
}

/// What to run: a program, its arguments and the environment that it gets on top of the test's own.
///
/// `NATS_*`, `DATABASE_URL`, `OPENAI_*`, `MUSTER_*` and `RUST_LOG` of the test's environment are not passed on.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Program {
    /// A binary of this workspace, such as `muster`, from the folder where cargo put this test.
    ///
    /// # Panics
    /// When it has not been built.
    pub fn of_workspace(name: &str) -> Self {
        let path = or_fail(binary(name));
        assert!(
            path.is_file(),
            "{} is not built: run `cargo build --workspace --bins` before this test",
            path.display()
        );
        Self::at(path)
    }

    /// Any program, by its path or by a name on `PATH`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args: Vec::new(), env: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets several variables of the environment.
    #[must_use]
    pub fn envs(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(variables);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(self) -> Process {
        or_fail(Process::spawn(self))
    }

    fn command(&self, log: File) -> Result<Command> {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| HIDDEN.iter().any(|hidden| name.starts_with(hidden)))
            {
                command.env_remove(name);
            }
        }
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        let both = log.try_clone().context("cannot share a log")?;
        command.stdin(Stdio::null()).stdout(log).stderr(both);
        Ok(command)
    }
}

/// A running child process; its output goes to a log that the test can read.
///
/// Dropping it kills the process; in a failed test the end of its log is printed.
#[derive(Debug)]
pub struct Process {
    program: Program,
    dir: TempDir,
    child: Mutex<Child>,
}

impl Process {
    fn spawn(program: Program) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("muster-process-")
            .tempdir()
            .context("cannot make a folder")?;
        let child = Mutex::new(start(&program, dir.path())?);
        Ok(Self { program, dir, child })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// What it has printed so far, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended, once it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        or_fail(self.child().try_wait().context("cannot watch a child process"))
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it still runs at the deadline.
    pub async fn wait(&self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.program.path.display());
        eventually(deadline, &what, || async { self.exit_status() }).await
    }

    /// Ends it at once (`SIGKILL`) and waits until it is gone.
    pub fn kill_9(&self) {
        let mut child = self.child();
        // Both calls fail only where it has ended already.
        drop(child.kill());
        drop(child.wait());
    }

    /// Asks it to stop (`SIGTERM`) and waits until it has.
    ///
    /// # Panics
    /// When it still runs at the deadline.
    pub async fn terminate(&self, deadline: Duration) -> ExitStatus {
        if self.is_running() {
            signal::send("TERM", self.pid());
        }
        self.wait(deadline).await
    }

    /// Starts it again as it was; a running one is killed first. The log goes on.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn restart(&self) {
        self.kill_9();
        *self.child() = or_fail(start(&self.program, self.dir.path()));
    }

    /// Stops it (`SIGSTOP`) without ending it.
    pub fn pause(&self) {
        signal::send("STOP", self.pid());
    }

    /// Lets a paused process go on (`SIGCONT`).
    pub fn resume(&self) {
        signal::send("CONT", self.pid());
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the log of a process is what explains a failed test")]
    fn drop(&mut self) {
        self.kill_9();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n");
            eprintln!("--- the end of what {} printed ---\n{end}", self.program.path.display());
        }
    }
}

fn start(program: &Program, dir: &Path) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .context("cannot open a log")?;
    program.command(log)?.spawn().with_context(|| format!("cannot run {}", program.path.display()))
}

fn binary(name: &str) -> Result<PathBuf> {
    // Tests are in target/debug/deps, doc tests elsewhere: the binaries are in the profile's folder above.
    let test = std::env::current_exe().context("a test must know its own path")?;
    let profile = test
        .ancestors()
        .find(|dir| dir.file_name().is_some_and(|name| name == "deps"))
        .and_then(Path::parent);
    Ok(profile.or_else(|| test.parent()).context("a program has a folder")?.join(name))
}
