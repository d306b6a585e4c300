//! The document that the demo works on.

use std::path::Path;

use anyhow::{Result, bail};
use muster_runtime::files::regular_text;
use sha2::{Digest, Sha256};

/// The largest document that the platform takes, in bytes.
const LIMIT: u64 = 8 << 20;

/// A text that was checked before anything was started for it.
#[derive(Debug)]
pub(crate) struct Document {
    title: String,
    text: String,
    collection: String,
}

impl Document {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let shown = file.display();
        let text = match regular_text(file, LIMIT) {
            Ok(text) => text,
            Err(error) => bail!("{error}; give a Markdown or text file of at most 8 MiB"),
        };
        if text.is_empty() {
            bail!("{shown} is empty (0 bytes); give a Markdown or text file with some text");
        }
        if let Some(place) = text.find('\0') {
            bail!("{shown} is no text: byte {place} is NUL; give a Markdown or text file");
        }
        if text.trim().is_empty() {
            bail!(
                "{shown} has nothing but white space; give a Markdown or text file with some text"
            );
        }
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("document");
        Ok(Self {
            title: title(&text).unwrap_or_else(|| stem.to_owned()),
            collection: collection(&text),
            text,
        })
    }

    /// The first heading, or the file's name.
    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// One collection for each text: a search must not find what another run has ingested.
    pub(crate) fn collection(&self) -> &str {
        &self.collection
    }

    /// What can be asked about any document.
    pub(crate) fn question(&self) -> String {
        format!("What are the main points of \"{}\", and what follows from them?", self.title)
    }
}

fn title(text: &str) -> Option<String> {
    let heading = text.lines().find_map(|line| line.strip_prefix("# "))?.trim();
    (!heading.is_empty()).then(|| heading.chars().take(120).collect())
}

fn collection(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(4).fold("demo-".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Document, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("paper.md");
        std::fs::write(&file, bytes).unwrap();
        Document::read(&file).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_document_is_called_by_its_heading_or_its_file() {
        assert_eq!(read(b"intro\n# The title \ntext").unwrap().title(), "The title");
        assert_eq!(read(b"no heading").unwrap().title(), "paper");
        assert_ne!(read(b"one").unwrap().collection(), read(b"two").unwrap().collection());
    }

    #[test]
    fn what_is_no_document_is_refused_by_what_is_wrong() {
        assert!(read(b"").unwrap_err().contains("0 bytes"));
        assert!(read(b" \n").unwrap_err().contains("white space"));
        assert!(read(b"ab\xff").unwrap_err().contains("byte 2 is not UTF-8"));
        assert!(read(b"a\0b").unwrap_err().contains("byte 1 is NUL"));
        assert!(read(&vec![b'a'; (8 << 20) + 1]).unwrap_err().contains("8388609 bytes"));
        let missing = Document::read(Path::new("/nowhere/paper.md")).unwrap_err();
        assert!(format!("{missing:#}").contains("/nowhere/paper.md: No such file"), "{missing:#}");
        assert!(Document::read(Path::new("/")).unwrap_err().to_string().contains("/ is a folder"));
    }
}
