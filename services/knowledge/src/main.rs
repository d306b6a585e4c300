//! The knowledge service as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_runtime::main([muster_knowledge::service()])
}
