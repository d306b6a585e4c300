//! Unix signals by process id, through the shell's own `kill`: no unsafe code, no further crate.

use std::process::{Command, Stdio};

/// Sends a signal such as `TERM`, `STOP`, `CONT`. A process that is already gone is no error.
pub(crate) fn send(name: &str, pid: u32) {
    let script = format!("kill -{name} {pid}");
    let sent = Command::new("sh").arg("-c").arg(&script).stderr(Stdio::null()).status();
    assert!(sent.is_ok(), "cannot run sh to send a signal: {sent:?}");
}
