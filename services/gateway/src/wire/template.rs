//! Prompt templates.

use chrono::{DateTime, Utc};
use muster_contracts::{JsonObject, template::v1 as contract};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::when;

/// All templates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Templates {
    /// In the order of their names.
    pub templates: Vec<Template>,
}

/// A prompt template, as its file describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// `^[a-z0-9][a-z0-9_-]{0,62}$`. In a request it may be absent: the path names the template.
    #[serde(default)]
    pub name: String,
    /// What it is for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// The text, with places such as `{{ topic }}`, `{% if topic %}` and `{% for item in items %}`; 65536 bytes at most.
    pub text: String,
    /// JSON Schema of the values, of the type `object`: each property is a variable, with its `description` and `default`; those in `required` must be given. Absent: no variables.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub variables: Map<String, Value>,
    /// Words to find it by, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// SHA-256 of the definition, hexadecimal: its version; ignored in a request.
    #[serde(default)]
    pub digest: String,
    /// When this version was registered first; ignored in a request. Absent: it is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<DateTime<Utc>>,
    /// It is a part of the program; ignored in a request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub built_in: bool,
}

/// The versions of a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TemplateVersions {
    /// The template.
    pub name: String,
    /// The newest first.
    pub versions: Vec<TemplateVersion>,
}

/// A version of a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TemplateVersion {
    /// SHA-256 of the definition, hexadecimal.
    pub digest: String,
    /// When it was registered first; absent: it is built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<DateTime<Utc>>,
    /// It is the one that is filled where no version is named.
    pub latest: bool,
    /// It is a part of the program.
    pub built_in: bool,
}

/// What a template is filled with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateValues {
    /// Values for the template's variables.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub vars: Map<String, Value>,
    /// The version, by its digest; absent: the latest.
    #[serde(default)]
    pub version: String,
}

/// A filled template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RenderedTemplate {
    /// The template's name.
    pub template: String,
    /// Its version, which gives this text again.
    pub version: String,
    /// The text.
    pub text: String,
    /// Tokens of the text by the o200k tokenizer.
    pub tokens: u32,
}

impl From<Template> for contract::TemplateDefinition {
    fn from(template: Template) -> Self {
        let variables = Some(template.variables).filter(|variables| !variables.is_empty());
        Self {
            name: template.name,
            description: template.description,
            text: template.text,
            variables: variables.map(JsonObject),
            tags: template.tags,
            ..Self::default()
        }
    }
}

impl From<contract::TemplateDefinition> for Template {
    fn from(definition: contract::TemplateDefinition) -> Self {
        Self {
            name: definition.name,
            description: definition.description,
            text: definition.text,
            variables: definition.variables.unwrap_or_default().0,
            tags: definition.tags,
            digest: definition.digest,
            registered_at: when(definition.registered_at.as_ref()),
            built_in: definition.built_in,
        }
    }
}

impl From<contract::TemplateVersions> for TemplateVersions {
    fn from(versions: contract::TemplateVersions) -> Self {
        let shown = versions.versions.into_iter().map(|version| TemplateVersion {
            digest: version.digest,
            registered_at: when(version.registered_at.as_ref()),
            latest: version.latest,
            built_in: version.built_in,
        });
        Self { name: versions.name, versions: shown.collect() }
    }
}

impl From<contract::RenderedTemplate> for RenderedTemplate {
    fn from(rendered: contract::RenderedTemplate) -> Self {
        Self {
            template: rendered.template,
            version: rendered.version,
            text: rendered.text,
            tokens: rendered.tokens,
        }
    }
}
