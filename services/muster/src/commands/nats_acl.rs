//! Writes the users of nats-server, each with the permissions that the contract gives it.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use muster_contracts::permissions::{password_variable, users_conf};

use crate::output::Output;

const HEAD: &str = "# Written by `muster contracts nats-acl` from proto/: do not edit.\n# Passwords come from the environment of nats-server, which reads them as a piece of configuration: a password begins\n# with a letter and holds only letters, digits, - and _.\n";
const HEAD_NKEYS: &str = "# Written by `muster contracts nats-acl --nkeys` from proto/: do not edit.\n# The public keys (U…) come from the environment of nats-server.\n";

/// The file as it must be.
pub(crate) fn text(nkeys: bool) -> String {
    let users = users_conf(|user| {
        let variable = password_variable(user);
        if nkeys {
            format!("nkey: ${}", variable.replace("NATS_PASSWORD", "NATS_NKEY"))
        } else {
            format!("user: {user:?}, password: ${variable}")
        }
    });
    format!("{}{users}", if nkeys { HEAD_NKEYS } else { HEAD })
}

/// Writes the files; with `check` it only says whether they are as they must be.
pub(crate) fn nats_acl(
    files: &[PathBuf],
    nkeys: bool,
    check: bool,
    output: &Output,
) -> Result<ExitCode> {
    let text = text(nkeys);
    if files.is_empty() {
        output.line(text.trim_end());
    }
    for file in files {
        if fs::read_to_string(file).is_ok_and(|found| found == text) {
            output.line(&format!("{}: unchanged", file.display()));
        } else if check {
            bail!("{} is stale: run `muster contracts nats-acl --file {0}`", file.display());
        } else {
            fs::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
            output.line(&format!("{}: written", file.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_of_the_deployment_are_those_of_the_contract() {
        let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        for file in ["nats/users.conf", "k8s/base/users.conf"] {
            let found = fs::read_to_string(deploy.join(file)).unwrap_or_default();
            assert!(
                found == text(false),
                "deploy/{file} is stale: run `cargo run -p muster -- contracts nats-acl --file deploy/nats/users.conf --file deploy/k8s/base/users.conf`"
            );
        }
    }
}
