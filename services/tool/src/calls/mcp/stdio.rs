//! An MCP server that is a process: a message is a line.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::calls::vault::{Vault, plain};
use crate::calls::{outward, raised, rpc};
use crate::error::Error;
use crate::outbound::MAX_BODY;
use crate::process::{Bounds, Process, Processes, Program};

/// What is told of a server's last words, in bytes.
const LAST_WORDS: u64 = 500;

pub(super) struct Server {
    pub(super) command: String,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    errors: Option<ChildStderr>,
    process: Process,
}

impl Server {
    pub(super) fn start(
        processes: &Processes,
        stdio: &Map<String, Value>,
        vault: &Vault,
    ) -> Result<Self, Error> {
        let command = stdio.get("command").and_then(Value::as_str).unwrap_or_default();
        processes.check_command(command)?;
        let arguments = texts(stdio.get("arguments"), vault)?;
        let environment = variables(stdio.get("environment"), vault)?;
        let program = Program {
            command,
            arguments: &arguments,
            environment: &environment,
            bounds: Bounds::Task,
        };
        let mut process = processes.start(&program, Processes::folder()?).map_err(outward)?;
        let child = &mut process.child;
        let streams = child.stdin.take().zip(child.stdout.take());
        let (input, output) = streams.ok_or_else(|| anyhow::anyhow!("no streams"))?;
        Ok(Self {
            command: command.to_owned(),
            input,
            output: BufReader::new(output),
            errors: child.stderr.take(),
            process,
        })
    }

    pub(super) async fn send(&mut self, message: &Value) -> Result<(), Error> {
        let sent = self.input.write_all(format!("{message}\n").as_bytes()).await;
        match sent {
            Ok(()) => Ok(()),
            Err(_closed) => Err(self.ended().await),
        }
    }

    /// Sends a request and waits for its answer; what the server asks meanwhile is declined.
    pub(super) async fn request(&mut self, message: &Value) -> Result<Value, Error> {
        self.send(message).await?;
        loop {
            let answer = self.receive().await?;
            if rpc::is_response(&answer) && answer.get("id") == message.get("id") {
                return Ok(answer);
            }
            let Some(id) = answer.get("id").filter(|_| answer.get("method").is_some()) else {
                continue;
            };
            let reply = match answer.get("method").and_then(Value::as_str) {
                Some("ping") => json!({ "jsonrpc": "2.0", "id": id, "result": {} }),
                _ => {
                    let error =
                        json!({ "code": -32601, "message": "this client has no such method" });
                    json!({ "jsonrpc": "2.0", "id": id, "error": error })
                }
            };
            self.send(&reply).await?;
        }
    }

    /// The next message; lines that are no JSON are none.
    async fn receive(&mut self) -> Result<Value, Error> {
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(MAX_BODY).unwrap_or(u64::MAX);
            let mut bounded = (&mut self.output).take(limit);
            let read = bounded.read_until(b'\n', &mut line).await;
            match read {
                Ok(0) | Err(_) => return Err(self.ended().await),
                Ok(read) if read >= MAX_BODY => {
                    let detail = format!(
                        "the MCP server {} answered more than {MAX_BODY} bytes",
                        self.command
                    );
                    return Err(raised("communication", 500, detail));
                }
                Ok(_) => {}
            }
            if let Ok(message) = serde_json::from_slice(&line) {
                return Ok(message);
            }
        }
    }

    /// The error of a server that is no more.
    async fn ended(&mut self) -> Error {
        self.process.kill();
        let mut words = Vec::new();
        if let Some(errors) = self.errors.take() {
            // What cannot be read is not told.
            drop(errors.take(LAST_WORDS).read_to_end(&mut words).await);
        }
        let words = String::from_utf8_lossy(&words);
        let detail =
            format!("the MCP server {} ended before it answered: {}", self.command, words.trim());
        raised("communication", 502, detail)
    }
}

/// A list of texts, with secrets.
pub(in crate::calls) fn texts(value: Option<&Value>, vault: &Vault) -> Result<Vec<String>, Error> {
    match value.map(|value| vault.reveal(value)).transpose()? {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(values)) => Ok(values.iter().map(plain).collect()),
        Some(_) => Err(raised("validation", 400, "`arguments` must be a list")),
    }
}

/// Variables of an environment, with secrets.
pub(in crate::calls) fn variables(
    value: Option<&Value>,
    vault: &Vault,
) -> Result<BTreeMap<String, String>, Error> {
    let wrong = |detail: String| raised("validation", 400, detail);
    let fields = match value.map(|value| vault.reveal(value)).transpose()? {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(wrong("`environment` must be a map".to_owned())),
    };
    for (name, value) in &fields {
        if name.is_empty() || name.contains(['=', '\0']) || plain(value).contains('\0') {
            return Err(wrong(format!("{name:?} is no name or has no value of a variable")));
        }
    }
    Ok(fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
}
