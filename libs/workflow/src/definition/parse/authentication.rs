//! Authentication policies: inline, reusable, and from a secret.

use serde_json::Value;

use super::call::may_be_text;
use super::{Object, Parser, at, is};
use crate::expression::{Template, strip};

/// A parsed policy.
pub(super) struct Policy {
    pub(super) template: Template,
    /// The scheme of the `Authorization` header that comes of it.
    pub(super) scheme: &'static str,
}

/// A kind of policy.
struct Shape {
    name: &'static str,
    scheme: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const SHAPES: [Shape; 5] = [
    Shape { name: "basic", scheme: "Basic", required: &["username", "password"], optional: &[] },
    Shape { name: "bearer", scheme: "Bearer", required: &["token"], optional: &[] },
    Shape { name: "digest", scheme: "Digest", required: &["username", "password"], optional: &[] },
    Shape {
        name: "oauth2",
        scheme: "Bearer",
        required: &["authority", "grant"],
        optional: &[
            "endpoints",
            "client",
            "request",
            "issuers",
            "scopes",
            "audiences",
            "username",
            "password",
            "subject",
            "actor",
        ],
    },
    Shape {
        name: "oidc",
        scheme: "Bearer",
        required: &["authority", "grant"],
        optional: &[
            "client",
            "request",
            "issuers",
            "scopes",
            "audiences",
            "username",
            "password",
            "subject",
            "actor",
        ],
    },
];
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const GRANTS: [&str; 3] = ["client_credentials", "password", EXCHANGE];
const CLIENT_METHODS: [&str; 5] =
    ["client_secret_post", "client_secret_basic", "client_secret_jwt", "private_key_jwt", "none"];
const ENCODINGS: [&str; 2] = ["application/x-www-form-urlencoded", "application/json"];

impl Parser<'_> {
    /// A policy, or the name of one in `use.authentications`.
    pub(super) fn authentication(&mut self, value: &Value, pointer: &str) -> Option<Policy> {
        let map = self.object(value, pointer, "`authentication`")?;
        let Some(name) = map.get("use") else { return self.policy(value, pointer) };
        self.only(map, pointer, "an `authentication` with `use`", &["use"]);
        let at_use = at(pointer, "use");
        let name = self.text(name, &at_use, "`use`")?;
        let found = self.reuse("authentications", name, &at_use)?;
        self.policy(found, &at("/use/authentications", name))
    }

    /// A policy itself.
    pub(super) fn policy(&mut self, value: &Value, pointer: &str) -> Option<Policy> {
        let map = self.object(value, pointer, "an authentication policy")?;
        let known = SHAPES.each_ref().map(|shape| shape.name);
        self.only(map, pointer, "an authentication policy", &known);
        let mut given = SHAPES.iter().filter(|shape| map.contains_key(shape.name));
        let (Some(shape), None) = (given.next(), given.next()) else {
            let message = format!("an authentication policy has one of {}", known.join(", "));
            self.problem(pointer, message);
            return None;
        };
        let pointer = at(pointer, shape.name);
        let properties = map.get(shape.name)?;
        let properties = self.object(properties, &pointer, &format!("`{}`", shape.name))?;
        let template = match properties.get("use") {
            Some(secret) => self.secret_policy(properties, secret, &pointer)?,
            None => self.properties(shape, properties, &pointer),
        };
        let template = Template::Object(vec![(shape.name.to_owned(), template)]);
        Some(Policy { template, scheme: shape.scheme })
    }

    /// `{use: NAME}`: the properties are those of a secret.
    fn secret_policy(&mut self, map: &Object, name: &Value, pointer: &str) -> Option<Template> {
        self.only(map, pointer, "a policy from a secret", &["use"]);
        let pointer = at(pointer, "use");
        let name = self.text(name, &pointer, "`use`")?;
        if !self.secrets.iter().any(|secret| secret == name) {
            let there = match self.secrets.is_empty() {
                true => "nothing".to_owned(),
                false => self.secrets.join(", "),
            };
            self.problem(pointer, format!("`{name}` is not in use.secrets, which has {there}"));
            return None;
        }
        Some(Template::Literal(Value::Object(map.clone())))
    }

    fn properties(&mut self, shape: &Shape, map: &Object, pointer: &str) -> Template {
        let known: Vec<&str> = shape.required.iter().chain(shape.optional).copied().collect();
        self.only(map, pointer, &format!("`{}`", shape.name), &known);
        for field in shape.required.iter().filter(|field| !map.contains_key(**field)) {
            self.problem(
                pointer,
                format!("`{}` needs `{field}`, or `use` with a secret's name", shape.name),
            );
        }
        if shape.optional.contains(&"client") {
            self.oauth(map, pointer);
        }
        let mut entries = Vec::with_capacity(map.len());
        for (key, value) in map {
            let pointer = at(pointer, key);
            let template = match (key.as_str(), value) {
                ("authority", _) => self.uri(value, &pointer, "`authority`"),
                ("endpoints", Value::Object(endpoints)) => {
                    self.oauth_endpoints(endpoints, &pointer)
                }
                (
                    "client" | "request" | "issuers" | "scopes" | "audiences" | "subject" | "actor",
                    _,
                ) => {
                    let variables = self.variables(&[]);
                    Some(self.template(value, &pointer, &variables))
                }
                (field, _) => self.credential(field, value, &pointer),
            };
            entries.extend(template.map(|template| (key.clone(), template)));
        }
        Template::Object(entries)
    }

    /// A string, or an expression that gives one.
    fn credential(&mut self, field: &str, value: &Value, pointer: &str) -> Option<Template> {
        let variables = self.variables(&[]);
        let template = self.template(value, pointer, &variables);
        if may_be_text(&template) {
            return Some(template);
        }
        let what = is(value);
        self.problem(pointer, format!("`{field}` must be a string, not {what}; quote it"));
        None
    }

    fn oauth_endpoints(&mut self, map: &Object, pointer: &str) -> Option<Template> {
        self.only(map, pointer, "`endpoints`", &["token", "revocation", "introspection"]);
        let mut entries = Vec::with_capacity(map.len());
        for (key, value) in map {
            let pointer = at(pointer, key);
            let template = self.uri_template(value, &pointer, "an endpoint");
            entries.extend(template.map(|template| (key.clone(), template)));
        }
        Some(Template::Object(entries))
    }

    /// What the grant and the client's authentication need.
    fn oauth(&mut self, map: &Object, pointer: &str) {
        if let Some(grant) = map.get("grant") {
            self.one_of(grant, &at(pointer, "grant"), "grant", &GRANTS);
        }
        let needs: &[&str] = match map.get("grant").and_then(Value::as_str) {
            Some("password") => &["username", "password"],
            Some(EXCHANGE) => &["subject"],
            _ => &[],
        };
        for field in needs.iter().filter(|field| !map.contains_key(**field)) {
            self.problem(pointer, format!("this grant needs `{field}`"));
        }
        if let Some(request) = map.get("request") {
            let pointer = at(pointer, "request");
            let Some(request) = self.object(request, &pointer, "`request`") else { return };
            self.only(request, &pointer, "`request`", &["encoding"]);
            if let Some(encoding) = request.get("encoding") {
                self.one_of(encoding, &at(&pointer, "encoding"), "encoding", &ENCODINGS);
            }
        }
        for name in ["subject", "actor"] {
            let Some(token) = map.get(name) else { continue };
            let pointer = at(pointer, name);
            let Some(token) = self.object(token, &pointer, "a token") else { continue };
            self.only(token, &pointer, "a token", &["token", "type"]);
        }
        self.oauth_client(map, pointer);
    }

    fn oauth_client(&mut self, map: &Object, pointer: &str) {
        let pointer = at(pointer, "client");
        let Some(client) = map.get("client") else {
            return self.problem(pointer, "`client` is missing: its `id` and `secret`");
        };
        let Some(client) = self.object(client, &pointer, "`client`") else { return };
        self.only(client, &pointer, "`client`", &["id", "secret", "assertion", "authentication"]);
        let method = client.get("authentication");
        if let Some(method) = method {
            self.one_of(method, &at(&pointer, "authentication"), "authentication", &CLIENT_METHODS);
        }
        let needs: &[&str] = match method.and_then(Value::as_str) {
            Some("none") => &[],
            Some("private_key_jwt") => &["id", "assertion"],
            _ => &["id", "secret"],
        };
        for field in needs.iter().filter(|field| !client.contains_key(**field)) {
            self.problem(pointer.clone(), format!("`client` needs `{field}`"));
        }
    }

    /// A text that is one of `known`, or an expression.
    pub(super) fn one_of(&mut self, value: &Value, pointer: &str, what: &str, known: &[&str]) {
        match value {
            Value::String(text) if strip(text).is_some() || known.contains(&text.as_str()) => {}
            other => {
                let message =
                    format!("`{what}` is {}, but must be one of {}", is(other), known.join(", "));
                self.problem(pointer, message);
            }
        }
    }
}
