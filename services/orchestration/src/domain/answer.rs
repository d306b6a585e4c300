//! What a call gives the workflow: every field is there, also where its value is zero or empty, because expressions ask
//! for them by name. Messages on the wire leave such fields out.

use muster_contracts::JsonObject;
use muster_contracts::llm::v1::CompleteResponse;
use muster_contracts::template::v1::RenderedTemplate;
use muster_contracts::vector::v1::{Hit, SearchResponse};
use serde_json::{Value, json};

/// The output of `call: search`.
pub(crate) fn found(response: SearchResponse) -> Value {
    json!({
        "hits": response.hits.into_iter().map(hit).collect::<Vec<_>>(),
        "took_ms": response.took_ms,
        "embedder": response.embedder,
    })
}

fn hit(hit: Hit) -> Value {
    json!({
        "document_id": hit.document_id,
        "title": hit.title,
        "chunk": hit.chunk,
        "text": hit.text,
        "score": hit.score,
        "similarity": hit.similarity,
        "metadata": hit.metadata.map_or_else(|| json!({}), JsonObject::into_value),
    })
}

/// The output of `call: template`.
pub(crate) fn filled(template: RenderedTemplate) -> Value {
    json!({
        "text": template.text,
        "template": template.template,
        "version": template.version,
        "tokens": template.tokens,
    })
}

/// The output of `call: model`.
pub(crate) fn said(reply: CompleteResponse) -> Value {
    let usage = reply.usage.unwrap_or_default();
    json!({
        "text": reply.message.unwrap_or_default().content,
        "finish_reason": reply.finish_reason,
        "provider": reply.provider,
        "model": reply.model,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "estimated": usage.estimated,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_and_empty_fields_are_there() {
        let response = SearchResponse { hits: vec![Hit::default()], ..Default::default() };
        assert_eq!(
            found(response),
            json!({
                "hits": [{
                    "document_id": "", "title": "", "chunk": 0, "text": "", "score": 0.0, "similarity": null, "metadata": {}
                }],
                "took_ms": 0,
                "embedder": "",
            })
        );
        assert_eq!(found(SearchResponse::default())["hits"], json!([]));
        assert_eq!(
            said(CompleteResponse::default())["usage"],
            json!({"input_tokens": 0, "output_tokens": 0, "estimated": false})
        );
    }
}
