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

/// Virtual memory of a process, in KiB.
const MEMORY_KIB: u64 = 2 << 20;
/// The largest file that a process may write, in blocks of 512 bytes.
const FILE_BLOCKS: u64 = 128 << 11;
/// Sets the bounds before the program takes its place: $1 is memory, $2 CPU time, $3 the size of a file.
const PRELUDE: &str = "ulimit -c 0 && ulimit -v \"$1\" && ulimit -t \"$2\" && ulimit -f \"$3\" && shift 3 && exec \"$@\"";

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
    /// Whether it is a server that stays: its memory and CPU time have no bound then but what it runs in.
    pub(crate) is_lasting: bool,
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
        let seconds = self.timeout.as_secs() + 1;
        let bounds = match program.is_lasting {
            true => ["unlimited".to_owned(), "unlimited".to_owned(), FILE_BLOCKS.to_string()],
            false => [MEMORY_KIB, seconds, FILE_BLOCKS].map(|bound| bound.to_string()),
        };
        let path: &Path = folder.path();
        let child = Command::new("sh")
            .args(["-c", PRELUDE, "sh"])
            .args(bounds)
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
