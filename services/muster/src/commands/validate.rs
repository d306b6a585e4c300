//! Checks workflow documents without a server.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use muster_workflow::Definition;

use crate::output::{Colour, Output};

pub(crate) fn validate(files: &[PathBuf], output: &Output) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let text = match read(file) {
            Ok(text) => text,
            Err(error) => {
                code = ExitCode::FAILURE;
                output.line(&format!("{} {error:#}", output.paint(Colour::Red, "error")));
                continue;
            }
        };
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

/// The text of a file; the error names the file and says what is wrong with it.
pub(crate) fn read(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    String::from_utf8(bytes)
        .with_context(|| format!("{} is no UTF-8 text; is it binary?", file.display()))
}
