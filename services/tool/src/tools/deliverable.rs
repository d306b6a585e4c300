//! Fetches what an agent produced, or the part of it that is needed.

use futures::FutureExt;
use muster_bus::Bus;
use muster_contracts::deliverable::v1::Deliverable;
use muster_deliverable::{Address, Deliverables};
use muster_text::tokens;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, Work, arguments, compute};
use crate::domain::call::{Call, Definition, Effect};
use crate::domain::deliverable;
use crate::error::Error;

/// Tokens of a whole deliverable or of a section, where the call does not say.
const WHOLE: usize = 8_000;
/// Tokens of passages, where the call does not say.
const PASSAGES: usize = 1_000;

pub(super) struct FetchDeliverable {
    pub(super) bus: Bus,
}

#[derive(Deserialize)]
struct Arguments {
    deliverable: String,
    max_tokens: Option<usize>,
    section: Option<String>,
    query: Option<String>,
}

impl Tool for FetchDeliverable {
    fn definition(&self) -> Definition {
        Definition {
            name: "fetch_deliverable".into(),
            description: "Fetches the text of a deliverable that a notice names: the whole, one section, or the passages that fit a query. Ask for no more than is needed.".into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "deliverable": { "type": "string", "pattern": "^deliverables/", "description": "The address in the notice, unchanged: deliverables/{agent}/{type}/{feature}, or longer." },
                    "max_tokens": { "type": "integer", "minimum": 1, "maximum": 100_000, "description": "The longest text; default 8000, with a query 1000." },
                    "section": { "type": "string", "minLength": 1, "description": "Only the section under this heading." },
                    "query": { "type": "string", "minLength": 1, "maxLength": 4096, "description": "Only the paragraphs that share words with this." },
                },
                "required": ["deliverable"],
                "not": { "required": ["section", "query"] },
                "additionalProperties": false,
            }),
            effect: Effect::Pure,
        }
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        async {
            let arguments: Arguments = arguments(call)?;
            let found = fetch(&self.bus, &arguments.deliverable).await?;
            compute(move || excerpt(&arguments, &found)).await?
        }
        .boxed()
    }
}

/// The deliverable at this address.
pub(super) async fn fetch(bus: &Bus, address: &str) -> Result<Deliverable, Error> {
    let wanted = Address::parse(address).map_err(|error| Error::Invalid(error.to_string()))?;
    let found = Deliverables::new(bus).fetch(&wanted).await?;
    found.map(|stored| stored.deliverable).ok_or_else(|| {
        Error::NotFound(format!("there is no deliverable at {address:?}: the address stands in the notice of the agent that made it"))
    })
}

fn excerpt(arguments: &Arguments, found: &Deliverable) -> Result<Value, Error> {
    let limit = arguments.max_tokens;
    let part = match (&arguments.section, &arguments.query) {
        (Some(section), _) => {
            deliverable::section(&found.content, section).map_err(Error::NotFound)?
        }
        (None, Some(query)) => {
            deliverable::passages(&found.content, query, limit.unwrap_or(PASSAGES))
        }
        (None, None) => found.content.clone(),
    };
    let cut = tokens::cut(&part, limit.unwrap_or(WHOLE));
    let truncated = cut.is_some();
    let content = cut.unwrap_or(part);
    Ok(json!({
        "deliverable": arguments.deliverable,
        "tokens": tokens::count(&content),
        "total_tokens": found.tokens,
        "truncated": truncated,
        "sha256": found.sha256,
        "content": content,
    }))
}
