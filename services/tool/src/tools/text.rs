//! Measures texts: figures, and which terms one covers.

use futures::FutureExt;
use muster_bus::Bus;
use serde::Deserialize;
use serde_json::{Value, json};

use super::deliverable::fetch;
use super::{Tool, Work, arguments, compute};
use crate::domain::call::{Call, Definition, Effect};
use crate::domain::text;
use crate::error::Error;

/// The longest text, in characters.
const MAX_TEXT: usize = 1 << 20;

/// A text, or the deliverable that holds it: a model need not repeat what it only wants to have measured.
#[derive(Deserialize)]
struct Source {
    text: Option<String>,
    deliverable: Option<String>,
}

impl Source {
    async fn read(self, bus: &Bus) -> Result<String, Error> {
        match (self.text, self.deliverable) {
            (Some(text), _) => Ok(text),
            (None, Some(address)) => Ok(fetch(bus, &address).await?.content),
            (None, None) => {
                Err(Error::Invalid("either `text` or `deliverable` is needed".to_owned()))
            }
        }
    }
}

/// The schema of a tool that takes a source and these further arguments.
fn schema(further: Value, required: &[&str]) -> Value {
    let mut properties = json!({
        "text": { "type": "string", "maxLength": MAX_TEXT, "description": "The text itself." },
        "deliverable": { "type": "string", "pattern": "^deliverables/", "description": "The address of a deliverable, in place of its text." },
    });
    if let (Some(all), Value::Object(further)) = (properties.as_object_mut(), further) {
        all.extend(further);
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "oneOf": [{ "required": ["text"] }, { "required": ["deliverable"] }],
        "additionalProperties": false,
    })
}

fn effect_of(arguments: &serde_json::Map<String, Value>) -> Effect {
    if arguments.contains_key("deliverable") { Effect::Pure } else { Effect::Computed }
}

pub(super) struct TextStats {
    pub(super) bus: Bus,
}

impl Tool for TextStats {
    fn definition(&self) -> Definition {
        Definition {
            name: "text_stats".into(),
            description: "Counts words, sentences, paragraphs and tokens of a text or deliverable, and lists its headings, citations ([n]) and most frequent terms.".into(),
            parameters: schema(json!({}), &[]),
            effect: Effect::Pure,
        }
    }

    fn effect(&self, arguments: &serde_json::Map<String, Value>) -> Effect {
        effect_of(arguments)
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        async {
            let text = arguments::<Source>(call)?.read(&self.bus).await?;
            compute(move || text::stats(&text)).await
        }
        .boxed()
    }
}

pub(super) struct TextCoverage {
    pub(super) bus: Bus,
}

#[derive(Deserialize)]
struct Coverage {
    #[serde(flatten)]
    source: Source,
    terms: Vec<String>,
}

impl Tool for TextCoverage {
    fn definition(&self) -> Definition {
        let terms = json!({
            "type": "array",
            "items": { "type": "string", "maxLength": 200 },
            "minItems": 1,
            "maxItems": 200,
            "description": "Words or phrases that the text should have.",
        });
        Definition {
            name: "text_coverage".into(),
            description: "Says which terms a text or deliverable covers and which it misses, without regard to case and to plural or verb endings.".into(),
            parameters: schema(json!({ "terms": terms }), &["terms"]),
            effect: Effect::Pure,
        }
    }

    fn effect(&self, arguments: &serde_json::Map<String, Value>) -> Effect {
        effect_of(arguments)
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        async {
            let arguments: Coverage = arguments(call)?;
            let text = arguments.source.read(&self.bus).await?;
            compute(move || text::coverage(&text, &arguments.terms)).await
        }
        .boxed()
    }
}
