//! What a document needs from outside, and how it becomes a part of the document.
//!
//! It is fetched once, when the workflow is registered: an execution never depends on what an
//! address answers today, and the digest of a definition covers everything that it says.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::document;
use crate::problem::Problems;

/// Where an AsyncAPI document stands that was fetched.
pub(crate) const CONTENT: &str = "content";

/// Something at an address that a document needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct External {
    /// JSON pointer of the part of the document that needs it.
    pub pointer: String,
    /// What it is.
    pub need: Need,
    /// Where it is: an http or https address.
    pub uri: String,
    /// The authentication policy to use there, as the document has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Value>,
}

/// What is at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// A function that the document calls by this name.
    Function {
        /// As it stands after `call:`.
        name: String,
    },
    /// A schema.
    Schema,
    /// An AsyncAPI document.
    Channels,
}

impl External {
    /// Reads what was fetched: YAML or JSON.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, with line and column.
    pub fn read(&self, text: &str) -> Result<Value, Problems> {
        document::read(text).map_err(|Problems(mut problems)| {
            for problem in &mut problems {
                problem.pointer.clone_from(&self.pointer);
                problem.message = format!("what {} answers: {}", self.uri, problem.message);
            }
            Problems(problems)
        })
    }

    /// Makes what was fetched a part of the document: a function stands in `use.functions` under
    /// the name by which it is called, a schema in the place of its address, an AsyncAPI document beside it.
    ///
    /// # Errors
    ///
    /// The document has no such place.
    pub fn pin(&self, document: &mut Value, content: Value) -> Result<(), Problems> {
        let pinned = match &self.need {
            Need::Function { name } => pin_function(document, name, content),
            Need::Schema => pin_schema(document, &self.pointer, content),
            Need::Channels => pin_channels(document, &self.pointer, content),
        };
        pinned.ok_or_else(|| {
            let message = format!("{} cannot become a part of the document", self.uri);
            Problems::one(self.pointer.as_str(), message)
        })
    }
}

fn pin_function(document: &mut Value, name: &str, content: Value) -> Option<()> {
    let empty = || Value::Object(Map::new());
    let reusable = document.as_object_mut()?.entry("use").or_insert_with(empty);
    let functions = reusable.as_object_mut()?.entry("functions").or_insert_with(empty);
    functions.as_object_mut()?.insert(name.to_owned(), content);
    Some(())
}

fn pin_schema(document: &mut Value, pointer: &str, content: Value) -> Option<()> {
    let schema = document.pointer_mut(pointer)?.as_object_mut()?;
    schema.remove("resource")?;
    schema.insert("document".to_owned(), content);
    Some(())
}

/// Beside its address, so that both can be read.
fn pin_channels(document: &mut Value, pointer: &str, content: Value) -> Option<()> {
    let resource = document.pointer_mut(pointer)?.as_object_mut()?;
    resource.insert(CONTENT.to_owned(), content);
    Some(())
}

/// The address of a file's contents, where the address is that of a page about it at a known
/// host of repositories.
pub(crate) fn raw_address(address: &str) -> String {
    github(address).or_else(|| gitlab(address)).unwrap_or_else(|| address.to_owned())
}

/// `…/{owner}/{repository}/tree/{branch}/{path}`, without the branch: `main`.
fn github(address: &str) -> Option<String> {
    let path = address.strip_prefix("https://github.com/")?;
    let (owner, path) = path.split_once('/')?;
    let (repository, path) = path.split_once('/')?;
    let page = path.strip_prefix("tree/").or_else(|| path.strip_prefix("blob/"));
    let (branch, path) = match page {
        Some(path) => path.split_once('/')?,
        None => ("main", path),
    };
    let host = "https://raw.githubusercontent.com";
    Some(format!("{host}/{owner}/{repository}/refs/heads/{branch}/{path}"))
}

/// `…/{project}/-/tree/{branch}/{path}`.
fn gitlab(address: &str) -> Option<String> {
    let (project, path) = address.split_once("/-/")?;
    let path = path.strip_prefix("tree/").or_else(|| path.strip_prefix("blob/"))?;
    Some(format!("{project}/-/raw/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_repositories_become_addresses_of_files() {
        let check = |address: &str, raw: &str| assert_eq!(raw_address(address), raw);
        check(
            "https://github.com/serverlessworkflow/catalog/tree/main/functions/log/1.0.0/function.yaml",
            "https://raw.githubusercontent.com/serverlessworkflow/catalog/refs/heads/main/functions/log/1.0.0/function.yaml",
        );
        check(
            "https://github.com/serverlessworkflow/catalog/functions/log/1.0.0/function.yaml",
            "https://raw.githubusercontent.com/serverlessworkflow/catalog/refs/heads/main/functions/log/1.0.0/function.yaml",
        );
        check(
            "https://gitlab.com/group/catalog/-/tree/main/functions/log/1.0.0/function.yaml",
            "https://gitlab.com/group/catalog/-/raw/main/functions/log/1.0.0/function.yaml",
        );
        check("https://example.com/f.yaml", "https://example.com/f.yaml");
    }
}
