//! Files that settings and people name: read up to a size, and never without an end.

use std::fs::{File, FileType, Metadata};
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// Why a file was not read. Every form names the file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or may not be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says. It is in the text already, so it is no source of its own.
        reason: std::io::Error,
    },
    /// It is something else than a file.
    #[error("{} is {what}, but must be a file", path.display())]
    Irregular {
        /// What was named.
        path: PathBuf,
        /// What it is: `a folder`, `a pipe`.
        what: &'static str,
    },
    /// It is too large.
    #[error("{} has {size}, but may have at most {limit} bytes", path.display())]
    Large {
        /// The file.
        path: PathBuf,
        /// Its size: a number of bytes, or that there are more than may be.
        size: String,
        /// The largest size, in bytes.
        limit: u64,
    },
    /// It has bytes that are no text.
    #[error("{} is no text: byte {at} is not UTF-8; is it binary?", path.display())]
    Binary {
        /// The file.
        path: PathBuf,
        /// The place of the first such byte, from 0.
        at: usize,
    },
}

/// The text of a file of at most `max_bytes` bytes. Pipes, sockets and devices are refused: they may have no end, and a pipe may wait
/// forever to be opened. Links are followed.
///
/// # Errors
/// Where it cannot be read, is no file, is larger, or is not UTF-8; the error names the file, and what is wrong with it.
pub fn regular_text(path: impl AsRef<Path>, max_bytes: u64) -> Result<String, FileError> {
    let path = path.as_ref();
    text(path, regular_bytes(path, max_bytes)?)
}

/// The same for bytes that need be no text.
///
/// # Errors
/// As [`regular_text`].
pub fn regular_bytes(path: impl AsRef<Path>, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let path = path.as_ref();
    let found = about(path)?;
    if !found.is_file() {
        return Err(irregular(path, found.file_type()));
    }
    if found.len() > max_bytes {
        return Err(large(path, format!("{} bytes", found.len()), max_bytes));
    }
    bytes(path, max_bytes)
}

/// The text of a file, or of a pipe that a person names (`/dev/stdin`, `<(command)`), of at most `max_bytes` bytes.
///
/// # Errors
/// As [`regular_text`], but for what is no folder.
pub fn piped_text(path: impl AsRef<Path>, max_bytes: u64) -> Result<String, FileError> {
    let path = path.as_ref();
    let found = about(path)?;
    if found.is_dir() {
        return Err(irregular(path, found.file_type()));
    }
    text(path, bytes(path, max_bytes)?)
}

fn about(path: &Path) -> Result<Metadata, FileError> {
    std::fs::metadata(path).map_err(|source| unreadable(path, source))
}

/// A file may grow while it is read, so that the size it said does not bound it.
fn bytes(path: &Path, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|opened| opened.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|source| unreadable(path, source))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= max_bytes) {
        return Ok(bytes);
    }
    Err(large(path, "more bytes".to_owned(), max_bytes))
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, FileError> {
    String::from_utf8(bytes).map_err(|error| FileError::Binary {
        path: path.to_owned(),
        at: error.utf8_error().valid_up_to(),
    })
}

fn unreadable(path: &Path, reason: std::io::Error) -> FileError {
    FileError::Unreadable { path: path.to_owned(), reason }
}

fn large(path: &Path, size: String, limit: u64) -> FileError {
    FileError::Large { path: path.to_owned(), size, limit }
}

fn irregular(path: &Path, kind: FileType) -> FileError {
    let what = if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    FileError::Irregular { path: path.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path, words: &str) {
        let error = regular_text(path, 1 << 10).unwrap_err().to_string();
        assert_eq!(error, format!("{} {words}", path.display()));
    }

    #[test]
    fn what_has_no_end_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        refused(&pipe, "is a pipe, but must be a file");
        let socket = folder.path().join("socket");
        let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        refused(&socket, "is a socket, but must be a file");
        let device = folder.path().join("device");
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        refused(&device, "is a device, but must be a file");
        refused(folder.path(), "is a folder, but must be a file");
        let error = piped_text(&device, 1 << 10).unwrap_err().to_string();
        assert!(error.ends_with("has more bytes, but may have at most 1024 bytes"), "{error}");
    }

    #[test]
    fn a_file_is_read_up_to_its_largest_size_and_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::fs::write(&file, "x".repeat(1 << 10)).unwrap();
        assert_eq!(regular_text(&link, 1 << 10).unwrap().len(), 1 << 10);
        assert_eq!(piped_text(&link, 1 << 10).unwrap().len(), 1 << 10);
        // Nothing of it is read: it takes no room on the disk, and none in memory.
        File::options().write(true).open(&file).unwrap().set_len(10_000_000_000).unwrap();
        refused(&link, "has 10000000000 bytes, but may have at most 1024 bytes");
    }

    #[test]
    fn what_is_no_text_or_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"ab\xff").unwrap();
        refused(&file, "is no text: byte 2 is not UTF-8; is it binary?");
        assert_eq!(regular_bytes(&file, 3).unwrap(), b"ab\xff");
        let error = regular_text("/nowhere/file", 9).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nowhere/file: No such file"), "{error}");
    }
}
