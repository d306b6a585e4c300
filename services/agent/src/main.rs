//! The agent service as a process of its own.

fn main() -> std::process::ExitCode {
    muster_runtime::main([muster_agent::service()])
}
