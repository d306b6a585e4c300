//! What a folder can define, and what counts when two definitions are compared.

use anyhow::Result;
use muster_gateway::wire::{Agent, ModelAlias, Template, Tool};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// What a file defines. In the order of their needs: agents name models and tools, workflows name agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Model,
    Template,
    Tool,
    Agent,
    Workflow,
}

impl Kind {
    pub(super) const NAMED_BY_FILES: [Self; 4] =
        [Self::Model, Self::Template, Self::Tool, Self::Agent];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Template => "template",
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::Workflow => "workflow",
        }
    }

    /// The folder of its files.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Template => "templates",
            Self::Tool => "tools",
            Self::Agent => "agents",
            Self::Workflow => "workflows",
        }
    }

    /// Where the gateway has it.
    pub(super) fn path(self, name: &str) -> String {
        match self {
            Self::Model => format!("/v1/model-aliases/{name}"),
            Self::Template => format!("/v1/templates/{name}"),
            Self::Tool => format!("/v1/tools/{name}"),
            Self::Agent => format!("/v1/agents/{name}"),
            Self::Workflow => format!("/v1/workflows/{name}"),
        }
    }

    /// A definition of this kind as it counts: whole, and without what the platform adds.
    pub(super) fn canonical(self, value: Value) -> Result<Value, Misfit> {
        match self {
            Self::Model => whole::<ModelAlias>(value, |model| {
                model.digest.clear();
                model.preset = false;
            }),
            Self::Template => whole::<Template>(value, |template| {
                template.digest.clear();
                template.registered_at = None;
                template.built_in = false;
            }),
            Self::Tool => whole::<Tool>(value, |tool| {
                tool.revision = 0;
                for shown in [&mut tool.source, &mut tool.problem, &mut tool.protocol] {
                    shown.clear();
                }
                if tool.kind.is_empty() {
                    "worker".clone_into(&mut tool.kind);
                }
                if tool.effect.is_empty() && tool.kind == "worker" {
                    "once".clone_into(&mut tool.effect);
                }
                tool.parameters.entry("type").or_insert_with(|| json!("object"));
            }),
            Self::Agent => whole::<Agent>(value, |agent| {
                agent.digest.clear();
                agent.registered_at = None;
                agent.limits = agent.limits.without_defaults();
            }),
            Self::Workflow => Ok(value),
        }
    }
}

/// A value that is no definition of its kind.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Where, as a JSON pointer.
    pub(super) pointer: String,
    pub(super) message: String,
}

fn whole<T: DeserializeOwned + Serialize>(
    value: Value,
    plain: impl FnOnce(&mut T),
) -> Result<Value, Misfit> {
    let mut definition: T = serde_path_to_error::deserialize(value).map_err(|error| Misfit {
        pointer: pointer(error.path()),
        message: error.inner().to_string(),
    })?;
    plain(&mut definition);
    serde_json::to_value(definition)
        .map_err(|error| Misfit { pointer: String::new(), message: error.to_string() })
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// The JSON pointer of a field that an error of the platform names, such as `limits.turns` or `tools[1]`.
pub(super) fn pointer_in(message: &str) -> Option<String> {
    let (_, rest) = message.split_once('`')?;
    let (field, _) = rest.split_once('`')?;
    let good = |letter: char| letter.is_ascii_alphanumeric() || "_.[]".contains(letter);
    if field.is_empty() || !field.chars().all(good) {
        return None;
    }
    let field = field.replace('[', ".").replace(']', "");
    Some(field.split('.').map(|part| format!("/{part}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_platform_adds_does_not_count() {
        let check = |kind: Kind, file: Value, registered: Value| {
            let of = |value| kind.canonical(value).map_err(|misfit| misfit.message);
            assert_eq!(of(file), of(registered));
        };
        check(
            Kind::Agent,
            json!({"name": "a", "instructions": "Do.", "model": "fast"}),
            json!({"name": "a", "instructions": "Do.", "description": "", "tools": [],
                "model": {"provider": "", "name": "fast", "max_tokens": 0},
                "limits": {"turns": 16, "tokens": 200_000}, "digest": "d", "registered_at": "2026-01-01T00:00:00Z"}),
        );
        check(
            Kind::Tool,
            json!({"name": "t", "description": "x"}),
            json!({"name": "t", "description": "x", "effect": "once", "kind": "worker",
                "parameters": {"type": "object"}, "revision": 7}),
        );
        check(
            Kind::Model,
            json!({"name": "m", "targets": [{"provider": "p"}]}),
            json!({"name": "m", "description": "", "targets": [{"provider": "p", "weight": 0}], "digest": "d"}),
        );
    }

    #[test]
    fn a_field_that_is_none_is_told_with_its_place() {
        let misfit = Kind::Agent
            .canonical(json!({"instructions": "Do.", "limits": {"turn": 1}}))
            .expect_err("a misfit");
        assert!(misfit.message.contains("unknown field `turn`"), "{misfit:?}");
        assert_eq!(misfit.pointer, "/limits/turn");
        assert_eq!(pointer_in("x: `tools[1]`: no"), Some("/tools/1".into()));
        assert_eq!(pointer_in("no field"), None);
    }
}
