//! A parsed and checked workflow document.

mod parse;
mod place;

pub(crate) use self::parse::naming_argument;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::document;
use crate::external::External;
use crate::model::{Kind, Model, Node, NodeId};
use crate::problem::Problems;
use crate::schedule::Schedule;

/// A workflow that was parsed and checked: immutable, and all that it asks for is supported.
pub struct Definition {
    document: Value,
    digest: String,
    model: Model,
    by_pointer: HashMap<String, NodeId>,
    references: References,
    externals: Vec<External>,
}

/// What a workflow uses by name: each name with the pointer of a task that uses it.
///
/// Names that expressions compute are not known before they run and are not here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct References {
    /// Agents that `call: agent` names.
    pub agents: BTreeMap<String, String>,
    /// Tools that `call: tool` names.
    pub tools: BTreeMap<String, String>,
    /// Models that `call: model` names.
    pub models: BTreeMap<String, String>,
    /// Collections that `call: search` names.
    pub collections: BTreeMap<String, String>,
    /// Secrets that `use.secrets` declares, with the pointers of their names.
    pub secrets: BTreeMap<String, String>,
    /// Workflows that `run: workflow` names.
    #[serde(serialize_with = "named")]
    pub workflows: BTreeMap<WorkflowReference, String>,
}

/// A workflow that another one runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WorkflowReference {
    /// Its namespace; empty where a call names it, as a function of the default catalog.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its version, or `latest`.
    pub version: String,
}

impl fmt::Display for WorkflowReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        write!(f, "{}:{}", self.name, self.version)
    }
}

/// JSON has only strings as keys.
fn named<S: serde::Serializer>(
    workflows: &BTreeMap<WorkflowReference, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(workflows.iter().map(|(name, pointer)| (name.to_string(), pointer)))
}

impl Definition {
    /// Parses YAML or JSON text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it or that is not supported, each with the pointer of its
    /// place and with line and column.
    pub fn parse(text: &str) -> Result<Definition, Problems> {
        Definition::from_json(document::read(text)?).map_err(|problems| problems.placed(text))
    }

    /// Checks a document that is JSON already.
    ///
    /// # Errors
    ///
    /// As [`Definition::parse`], without lines and columns.
    pub fn from_json(document: Value) -> Result<Definition, Problems> {
        document::check(&document)?;
        let parse::Parsed { model, references, externals } = parse::parse(&document)?;
        let by_pointer = model.nodes.iter().enumerate();
        let by_pointer = by_pointer.map(|(id, node)| (node.pointer.clone(), id)).collect();
        let digest = document::digest(&document);
        Ok(Definition { document, digest, model, by_pointer, references, externals })
    }

    /// The namespace from `document.namespace`.
    pub fn namespace(&self) -> &str {
        self.described("namespace")
    }

    /// The name from `document.name`.
    pub fn name(&self) -> &str {
        self.described("name")
    }

    /// The semantic version from `document.version`.
    pub fn version(&self) -> &str {
        self.described("version")
    }

    /// SHA-256 of the document's canonical JSON, in lower-case hexadecimal: the order of keys and
    /// the layout of the text make no difference.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The whole document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// When it starts by itself, if it does.
    pub fn schedule(&self) -> Option<Schedule<'_>> {
        self.model.schedule.as_ref().map(Schedule::of)
    }

    /// What it uses by name.
    pub fn references(&self) -> &References {
        &self.references
    }

    /// What must be fetched and made a part of the document before it can run: until then a call
    /// of such a function faults, and nothing matches such a schema.
    pub fn externals(&self) -> &[External] {
        &self.externals
    }

    fn described(&self, field: &str) -> &str {
        let value = self.document.get("document").and_then(|document| document.get(field));
        value.and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.model.nodes.get(id)
    }

    pub(crate) fn node_at(&self, pointer: &str) -> Option<NodeId> {
        self.by_pointer.get(pointer).copied()
    }

    /// The kind of a task; `None` for the workflow itself.
    pub(crate) fn kind(&self, id: Option<NodeId>) -> Option<&Kind> {
        Some(&self.node(id?)?.kind)
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("namespace", &self.namespace())
            .field("name", &self.name())
            .field("version", &self.version())
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}
