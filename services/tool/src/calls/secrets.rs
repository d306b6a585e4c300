//! Secrets: files in a folder, as Kubernetes mounts them. They are read anew for each call, so that a changed one counts at once.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use serde_json::{Map, Value};

use super::raised;
use crate::error::Error;

/// The largest secret, in bytes.
const MAX_SECRET: u64 = 1 << 20;
/// The most fields of a secret that is a folder.
const MAX_FIELDS: usize = 100;

/// The folder of secrets. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(Option<Arc<PathBuf>>);

impl Secrets {
    /// `folder` is the setting's value; empty: there are no secrets.
    pub(crate) fn new(folder: &str) -> Self {
        Self((!folder.is_empty()).then(|| Arc::new(PathBuf::from(folder))))
    }

    /// The names of all secrets, in their order.
    pub(crate) async fn names(&self) -> Result<Vec<String>, Error> {
        let Some(folder) = &self.0 else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        let mut entries = match tokio::fs::read_dir(folder.as_ref()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
            entries => entries.context("the folder of secrets cannot be read")?,
        };
        while let Some(entry) =
            entries.next_entry().await.context("the folder of secrets cannot be read")?
        {
            names.extend(entry.file_name().into_string().ok().filter(|name| is_name(name)));
        }
        names.sort();
        Ok(names)
    }

    /// A secret: text; an object where the file is a JSON object, or where it is a folder of files.
    pub(crate) async fn read(&self, name: &str) -> Result<Value, Error> {
        let missing = || {
            raised(
                "configuration",
                404,
                format!(
                    "the secret {name:?} is not there: the operator has to put it, as a file of that name, into the folder MUSTER_SECRETS_DIR of the tool service"
                ),
            )
        };
        let path = self.0.as_ref().filter(|_| is_name(name)).ok_or_else(missing)?.join(name);
        match tokio::fs::metadata(&path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(anyhow!(error).context(format!("the secret {name}")).into()),
            Ok(found) if found.is_dir() => fields(&path, name).await,
            Ok(_) => Ok(match serde_json::from_str(&text(&path, name).await?) {
                Ok(Value::Object(fields)) => Value::Object(fields),
                _ => Value::String(text(&path, name).await?),
            }),
        }
    }
}

/// Kubernetes mounts hidden entries beside those that are meant.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

async fn fields(path: &Path, name: &str) -> Result<Value, Error> {
    let mut fields = Map::new();
    let mut entries = tokio::fs::read_dir(path).await.context("a secret cannot be read")?;
    while let Some(entry) = entries.next_entry().await.context("a secret cannot be read")? {
        let Some(field) = entry.file_name().into_string().ok().filter(|name| is_name(name)) else {
            continue;
        };
        if fields.len() >= MAX_FIELDS {
            return Err(anyhow!("the secret {name} has more than {MAX_FIELDS} files").into());
        }
        fields.insert(field, Value::String(text(&entry.path(), name).await?));
    }
    Ok(Value::Object(fields))
}

/// The text of a file, without the line end that editors put behind it.
async fn text(path: &Path, name: &str) -> Result<String, Error> {
    let found = tokio::fs::metadata(path).await.context("a secret cannot be read")?;
    // A pipe or a device may have no end.
    if !found.is_file() {
        let detail = format!("the secret {name:?} is neither a file nor a folder of files");
        return Err(raised("configuration", 400, detail));
    }
    let size = found.len();
    if size > MAX_SECRET {
        let detail = format!("the secret {name:?} has {size} bytes, {MAX_SECRET} at most");
        return Err(raised("configuration", 400, detail));
    }
    let text = tokio::fs::read(path).await.context("a secret cannot be read")?;
    let text = String::from_utf8(text).map_err(|_error| {
        raised("configuration", 400, format!("the secret {name:?} is no UTF-8"))
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_that_has_no_end_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("endless")).unwrap();
        let secrets = Secrets::new(folder.path().to_str().unwrap());
        let error = secrets.read("endless").await.unwrap_err().to_string();
        assert!(error.contains("\"endless\" is neither a file nor a folder"), "{error}");
    }
}
