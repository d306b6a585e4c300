//! The templates that are a part of the program: the stages of SPARC.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use muster_contracts::template::v1::TemplateDefinition;
use muster_document::{Bounds, front_matter};

use super::definition;

const BOUNDS: Bounds = Bounds { bytes: 1 << 20, values: 10_000, depth: 32 };
const FILES: [(&str, &str); 5] = [
    ("specification", include_str!("../../templates/specification.md")),
    ("pseudocode", include_str!("../../templates/pseudocode.md")),
    ("architecture", include_str!("../../templates/architecture.md")),
    ("refinement", include_str!("../../templates/refinement.md")),
    ("completion", include_str!("../../templates/completion.md")),
];

/// The built-in templates by their names.
///
/// # Errors
/// Where a file is no template: the program was built with a bad one.
pub(crate) fn all() -> anyhow::Result<BTreeMap<String, TemplateDefinition>> {
    FILES
        .into_iter()
        .map(|(name, file)| {
            let template = read(name, file).with_context(|| format!("templates/{name}.md"))?;
            Ok((name.to_owned(), template))
        })
        .collect()
}

fn read(name: &str, file: &str) -> anyhow::Result<TemplateDefinition> {
    let mut value = front_matter(file, "text", &BOUNDS)?.ok_or_else(|| anyhow!("no head"))?;
    if let Some(map) = value.as_object_mut() {
        map.insert("name".to_owned(), name.into());
    }
    let template: TemplateDefinition = serde_json::from_value(value)?;
    // What is checked once by a test needs no schema compiled in every process that starts.
    Ok(TemplateDefinition { built_in: true, ..definition::with_digest(template)? })
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;
    use serde_json::json;

    use super::*;
    use crate::domain::render::render;
    use crate::domain::stage::STAGES;

    #[test]
    fn every_stage_has_a_template_that_a_task_alone_fills() {
        let all = all().unwrap();
        assert_eq!(all.len(), STAGES.len());
        for stage in STAGES {
            let template = &all[stage];
            let checked = definition::checked(template.clone()).unwrap();
            assert_eq!(checked.digest, template.digest, "{stage}");
            let needed = match stage {
                "specification" => json!({"task": "a parser of dates"}),
                "pseudocode" => json!({"task": "a parser of dates", "specification": "R1"}),
                "architecture" => {
                    json!({"task": "a parser of dates", "specification": "R1", "pseudocode": "P"})
                }
                "refinement" => json!({"task": "a parser of dates", "work": "W"}),
                _ => json!({"task": "a parser of dates", "specification": "R1", "work": "W"}),
            };
            let text = render(template, &JsonObject::wrap(needed)).unwrap();
            assert!(text.contains("a parser of dates"), "{stage}");
            assert!(text.len() > 800 && !text.contains("{{"), "{stage}: {text}");
            assert!(!text.contains("\n\n\n"), "{stage}: {text}");
            assert!(template.built_in && !template.description.is_empty(), "{stage}");
            // Each variable has its place, and is told what it is for.
            for (name, about) in
                template.variables.as_ref().unwrap()["properties"].as_object().unwrap()
            {
                assert!(template.text.contains(name.as_str()), "{stage}: {name}");
                assert!(about["description"].is_string(), "{stage}: {name}");
            }
        }
    }
}
