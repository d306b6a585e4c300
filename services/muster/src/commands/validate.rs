//! Checks workflow documents without a server.

use std::{
    fs::File,
    io::Read as _,
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

/// The most that the gateway takes of any file: an execution that is imported.
const LARGEST: u64 = 64 << 20;

/// The text of a file, or of a pipe that is named; the error names the file and says what is wrong with it.
pub(crate) fn read(file: &Path) -> Result<String> {
    read_up_to(file, LARGEST)
}

/// The text of a file that must be none of pipes and devices, which have no end, and not larger than that.
pub(crate) fn read_regular(file: &Path, largest: u64) -> Result<String> {
    let name = file.display();
    let kind = std::fs::metadata(file).with_context(|| format!("cannot read {name}"))?;
    ensure!(
        kind.is_file() || kind.is_dir(),
        "{name} is a pipe, a socket or a device, but must be a file"
    );
    read_up_to(file, largest)
}

fn read_up_to(file: &Path, largest: u64) -> Result<String> {
    let name = file.display();
    ensure!(
        !file.is_dir(),
        "{name} is a folder, but must be a file: name each, as {name}/*.yaml does"
    );
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(largest + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {name}"))?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= largest);
    ensure!(fits, "{name} has more than {} MiB, which is the largest size", largest >> 20);
    String::from_utf8(bytes).with_context(|| format!("{name} is no UTF-8 text; is it binary?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endless.yaml");
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let error = read_regular(&path, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("endless.yaml is a pipe, a socket or a device"), "{error}");
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("endless.yaml has more than 64 MiB"), "{error}");

        let pipe = folder.path().join("pipe.yaml");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let error = read_regular(&pipe, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("pipe.yaml is a pipe"), "{error}");
    }

    #[test]
    fn a_file_is_read_up_to_its_largest_size_and_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::fs::write(&path, "x".repeat(1 << 20)).unwrap();
        assert_eq!(read_regular(&link, 1 << 20).unwrap().len(), 1 << 20);
        std::fs::write(&path, "x".repeat((1 << 20) + 1)).unwrap();
        let error = read_regular(&link, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("b.yaml has more than 1 MiB"), "{error}");
        let error = read_regular(folder.path(), 1 << 20).unwrap_err().to_string();
        assert!(error.contains("is a folder"), "{error}");
        let error = read_regular(&folder.path().join("c.yaml"), 1).unwrap_err().to_string();
        assert!(error.contains("cannot read ") && error.contains("c.yaml"), "{error}");
    }
}
