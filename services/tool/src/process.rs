//! Programs that the operator lets workflows run: each in a process group and a folder of its own, with bounds, and killed with everything that it started when nobody waits for it any more.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::error::Error;

/// Virtual memory of a task's process, in KiB.
const MEMORY_KIB: u64 = 2 << 20;
/// The largest file that a process may write, in blocks of 512 bytes.
const FILE_BLOCKS: u64 = 128 << 11;
/// Sets the bounds before the program takes its place: $1 is the kind of memory, $2 how much of it, $3 CPU time, $4 the size of a file.
const PRELUDE: &str = "ulimit -c 0 && ulimit \"$1\" \"$2\" && ulimit -t \"$3\" && ulimit -f \"$4\" && shift 4 && exec \"$@\"";

/// What `MUSTER_RUN` may name.
pub(crate) const PROGRAMS: [&str; 3] = ["shell", "python", "js"];

/// What may be run.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    /// Where programs are looked for.
    pub(crate) path: String,
    /// Commands of MCP servers.
    pub(crate) commands: Vec<String>,
    /// What tasks may run: some of [`PROGRAMS`].
    pub(crate) run: Vec<String>,
    /// The longest that a process can be of use.
    pub(crate) timeout: Duration,
}

/// What is to be run.
pub(crate) struct Program<'a> {
    pub(crate) command: &'a str,
    pub(crate) arguments: &'a [String],
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) bounds: Bounds,
}

/// What each process of a program may use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bounds {
    /// A task, which ends with its call.
    Task,
    /// A server that stays. What it writes to is counted, not what it reserves: runtimes reserve much more than they use.
    Server { memory_mib: u64, cpu_seconds: u64 },
}

/// A process under way. Dropping it ends it and all that belong to its group.
pub(crate) struct Process {
    // First: nobody else can have its number while the child is there.
    group: Group,
    pub(crate) child: Child,
    _folder: TempDir,
}

struct Group(Option<Pid>);

impl Processes {
    /// An empty folder for a process.
    pub(crate) fn folder() -> Result<TempDir, Error> {
        let folder = tempfile::Builder::new().prefix("muster-run-").tempdir();
        Ok(folder.context("a folder for a process cannot be made")?)
    }

    /// Refuses a command of an MCP server that the operator did not name.
    pub(crate) fn check_command(&self, command: &str) -> Result<(), Error> {
        if self.commands.iter().any(|allowed| allowed == command) {
            return Ok(());
        }
        let allowed = self.commands.join(",");
        Err(Error::Denied(format!(
            "the command {command:?} is not allowed: the operator names commands of MCP servers in MUSTER_MCP_COMMANDS of the tool service, now {allowed:?}"
        )))
    }

    /// Starts a program in its folder, with nothing of this service's environment but where programs are.
    pub(crate) fn start(&self, program: &Program<'_>, folder: TempDir) -> Result<Process, Error> {
        let (kind, memory, seconds) = match program.bounds {
            Bounds::Task => ("-v", MEMORY_KIB, self.timeout.as_secs() + 1),
            Bounds::Server { memory_mib, cpu_seconds } => ("-d", memory_mib << 10, cpu_seconds),
        };
        let path: &Path = folder.path();
        let child = Command::new("sh")
            .args(["-c", PRELUDE, "sh"])
            .arg(kind)
            .args([memory, seconds, FILE_BLOCKS].map(|bound| bound.to_string()))
            .arg(program.command)
            .args(program.arguments)
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", path)
            .env("TMPDIR", path)
            .envs(program.environment)
            .current_dir(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let child = child.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::Invalid(format!(
                "{} cannot be run: the tool service has no `sh` to start it with",
                program.command
            )),
            _ => Error::Internal(anyhow!(error).context("a process cannot be started")),
        })?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        Ok(Process { group: Group(pid), child, _folder: folder })
    }
}

impl Process {
    /// Ends what is left of the group.
    pub(crate) fn kill(&mut self) {
        self.group.kill();
    }
}

impl Group {
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // None of it may be left: that is what was wanted.
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
