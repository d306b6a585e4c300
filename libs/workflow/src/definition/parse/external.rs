//! What a document needs from outside: functions of catalogs and schemas at an address.

use std::cell::Cell;

use serde_json::Value;

use super::{Object, Parser, at, is};
use crate::expression::{Surroundings, strip};
use crate::external::{External, Need, raw_address};
use crate::limits;

/// Whether a function's name says where it is: an address, or `name:version@catalog`.
pub(super) fn is_external(name: &str) -> bool {
    name.contains("://") || name.contains('@')
}

impl Parser<'_> {
    /// Checks the catalogs of `use`.
    pub(super) fn catalogs(&mut self, catalogs: &Object) {
        for (name, catalog) in catalogs {
            let pointer = at("/use/catalogs", name);
            let Some(map) = self.object(catalog, &pointer, "a catalog") else { continue };
            self.only(map, &pointer, "a catalog", &["endpoint"]);
            let place = self.place_of(map, &pointer);
            self.catalogs.insert(name.clone(), place);
        }
    }

    /// Notes that a function must be fetched.
    pub(super) fn external_function(&mut self, name: &str, pointer: &str) {
        if name.contains("://") {
            let need = Need::Function { name: name.to_owned() };
            return self.need(need, pointer, raw_address(name), None);
        }
        let parts = name.rsplit_once('@');
        let parts =
            parts.and_then(|(function, catalog)| Some((function.split_once(':')?, catalog)));
        let Some(((function, version), catalog)) = parts else {
            let message = format!(
                "`{name}` is no function of a catalog: write name:version@catalog, such as \
                 log:1.0.0@global"
            );
            return self.problem(pointer, message);
        };
        let right = |part: &str| {
            !part.is_empty()
                && !part.contains("..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
        };
        if !right(function) || !right(version) {
            let message = format!(
                "`{function}` and `{version}` in `{name}` may have letters, digits, and - _ . +"
            );
            return self.problem(pointer, message);
        }
        if self.reuse("catalogs", catalog, pointer).is_none() {
            return;
        }
        // What is wrong with the catalog is told where it stands.
        let Some(Some((root, authentication))) = self.catalogs.get(catalog).cloned() else {
            return;
        };
        let root = root.trim_end_matches('/');
        let address = format!("{root}/functions/{function}/{version}/function.yaml");
        let need = Need::Function { name: name.to_owned() };
        self.need(need, pointer, raw_address(&address), authentication);
    }

    /// Notes that a schema must be fetched.
    pub(super) fn external_schema(&mut self, resource: &Value, pointer: &str) {
        let at_resource = at(pointer, "resource");
        let Some(map) = self.object(resource, &at_resource, "`resource`") else { return };
        self.only(map, &at_resource, "`resource`", &["name", "endpoint"]);
        let Some((uri, authentication)) = self.place_of(map, &at_resource) else { return };
        self.need(Need::Schema, pointer, raw_address(&uri), authentication);
    }

    /// Notes that an AsyncAPI document must be fetched.
    pub(super) fn external_channels(&mut self, resource: &Object, pointer: &str) {
        let Some((uri, authentication)) = self.place_of(resource, pointer) else { return };
        self.need(Need::Channels, pointer, raw_address(&uri), authentication);
    }

    /// The endpoint of something that is fetched when the workflow is registered.
    fn place_of(&mut self, map: &Object, pointer: &str) -> Option<(String, Option<Value>)> {
        let pointer = at(pointer, "endpoint");
        let Some(endpoint) = map.get("endpoint") else {
            self.problem(pointer, "`endpoint` is missing: where it is");
            return None;
        };
        if let Some(map) = endpoint.as_object() {
            self.only(map, &pointer, "an endpoint", &["uri", "authentication"]);
        }
        let Some((uri, authentication)) = parts_of(endpoint) else {
            let message = format!(
                "`endpoint` must be a URI or a map with `uri`, not {}",
                is(endpoint.get("uri").unwrap_or(endpoint))
            );
            self.problem(pointer, message);
            return None;
        };
        if !uri.starts_with("http://") && !uri.starts_with("https://") || uri.contains(['{', '}']) {
            let message = format!(
                "`{uri}` must be an http or https address without expressions or variables: it is \
                 fetched when the workflow is registered"
            );
            self.problem(pointer, message);
            return None;
        }
        let at_policy = at(&pointer, "authentication");
        let policy = authentication.and_then(|policy| self.fixed_policy(policy, &at_policy));
        Some((uri.to_owned(), policy))
    }

    /// A policy that depends on nothing but secrets.
    fn fixed_policy(&mut self, value: &Value, pointer: &str) -> Option<Value> {
        let policy = self.authentication(value, pointer)?;
        let found = value.get("use").and_then(Value::as_str);
        let found = found.and_then(|name| self.reuse("authentications", name, pointer));
        if !is_fixed(found.unwrap_or(value)) {
            let message = "it is used when the workflow is registered: nothing but $secrets.name \
                           can be in its expressions";
            self.problem(pointer, message);
            return None;
        }
        match policy.template.evaluate(&Value::Null, &Registration::default()) {
            Ok(policy) => Some(policy),
            Err(error) => {
                self.problem(pointer, error.detail);
                None
            }
        }
    }

    fn need(&mut self, need: Need, pointer: &str, uri: String, authentication: Option<Value>) {
        // A function is needed once, wherever it is called.
        let is_function = matches!(need, Need::Function { .. });
        if is_function && self.externals.iter().any(|known| known.need == need) {
            return;
        }
        let pointer = pointer.to_owned();
        self.externals.push(External { pointer, need, uri, authentication });
    }
}

/// Whether no expression in a policy reads anything but a secret.
fn is_fixed(value: &Value) -> bool {
    match value {
        Value::String(text) => strip(text).is_none_or(|inside| inside.starts_with("$secrets")),
        Value::Array(values) => values.iter().all(is_fixed),
        Value::Object(map) => map.values().all(is_fixed),
        _ => true,
    }
}

/// The place of what is evaluated when a workflow is registered.
struct Registration(Cell<u64>);

impl Default for Registration {
    fn default() -> Self {
        Registration(Cell::new(limits::TRANSITION_STEPS))
    }
}

impl Surroundings for Registration {
    fn variable(&self, _name: &str) -> Value {
        Value::Null
    }

    fn steps(&self) -> &Cell<u64> {
        &self.0
    }
}

/// The address of an endpoint and its authentication.
fn parts_of(endpoint: &Value) -> Option<(&str, Option<&Value>)> {
    match endpoint {
        Value::String(uri) => Some((uri, None)),
        Value::Object(map) => Some((map.get("uri")?.as_str()?, map.get("authentication"))),
        _ => None,
    }
}
