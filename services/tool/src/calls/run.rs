//! `run: script` and `run: shell`: programs that the operator allows.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::answer::failure;
use super::mcp::stdio::{texts, variables};
use super::rpc::Peer;
use super::vault::{Vault, plain};
use super::{Net, Perform, outward, raised};
use crate::domain::call::Call;
use crate::error::Error;
use crate::outbound::MAX_BODY;
use crate::process::{Bounds, Process, Processes, Program};

/// What a program may write to each of its streams, in bytes.
const MAX_OUTPUT: usize = 1 << 20;
/// How long what was written is waited for when the program has ended.
const REST: Duration = Duration::from_secs(1);
/// Characters of what a failed program wrote that an error repeats.
const EXCERPT: usize = 500;

pub(super) struct Run {
    pub(super) net: Arc<Net>,
    pub(super) processes: Processes,
}

/// How a program went.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run {
    async fn start(
        &self,
        what: &str,
        given: &Map<String, Value>,
        vault: &mut Vault,
    ) -> Result<(Process, String), Error> {
        let text = |name: &str| match given.get(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(value) => vault.reveal(value).map(|value| plain(&value)),
        };
        let stdin = text("stdin")?;
        let environment = variables(given.get("environment"), vault)?;
        let mut arguments = texts(given.get("arguments"), vault)?;
        let folder = Processes::folder()?;
        let command = if what == "shell" {
            // The command's own $0.
            arguments.splice(0..0, ["-c".to_owned(), text("command")?, "sh".to_owned()]);
            "sh"
        } else {
            let code = match given.get("source") {
                None => text("code")?,
                Some(source) => self.fetch(source, vault).await?,
            };
            let (command, name) =
                if what == "python" { ("python3", "script.py") } else { ("node", "script.mjs") };
            let file = folder.path().join(name);
            tokio::fs::write(&file, code).await.context("a script cannot be written")?;
            arguments.insert(0, file.display().to_string());
            command
        };
        let program = Program {
            command,
            arguments: &arguments,
            environment: &environment,
            bounds: Bounds::Task,
        };
        Ok((self.processes.start(&program, folder).map_err(outward)?, stdin))
    }

    /// The script that is somewhere else.
    async fn fetch(&self, source: &Value, vault: &mut Vault) -> Result<String, Error> {
        let endpoint = source.get("endpoint");
        let part = |name: &str| endpoint.and_then(|endpoint| endpoint.get(name));
        let peer = Peer {
            uri: part("uri").and_then(Value::as_str).unwrap_or_default().to_owned(),
            headers: Map::new(),
            authentication: part("authentication").cloned(),
        };
        let ask = peer.ask(Method::GET, Value::Null);
        let (asked, answer) = self.net.ask(&ask, "", MAX_BODY, vault).await?;
        if !answer.status.is_success() {
            let detail = failure(&asked, &answer);
            return Err(raised("communication", answer.status.as_u16(), detail));
        }
        String::from_utf8(answer.body).map_err(|error| {
            raised("communication", 502, format!("{} answered no script: {error}", asked.url))
        })
    }
}

impl Perform for Run {
    const NAME: &'static str = "call:run";

    fn net(&self) -> &Net {
        &self.net
    }

    async fn perform(&self, call: &Call, vault: &mut Vault) -> Result<Value, Error> {
        let arguments = &call.arguments;
        let (what, given) = match (arguments.get("script"), arguments.get("shell")) {
            (Some(Value::Object(script)), None) => (language(script)?, script),
            (None, Some(Value::Object(shell))) => ("shell", shell),
            _ => return Err(raised("configuration", 400, "`run` must have a script or a shell")),
        };
        if !self.processes.run.iter().any(|allowed| allowed == what) {
            let allowed = self.processes.run.join(",");
            return Err(Error::Denied(format!(
                "programs of the kind {what} may not be run: the operator names the kinds in MUSTER_RUN of the tool service, now {allowed:?}"
            )));
        }
        let (process, stdin) = self.start(what, given, vault).await?;
        if arguments.get("await").and_then(Value::as_bool) == Some(false) {
            let limit = self.processes.timeout;
            tokio::spawn(async move {
                if !matches!(timeout(limit, wait(process, stdin)).await, Ok(Ok(_))) {
                    tracing::warn!(
                        limit_ms = limit.as_millis(),
                        "a program that nobody waits for was ended"
                    );
                }
            });
            return Ok(Value::Null);
        }
        let ended = wait(process, stdin).await?;
        let wanted = arguments.get("return").and_then(Value::as_str).unwrap_or("stdout");
        output(wanted, &ended).map(|output| vault.mask_value(output))
    }
}

/// The kind of program that a script is.
fn language(script: &Map<String, Value>) -> Result<&'static str, Error> {
    match script.get("language").and_then(Value::as_str) {
        Some("python") => Ok("python"),
        Some("js" | "javascript") => Ok("js"),
        other => {
            let detail = format!("the language {other:?} is not supported; use python or js");
            Err(raised("configuration", 400, detail))
        }
    }
}

/// Waits for the end of a program, and for what it wrote; what it left behind is ended then.
async fn wait(mut process: Process, stdin: String) -> Result<Ended, Error> {
    let child = &mut process.child;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = {
        let write = async {
            if let Some(mut input) = input {
                // A program need not read what it is given.
                drop(input.write_all(stdin.as_bytes()).await);
            }
            Ok(())
        };
        let streams =
            futures::future::try_join3(write, read(output, &mut stdout), read(errors, &mut stderr));
        let mut streams = std::pin::pin!(streams);
        let status = tokio::select! {
            biased;
            done = &mut streams => {
                done?;
                None
            }
            status = process.child.wait() => Some(status),
        };
        match status {
            None => process.child.wait().await,
            Some(status) => {
                process.kill();
                if let Ok(done) = timeout(REST, streams).await {
                    done?;
                }
                status
            }
        }
    };
    let status = status.map_err(|error| anyhow!(error).context("a process has no end"))?;
    Ok(Ended { status, stdout, stderr })
}

async fn read(stream: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> Result<(), Error> {
    let Some(stream) = stream else { return Ok(()) };
    let limit = u64::try_from(MAX_OUTPUT).unwrap_or(u64::MAX);
    let read = stream.take(limit + 1).read_to_end(into).await;
    read.context("what a program wrote cannot be read")?;
    if into.len() > MAX_OUTPUT {
        let detail = format!("the program wrote more than {MAX_OUTPUT} bytes to a stream");
        return Err(raised("runtime", 500, detail));
    }
    Ok(())
}

/// The task's output; the status of a program that failed is an error, unless the task wants to see it.
fn output(wanted: &str, ended: &Ended) -> Result<Value, Error> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Where a signal ended it, the status that a shell would tell.
    let signal = std::os::unix::process::ExitStatusExt::signal(&ended.status);
    let code = ended.status.code().or_else(|| signal.map(|signal| 128 + signal)).unwrap_or(-1);
    let (stdout, stderr) = (text(&ended.stdout), text(&ended.stderr));
    match wanted {
        "code" => Ok(json!(code)),
        "stderr" => Ok(json!(stderr)),
        "all" => Ok(json!({ "code": code, "stdout": stdout, "stderr": stderr })),
        _ if code != 0 => {
            let told: Vec<char> = stderr.trim().chars().collect();
            let told: String = told.iter().skip(told.len().saturating_sub(EXCERPT)).collect();
            let detail = format!("the program ended with the status {code}: {told}");
            Err(raised("runtime", 500, detail))
        }
        "none" => Ok(Value::Null),
        _ => Ok(json!(stdout)),
    }
}
