//! What the operations of a document take, as JSON Schema.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::document::Document;
use crate::calls::answer::is_json;

/// Where schemas of a document are, and where they are in the schema that is made of them.
const PLACES: [&str; 2] = ["#/components/schemas/", "#/definitions/"];
const DEFS: &str = "#/$defs/";
/// The most schemas that one operation refers to.
const MAX_DEFS: usize = 200;
/// What a schema is not the poorer without.
const LEFT_OUT: [&str; 7] =
    ["example", "examples", "xml", "externalDocs", "discriminator", "readOnly", "writeOnly"];
/// What describes a parameter of Swagger 2 and is none of its schema.
const OF_PARAMETERS: [&str; 6] =
    ["name", "in", "required", "collectionFormat", "allowEmptyValue", "description"];

/// An operation as it is shown.
pub(crate) struct Described {
    pub(crate) id: String,
    pub(crate) description: String,
    /// `get`, `post` and so on.
    pub(crate) method: &'static str,
    /// Of the type `object`: parameters and the fields of the body by their names.
    pub(crate) parameters: Value,
}

impl Document {
    /// All operations in the order of the document.
    pub(in crate::calls) fn operations(&self) -> Vec<Described> {
        let mut described = Vec::new();
        self.visit(&mut |(id, method), item, operation| {
            let text = |name: &str| operation.get(name).and_then(Value::as_str).map(str::trim);
            let texts = [text("summary"), text("description")];
            let texts: Vec<&str> = texts.into_iter().flatten().filter(|t| !t.is_empty()).collect();
            described.push(Described {
                id,
                method,
                description: texts.join("\n\n"),
                parameters: self.schema_of(item, operation),
            });
        });
        described
    }

    fn schema_of(&self, item: &Value, operation: &Value) -> Value {
        let mut schema = Fields::of(self);
        for owner in [item, operation] {
            let described = owner.get("parameters").and_then(Value::as_array);
            for parameter in described.into_iter().flatten() {
                schema.parameter(self.resolve(parameter));
            }
        }
        if let Some(body) = operation.get("requestBody") {
            schema.body(self.resolve(body));
        }
        schema.finish()
    }
}

/// The schema under way.
struct Fields<'d> {
    document: &'d Document,
    properties: Map<String, Value>,
    required: BTreeSet<String>,
    /// Schemas that are referred to.
    wanted: Vec<String>,
}

impl<'d> Fields<'d> {
    fn of(document: &'d Document) -> Self {
        Self { document, properties: Map::new(), required: BTreeSet::new(), wanted: Vec::new() }
    }

    fn parameter(&mut self, parameter: &Value) {
        let text = |field: &str| parameter.get(field).and_then(Value::as_str).unwrap_or_default();
        let name = text("name").to_owned();
        let mut schema = match (parameter.get("schema"), parameter.get("content")) {
            (Some(schema), _) => schema.clone(),
            (None, Some(_)) => json!({}),
            // Swagger 2 says it beside the name.
            (None, None) => {
                let fields = parameter.as_object().into_iter().flatten();
                let own = fields.filter(|(field, _)| !OF_PARAMETERS.contains(&field.as_str()));
                Value::Object(own.map(|(field, value)| (field.clone(), value.clone())).collect())
            }
        };
        let told = Some(text("description")).filter(|told| !told.is_empty());
        if let (Some(fields), Some(told)) = (schema.as_object_mut(), told) {
            fields.entry("description").or_insert_with(|| json!(told));
        }
        let schema = self.clean(&schema);
        if parameter.get("required").and_then(Value::as_bool).unwrap_or_default() {
            self.required.insert(name.clone());
        }
        self.properties.insert(name, schema);
    }

    /// The fields of an object are fields of the arguments; any other body is the argument `body`.
    fn body(&mut self, body: &Value) {
        let required = body.get("required").and_then(Value::as_bool).unwrap_or_default();
        let kinds = body.get("content").and_then(Value::as_object);
        let kind = kinds.and_then(|kinds| {
            let json = kinds.iter().find(|(kind, _)| is_json(kind));
            json.or_else(|| kinds.iter().next())
        });
        let schema = kind.and_then(|(_, kind)| kind.get("schema")).cloned().unwrap_or_default();
        let whole = self.document.resolve(&schema);
        let fields = whole.get("properties").and_then(Value::as_object);
        let is_plain = !["allOf", "anyOf", "oneOf"].iter().any(|field| whole.get(field).is_some());
        match fields {
            Some(fields)
                if is_plain && fields.keys().all(|name| !self.properties.contains_key(name)) =>
            {
                for (name, field) in fields {
                    let field = self.clean(field);
                    self.properties.insert(name.clone(), field);
                }
                let names = whole.get("required").and_then(Value::as_array).filter(|_| required);
                let names = names.into_iter().flatten().filter_map(Value::as_str);
                self.required.extend(names.map(str::to_owned));
            }
            _ => {
                let schema = self.clean(&schema);
                self.properties.insert("body".to_owned(), schema);
                if required {
                    self.required.insert("body".to_owned());
                }
            }
        }
    }

    fn finish(mut self) -> Value {
        let mut defs = Map::new();
        while let Some(name) = self.wanted.pop() {
            if defs.contains_key(&name) {
                continue;
            }
            let found = PLACES.iter().find_map(|place| self.document.at(place, &name));
            let schema = if defs.len() < MAX_DEFS { found } else { None };
            let schema = schema.cloned().map_or_else(|| json!({}), |found| self.clean(&found));
            defs.insert(name, schema);
        }
        let mut schema = json!({ "type": "object", "properties": self.properties });
        if let Some(fields) = schema.as_object_mut() {
            if !self.required.is_empty() {
                fields.insert("required".to_owned(), json!(self.required));
            }
            if !defs.is_empty() {
                fields.insert("$defs".to_owned(), Value::Object(defs));
            }
        }
        schema
    }

    /// The schema as JSON Schema knows it; what it refers to is wanted.
    fn clean(&mut self, schema: &Value) -> Value {
        match schema {
            Value::Array(items) => items.iter().map(|item| self.clean(item)).collect(),
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    return self.reference(reference);
                }
                let mut cleaned = Map::new();
                for (name, value) in fields {
                    let is_old = name.starts_with("exclusiveM") && value.is_boolean();
                    if is_old || name.starts_with("x-") || LEFT_OUT.contains(&name.as_str()) {
                        continue;
                    }
                    if matches!(name.as_str(), "enum" | "const" | "default" | "required") {
                        cleaned.insert(name.clone(), value.clone());
                    } else {
                        let value = self.clean(value);
                        cleaned.insert(name.clone(), value);
                    }
                }
                nullable(&mut cleaned);
                Value::Object(cleaned)
            }
            other => other.clone(),
        }
    }

    fn reference(&mut self, reference: &str) -> Value {
        let name = PLACES.iter().find_map(|place| reference.strip_prefix(place));
        let Some(name) = name.filter(|name| !name.contains('/')) else { return json!({}) };
        self.wanted.push(name.to_owned());
        json!({ "$ref": format!("{DEFS}{name}") })
    }
}

/// `nullable` of OpenAPI 3.0.
fn nullable(schema: &mut Map<String, Value>) {
    let is_nullable = schema.remove("nullable").is_some_and(|value| value == true);
    if !is_nullable || schema.contains_key("enum") {
        return;
    }
    if let Some(Value::String(kind)) = schema.get("type") {
        let kinds = json!([kind, "null"]);
        schema.insert("type".to_owned(), kinds);
    }
}
