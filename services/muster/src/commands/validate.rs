//! Checks workflow documents without a server.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail};
use muster_runtime::files::piped_text;
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

/// The most that the gateway takes of any file: an execution that is imported.
const LARGEST: u64 = 64 << 20;

/// The text of a file, or of a pipe that is named; the error names the file and says what is wrong with it.
pub(crate) fn read(file: &Path) -> Result<String> {
    if file.is_dir() {
        let name = file.display();
        bail!("{name} is a folder, but must be a file: name each, as {name}/*.yaml does");
    }
    Ok(piped_text(file, LARGEST)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_and_what_is_a_folder_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endless.yaml");
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("endless.yaml has more bytes, but may have at most"), "{error}");
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("/*.yaml does"), "{error}");
    }
}
