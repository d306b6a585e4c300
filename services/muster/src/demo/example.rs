//! The folder of the example.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The example that researches a question.
pub(crate) const BRIEF: &str = "examples/research-brief";
/// The example of the team of six.
pub(crate) const TEAM: &str = "examples/feature-team";

/// The folder of an example: agents/, workflow.yaml and what it works on.
#[derive(Debug)]
pub(crate) struct Example {
    folder: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Input {
    question: Option<String>,
}

impl Example {
    /// The folder that was named, or the one of this repository.
    pub(crate) fn find(named: Option<&Path>, place: &str) -> Result<Self> {
        let folder = match named {
            Some(folder) => folder.to_owned(),
            None => {
                let here = std::env::current_dir().context("there is no current folder")?;
                let program = std::env::current_exe().unwrap_or_default();
                here.ancestors()
                    .chain(program.ancestors().skip(1))
                    .map(|folder| folder.join(place))
                    .find(|folder| folder.is_dir())
                    .with_context(|| {
                        format!(
                            "{place} is nowhere from {} upwards; name the folder with --example",
                            here.display()
                        )
                    })?
            }
        };
        if !folder.join("workflow.yaml").is_file() {
            bail!("{} is no example: it has no workflow.yaml", folder.display());
        }
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The document that the example brings along.
    pub(crate) fn document(&self) -> PathBuf {
        self.folder.join("document.md")
    }

    /// The question that goes with the example's own document.
    pub(crate) fn question(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.folder.join("input.yaml")).ok()?;
        serde_yaml_ng::from_str::<Input>(&text).ok()?.question
    }
}
