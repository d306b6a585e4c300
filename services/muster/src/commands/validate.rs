//! Checks workflow documents without a server.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use muster_workflow::{Definition, Problem};
use serde_json::{Value, json};

use crate::output::{Colour, Output};

pub(crate) fn validate(files: &[PathBuf], as_json: bool, output: &Output) -> Result<ExitCode> {
    let checked: Vec<Checked> = files.iter().map(|file| Checked::new(file)).collect();
    if as_json {
        let files: Vec<Value> = checked.iter().map(Checked::json).collect();
        output.line(&serde_json::to_string_pretty(&files)?);
    } else {
        checked.iter().for_each(|checked| checked.tell(output));
    }
    let fine = checked.iter().all(|checked| checked.verdict.is_ok());
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A file and what is to be said of it.
struct Checked {
    file: String,
    verdict: Result<Definition, Vec<Problem>>,
}

impl Checked {
    fn new(file: &Path) -> Self {
        let verdict = match read(file) {
            Ok(text) => Definition::parse(&text).map_err(|problems| problems.0),
            Err(error) => Err(vec![Problem::new("", format!("{error:#}"))]),
        };
        Self { file: file.display().to_string(), verdict }
    }

    fn json(&self) -> Value {
        match &self.verdict {
            Ok(definition) => json!({
                "file": self.file,
                "workflow": {"name": definition.name(), "version": definition.version(), "digest": definition.digest()},
            }),
            Err(problems) => json!({ "file": self.file, "problems": problems }),
        }
    }

    /// In the form that editors and build servers know: file, line and column in front.
    fn tell(&self, output: &Output) {
        let file = &self.file;
        match &self.verdict {
            Ok(definition) => {
                let verdict = output.paint(Colour::Green, "valid");
                let (name, version) = (definition.name(), definition.version());
                output.line(&format!("{file}: {verdict} (workflow {name}, version {version})"));
            }
            Err(problems) => {
                for problem in problems {
                    let error = output.paint(Colour::Red, "error");
                    let place = match (problem.line, problem.column) {
                        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
                        _ => file.clone(),
                    };
                    let pointer = match problem.pointer.as_str() {
                        "" => String::new(),
                        pointer => format!("{pointer}: "),
                    };
                    output.line(&format!("{place}: {error} {pointer}{}", problem.message));
                }
            }
        }
    }
}

/// The text of a file; the error names the file and says what is wrong with it.
pub(crate) fn read(file: &Path) -> Result<String> {
    let name = file.display();
    ensure!(
        !file.is_dir(),
        "{name} is a folder, but must be a file: name each, as {name}/*.yaml does"
    );
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    String::from_utf8(bytes)
        .with_context(|| format!("{} is no UTF-8 text; is it binary?", file.display()))
}
