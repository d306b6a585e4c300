//! Checks workflow documents without a server.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use muster_workflow::Definition;

use crate::output::{Colour, Output};

pub(crate) fn validate(files: &[PathBuf], output: &Output) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        match Definition::parse(&text) {
            Ok(definition) => {
                let verdict = output.paint(Colour::Green, "valid");
                let (name, version) = (definition.name(), definition.version());
                output.line(&format!(
                    "{}: {verdict} (workflow {name}, version {version})",
                    file.display()
                ));
            }
            Err(problems) => {
                code = ExitCode::FAILURE;
                for problem in problems.0 {
                    output.line(&format!(
                        "{}: {} {problem}",
                        file.display(),
                        output.paint(Colour::Red, "error")
                    ));
                }
            }
        }
    }
    Ok(code)
}
