//! The specification's own JSON Schema.
//!
//! It is not applied to a document as a whole: a task is one of many types, and each type may hold
//! tasks, so that looking for the reason of a violation takes time exponential in the depth. Here
//! each task is checked by itself, as the type that it is, which also gives better messages.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use muster_document::{Bounds, Schema};
use serde_json::{Value, json};

use crate::external::CONTENT;
use crate::model::{Kind, Node};
use crate::problem::Problems;

const TEXT: &str = include_str!("../../../schema/workflow-1.0.3.yaml");

/// More than the specification's own schema has.
const BOUNDS: Bounds = Bounds { bytes: 1 << 20, values: 1 << 20, depth: 100 };

/// The schema of a document without its tasks, and those of the types of tasks.
struct Schemas {
    document: Schema,
    tasks: BTreeMap<&'static str, Schema>,
}

static SCHEMAS: LazyLock<Result<Schemas, String>> = LazyLock::new(|| {
    let mut schema: Value =
        muster_document::read(TEXT, &BOUNDS).map_err(|error| error.to_string())?;
    // The reference says that any value may be a workflow's input.
    relax(
        &mut schema,
        "/$defs/runTask/allOf/1/properties/run/oneOf/3/properties/workflow/properties/input",
        json!({}),
    )?;
    // An expression is a text too, so that one would be both; what it must be is checked here.
    relax(&mut schema, "/$defs/eventProperties/properties/time", json!({}))?;
    // What is fetched stands beside its address.
    let resource = schema.pointer_mut("/$defs/externalResource/properties");
    let resource = resource.and_then(Value::as_object_mut).ok_or("externalResource is missing")?;
    resource.insert(CONTENT.to_owned(), json!({}));
    // The tasks of functions are checked as tasks.
    relax(&mut schema, "/properties/use/properties/functions/additionalProperties", json!({}))?;
    let calls = schema.pointer("/$defs/callTask/oneOf").and_then(Value::as_array).cloned();
    let title = |call: &Value| Some(call.get("title")?.as_str()?.to_owned());
    let calls = calls.into_iter().flatten().filter_map(|call| Some((title(&call)?, call)));
    let definitions = schema.get_mut("$defs").and_then(Value::as_object_mut);
    let definitions = definitions.ok_or("$defs is missing")?;
    definitions.insert("taskList".to_owned(), json!({"type": "array"}));
    definitions.extend(calls);
    definitions.remove("callTask");
    let definitions = definitions.clone();
    let task = |(name, title): (&'static str, &str)| {
        let reference = format!("#/$defs/{title}");
        let schema = json!({"$ref": reference, "$defs": definitions});
        Ok((name, Schema::trusted(&schema)?))
    };
    let kinds = [
        ("do", "doTask"),
        ("set", "setTask"),
        ("switch", "switchTask"),
        ("for", "forTask"),
        ("fork", "forkTask"),
        ("try", "tryTask"),
        ("raise", "raiseTask"),
        ("wait", "waitTask"),
        ("run", "runTask"),
        ("listen", "listenTask"),
        ("emit", "emitTask"),
        ("call", "CallFunction"),
        ("http", "CallHTTP"),
        ("openapi", "CallOpenAPI"),
        ("mcp", "CallMCP"),
        ("a2a", "CallA2A"),
        ("asyncapi", "CallAsyncAPI"),
    ];
    let tasks = kinds.into_iter().map(task).collect::<Result<_, String>>()?;
    Ok(Schemas { document: Schema::trusted(&schema)?, tasks })
});

/// Replaces a part of the schema.
fn relax(schema: &mut Value, pointer: &str, by: Value) -> Result<(), String> {
    let part = schema.pointer_mut(pointer).ok_or_else(|| format!("{pointer} is missing"))?;
    *part = by;
    Ok(())
}

/// Adds what the schema does not allow.
pub(super) fn check(document: &Value, nodes: &[Node], problems: &mut Problems) {
    let schemas = match &*SCHEMAS {
        Ok(schemas) => schemas,
        Err(error) => return problems.add("", format!("the DSL's schema is unusable: {error}")),
    };
    let mut add = |schema: &Schema, value: &Value, pointer: &str| {
        let mut violations = schema.violations(value);
        if violations.iter().any(|(below, _)| !below.is_empty()) {
            // What is wrong inside says more than that the whole is wrong.
            violations.retain(|(below, _)| !below.is_empty());
        }
        for (below, message) in violations {
            let message = format!("the DSL 1.0.3 does not allow this: {message}");
            problems.add(format!("{pointer}{below}"), message);
        }
    };
    add(&schemas.document, document, "");
    for node in nodes.iter().filter(|node| !node.is_extension) {
        let schema = schemas.tasks.get(name(&node.kind));
        if let (Some(schema), Some(task)) = (schema, document.pointer(&node.pointer)) {
            add(schema, task, &node.pointer);
        }
    }
}

/// The name of the schema of a task.
fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Call { function, .. } if function.is_outward() => function.name(),
        Kind::Listen(listen) if listen.is_called => "asyncapi",
        Kind::Emit(emit) if emit.is_called => "asyncapi",
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_embedded_schema_compiles() {
        assert_eq!(super::SCHEMAS.as_ref().map(|schemas| schemas.tasks.len()).ok(), Some(17));
    }
}
