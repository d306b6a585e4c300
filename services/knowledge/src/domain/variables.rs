//! The variables of a template, and the values for them.

use muster_contracts::JsonObject;
use muster_document::Schema;
use serde_json::{Map, Value};

use super::{Flaw, shown};

/// The most variables.
const MAX_VARIABLES: usize = 64;
/// The longest name of a variable.
const MAX_NAME: usize = 63;
/// The largest schema, in bytes of its JSON.
const MAX_SCHEMA: usize = 64 << 10;
/// The largest value, in bytes of its JSON.
const MAX_VALUE: usize = 128 << 10;
/// Names that an error lists.
const LISTED: usize = 20;
/// What of a schema says what each variable is.
const EACH: [&str; 5] = ["$schema", "type", "properties", "$defs", "definitions"];
/// What of a variable's schema refuses no value.
const NO_RULES: [&str; 4] = ["default", "description", "title", "examples"];
/// What templates say themselves.
const WORDS: [&str; 17] = [
    "loop", "true", "false", "none", "not", "and", "or", "in", "is", "if", "elif", "else", "endif",
    "for", "endfor", "True", "False",
];

/// The variables that a template has.
pub(super) struct Variables<'t> {
    schema: Map<String, Value>,
    properties: Option<&'t Map<String, Value>>,
    required: Vec<&'t str>,
}

impl<'t> Variables<'t> {
    /// Reads them, and checks them without compiling the schema.
    pub(super) fn of(declared: Option<&'t JsonObject>) -> Result<Self, Flaw> {
        let Some(declared) = declared else {
            return Ok(Self { schema: Map::new(), properties: None, required: Vec::new() });
        };
        if declared.get("type").is_some_and(|kind| kind != "object") {
            let kind = declared.get("type").map(Value::to_string).unwrap_or_default();
            return Err(Flaw(format!(
                "`variables.type` is {}, but must be \"object\": each property is a variable",
                shown(&kind)
            )));
        }
        let properties = match declared.get("properties") {
            None => None,
            Some(Value::Object(properties)) => Some(properties),
            Some(other) => {
                let other = other.to_string();
                return Err(Flaw(format!(
                    "`variables.properties` is {}, but must be a map of variables",
                    shown(&other)
                )));
            }
        };
        let mut schema = declared.0.clone();
        schema.insert("type".to_owned(), "object".into());
        let required = declared.get("required").and_then(Value::as_array);
        let required = required.into_iter().flatten().filter_map(Value::as_str).collect();
        Ok(Self { schema, properties, required })
    }

    /// Checks the declaration itself.
    pub(super) fn check(&self) -> Result<(), Flaw> {
        let schema = Value::Object(self.schema.clone());
        let size = schema.to_string().len();
        if size > MAX_SCHEMA {
            return Err(Flaw(format!("`variables` has {size} bytes, {MAX_SCHEMA} at most")));
        }
        Schema::parse(&schema).map_err(|error| {
            Flaw(format!("`variables` is no JSON Schema that can be used: {error}"))
        })?;
        let names: Vec<&str> = self.names().collect();
        if names.len() > MAX_VARIABLES {
            let count = names.len();
            return Err(Flaw(format!(
                "`variables` has {count} properties, {MAX_VARIABLES} at most"
            )));
        }
        names.iter().try_for_each(|name| check_name(name))?;
        self.required.iter().try_for_each(|name| self.known(name, "`variables.required` names"))?;
        self.check_defaults()
    }

    /// A default that does not fit would make every call wrong that gives no value: whoever registers it must hear of it.
    fn check_defaults(&self) -> Result<(), Flaw> {
        let defaults = self.names().filter_map(|name| Some((name, self.default_of(name)?)));
        let mut schema = None;
        for (name, value) in defaults {
            check_size(name, value)?;
            let schema = match &schema {
                Some(schema) => schema,
                None => schema.insert(self.each()?),
            };
            let alone = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
            schema.check(&alone).map_err(|error| {
                let own = self.properties.and_then(|properties| properties.get(name));
                let own = own.and_then(Value::as_object).cloned().unwrap_or_default();
                let own = own.into_iter().filter(|(key, _)| !NO_RULES.contains(&key.as_str()));
                Flaw(format!(
                    "the variable {name:?} has the default {}, which does not fit its own schema: {error}; give it a default that fits {}, or none: then it is null",
                    shown(&value.to_string()),
                    shown(&Value::Object(own.collect()).to_string())
                ))
            })?;
        }
        Ok(())
    }

    /// The schema of each variable by itself: what is said of several of them together holds for values that are given.
    fn each(&self) -> Result<Schema, Flaw> {
        let mut own = self.schema.clone();
        own.retain(|key, _| EACH.contains(&key.as_str()));
        // References may lead to what was left away.
        Schema::parse(&Value::Object(own)).or_else(|_lost| self.without_required()).map_err(Flaw)
    }

    fn without_required(&self) -> Result<Schema, String> {
        let mut rest = self.schema.clone();
        rest.remove("required");
        Schema::parse(&Value::Object(rest))
    }

    /// Fails where it is none of them.
    pub(super) fn known(&self, name: &str, who: &str) -> Result<(), Flaw> {
        if self.properties.is_some_and(|properties| properties.contains_key(name)) {
            return Ok(());
        }
        Err(Flaw(format!(
            "{who} the variable {:?}, but the template's variables are: {}",
            shown(name),
            self.list()
        )))
    }

    /// The values of all variables: those that are given, defaults, and null.
    pub(super) fn values(&self, given: &JsonObject) -> Result<Map<String, Value>, Flaw> {
        for (name, value) in given.iter() {
            self.known(name, "`vars` has")?;
            check_size(name, value)?;
        }
        let mut values = Map::new();
        for name in self.names() {
            let value = given.get(name).or_else(|| self.default_of(name));
            if value.is_none() && self.required.contains(&name) {
                return Err(Flaw(format!(
                    "the variable {name:?} is missing; `vars` must have: {}",
                    self.required.join(", ")
                )));
            }
            if let Some(value) = value {
                values.insert(name.to_owned(), value.clone());
            }
        }
        let values = self.fitting(values)?;
        let absent = self.names().filter(|name| !values.contains_key(*name));
        let absent: Vec<String> = absent.map(str::to_owned).collect();
        let absent = absent.into_iter().map(|name| (name, Value::Null));
        Ok(absent.chain(values).collect())
    }

    fn fitting(&self, values: Map<String, Value>) -> Result<Map<String, Value>, Flaw> {
        if self.properties.is_none() {
            return Ok(values);
        }
        let schema = Schema::parse(&Value::Object(self.schema.clone())).map_err(Flaw)?;
        let values = Value::Object(values);
        schema.check(&values).map_err(|error| {
            Flaw(format!("`vars` does not fit the template's variables: {error}"))
        })?;
        match values {
            Value::Object(values) => Ok(values),
            _ => Ok(Map::new()),
        }
    }

    fn names(&self) -> impl Iterator<Item = &'t str> {
        self.properties.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    fn default_of(&self, name: &str) -> Option<&'t Value> {
        self.properties?.get(name)?.get("default")
    }

    fn list(&self) -> String {
        let mut names: Vec<&str> = self.names().collect();
        names.sort_unstable();
        names.truncate(LISTED);
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

fn check_name(name: &str) -> Result<(), Flaw> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let reads_well = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if starts_well && reads_well && name.len() <= MAX_NAME && !WORDS.contains(&name) {
        return Ok(());
    }
    Err(Flaw(format!(
        "`variables.properties` has {:?}; a variable has 1 to {MAX_NAME} of A-Z, a-z, 0-9 and `_`, begins with no digit, and is no word of the templates' own, such as `loop` and `in`",
        shown(name)
    )))
}

fn check_size(name: &str, value: &Value) -> Result<(), Flaw> {
    let size = match value {
        Value::String(text) => text.len(),
        other => other.to_string().len(),
    };
    if size > MAX_VALUE {
        return Err(Flaw(format!(
            "the variable {name:?} has {size} bytes, {MAX_VALUE} at most: give a part of it, or where it can be fetched"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is wrong with these variables.
    fn flaw(variables: Value) -> Option<String> {
        let declared = JsonObject::wrap(variables);
        let variables = Variables::of(Some(&declared)).unwrap();
        variables.check().err().map(|flaw| flaw.0)
    }

    fn tone(schema: Value) -> Option<String> {
        flaw(json!({ "properties": { "tone": schema } }))
    }

    #[test]
    fn a_default_that_does_not_fit_is_refused_with_what_would() {
        for (schema, value, part) in [
            (json!({ "type": "string" }), json!(7), "7 is not of type"),
            (json!({ "type": "string" }), Value::Null, "null is not of type"),
            (json!({ "enum": ["kind", "brief"] }), json!("loud"), "is not one of"),
            (json!({ "type": "integer", "maximum": 9 }), json!(10), "10 is greater than"),
            (json!({ "type": "array", "items": { "type": "string" } }), json!(["a", 1]), "/tone/1"),
        ] {
            let mut own = schema.clone();
            own["default"] = value.clone();
            own["description"] = json!("How it is said.");
            let told = tone(own).unwrap();
            let says = format!("the variable \"tone\" has the default {value}, which does not fit");
            assert!(told.starts_with(&says) && told.contains(part), "{told}");
            assert!(told.contains(&format!("a default that fits {schema}, or none")), "{told}");
            let mut right = schema;
            right["default"] = json!("kind");
            if right["type"] == "integer" {
                right["default"] = json!(9);
            } else if right["type"] == "array" {
                right["default"] = json!([]);
            }
            assert_eq!(tone(right), None);
        }
        let long = tone(json!({ "enum": ["x".repeat(900)], "default": "y".repeat(900) })).unwrap();
        assert!(long.len() < 1_000, "{long}");
    }

    #[test]
    fn a_default_is_judged_by_its_own_schema_alone() {
        let both = json!({
            "$defs": { "word": { "type": "string", "maxLength": 5 } },
            "required": ["who", "what"],
            "minProperties": 2,
            "additionalProperties": false,
            "dependentRequired": { "tone": ["who"] },
            "properties": {
                "who": { "type": "string" },
                "what": true,
                "tone": { "$ref": "#/$defs/word", "default": "kind" },
                "mood": { "$ref": "#/properties/tone", "default": "calm" },
            },
        });
        assert_eq!(flaw(both.clone()), None);
        let mut wrong = both;
        wrong["properties"]["mood"]["default"] = json!("melancholic");
        let told = flaw(wrong).unwrap();
        assert!(told.contains("\"mood\" has the default \"melancholic\""), "{told}");
        // A reference may lead to what is said of all of them.
        let elsewhere = |default: &str| {
            flaw(json!({
                "required": ["b"],
                "propertyNames": { "type": "string", "maxLength": 5 },
                "properties": { "a": { "$ref": "#/propertyNames", "default": default }, "b": {} },
            }))
        };
        assert_eq!(elsewhere("calm"), None);
        assert!(elsewhere("melancholic").unwrap().contains("/a: "));
    }
}
