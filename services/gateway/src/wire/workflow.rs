//! Workflows.

use chrono::{DateTime, Utc};
use muster_contracts::workflow::v1::WorkflowDefinition;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{WorkflowCheck, when};

/// A registered workflow definition; it never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Workflow {
    /// The document's `namespace`.
    pub namespace: String,
    /// The document's `name`.
    pub name: String,
    /// The document's `version`.
    pub version: String,
    /// SHA-256 of the canonical document, hexadecimal.
    pub digest: String,
    /// The Serverless Workflow document; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub document: Option<Value>,
    /// When this version was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<DateTime<Utc>>,
    /// When its schedule starts it next, where that is known; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start: Option<DateTime<Utc>>,
    /// What it would have changed for the executions that run: those alone that differ, and why where they could not be checked.
    /// Only where it was registered just now, in the place of another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<WorkflowCheck>,
}

/// All workflows, each in the version that was registered last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Workflows {
    /// In the order of their names.
    pub workflows: Vec<Workflow>,
}

impl From<WorkflowDefinition> for Workflow {
    fn from(definition: WorkflowDefinition) -> Self {
        Self {
            namespace: definition.namespace,
            name: definition.name,
            version: definition.version,
            digest: definition.digest,
            document: definition.document.map(|document| document.0),
            registered_at: when(definition.registered_at.as_ref()),
            next_start: when(definition.next_start.as_ref()),
            check: definition.check.map(WorkflowCheck::from),
        }
    }
}
