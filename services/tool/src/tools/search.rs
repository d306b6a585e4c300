//! Searches a collection of documents.

use futures::FutureExt;
use muster_bus::Bus;
use muster_contracts::JsonObject;
use muster_contracts::vector::v1::{Hit, SearchRequest};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Tool, Work, arguments};
use crate::domain::call::{Call, Definition, Effect};
use crate::error::Error;

pub(super) struct Search {
    pub(super) bus: Bus,
}

#[derive(Deserialize)]
struct Arguments {
    collection: String,
    query: String,
    #[serde(default)]
    top_k: u32,
    filter: Option<Map<String, Value>>,
}

impl Tool for Search {
    fn definition(&self) -> Definition {
        Definition {
            name: "search".into(),
            description: "Searches a collection of documents by meaning and by words. Returns the best passages, best first, each with a `ref` to cite it by.".into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "collection": { "type": "string", "minLength": 1, "description": "The collection's name." },
                    "query": { "type": "string", "minLength": 1, "maxLength": 4096, "description": "What to look for." },
                    "top_k": { "type": "integer", "minimum": 1, "maximum": 100, "description": "How many passages; default 8." },
                    "filter": { "type": "object", "description": "Only documents whose metadata has these values." },
                },
                "required": ["collection", "query"],
                "additionalProperties": false,
            }),
            effect: Effect::Pure,
        }
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        self.search(call).boxed()
    }
}

impl Search {
    async fn search(&self, call: &Call) -> Result<Value, Error> {
        let arguments: Arguments = arguments(call)?;
        let request = SearchRequest {
            collection: arguments.collection,
            query: arguments.query,
            top_k: arguments.top_k,
            filter: arguments.filter.map(JsonObject),
            execution_id: call.execution_id.clone(),
        };
        let response = self.bus.request(&request).await?;
        let hits: Vec<Value> = response.hits.into_iter().map(hit).collect();
        Ok(json!({ "count": hits.len(), "hits": hits }))
    }
}

fn hit(hit: Hit) -> Value {
    json!({
        "ref": format!("{}#{}", hit.document_id, hit.chunk),
        "document_id": hit.document_id,
        "title": hit.title,
        "chunk": hit.chunk,
        "text": hit.text,
        "score": hit.score,
        "similarity": hit.similarity,
        "metadata": hit.metadata.map(JsonObject::into_value),
    })
}
