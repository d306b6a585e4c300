//! The tool service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_runtime::main([muster_tool::service()])
}
