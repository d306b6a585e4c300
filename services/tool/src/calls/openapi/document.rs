//! OpenAPI 3.0 and 3.1, and Swagger 2: finding an operation.

use muster_document::Bounds;
use reqwest::{Method, Url};
use serde_json::Value;

use super::operation::{Body, Operation};
use super::parameters::Parameter;
use crate::calls::raised;
use crate::error::Error;

const BOUNDS: Bounds = Bounds { bytes: super::MAX_DOCUMENT, values: 1_000_000, depth: 120 };
/// How often a reference may lead to another one.
const MAX_REFERENCES: usize = 16;
/// Operations that an error names.
const NAMED: usize = 20;
const METHODS: [(&str, Method); 7] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("options", Method::OPTIONS),
    ("head", Method::HEAD),
    ("patch", Method::PATCH),
];

/// A document that was read, with where it was found.
pub(in crate::calls) struct Document {
    root: Value,
    url: Url,
    swagger: bool,
}

impl Document {
    /// Reads YAML or JSON.
    pub(super) fn parse(body: &[u8], url: Url) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        let root = muster_document::read(text, &BOUNDS).map_err(|error| error.to_string())?;
        let version = |field: &str| root.get(field).map(|v| v.to_string().replace('"', ""));
        match (version("swagger"), version("openapi")) {
            (Some(version), _) if version.starts_with('2') => Ok(Self { root, url, swagger: true }),
            (None, Some(version)) if version.starts_with("3.") => {
                Ok(Self { root, url, swagger: false })
            }
            (swagger, openapi) => {
                let found = swagger.or(openapi).unwrap_or_else(|| "none".to_owned());
                Err(format!(
                    "its version is {found:.40}, but must be swagger 2.0, openapi 3.0 or 3.1"
                ))
            }
        }
    }

    /// The operation with this id.
    pub(super) fn operation(&self, id: &str) -> Result<Operation, Error> {
        let mut known = Vec::new();
        for (path, item) in self.root.get("paths").and_then(Value::as_object).into_iter().flatten()
        {
            let item = self.resolve(item);
            for (name, method) in METHODS {
                let Some(operation) = item.get(name) else { continue };
                let found = id_of(operation, name, path);
                if found == id {
                    return self.describe((path, id), method, item, operation);
                }
                known.push(found);
            }
        }
        let count = known.len();
        known.sort();
        known.truncate(NAMED);
        let known = known.join(", ");
        let detail =
            format!("the document {} has no operation {id:?}; it has {count}: {known}", self.url);
        Err(raised("configuration", 404, detail))
    }

    /// Shows each operation with its id and method.
    pub(super) fn visit<'v>(
        &'v self,
        see: &mut impl FnMut((String, &'static str), &'v Value, &'v Value),
    ) {
        for (path, item) in self.root.get("paths").and_then(Value::as_object).into_iter().flatten()
        {
            let item = self.resolve(item);
            for (name, _) in METHODS {
                if let Some(operation) = item.get(name) {
                    see((id_of(operation, name, path), name), item, operation);
                }
            }
        }
    }

    /// What has a name in a part of the document.
    pub(super) fn at(&self, place: &str, name: &str) -> Option<&Value> {
        let part = self.root.pointer(place.trim_start_matches('#').trim_end_matches('/'))?;
        part.get(name.replace("~1", "/").replace("~0", "~"))
    }

    fn describe(
        &self,
        (path, id): (&str, &str),
        method: Method,
        item: &Value,
        operation: &Value,
    ) -> Result<Operation, Error> {
        let mut parameters: Vec<Parameter> = Vec::new();
        for owner in [item, operation] {
            let described = owner.get("parameters").and_then(Value::as_array);
            for parameter in described.into_iter().flatten() {
                let parameter = Parameter::parse(self.resolve(parameter), self.swagger)
                    .map_err(|problem| self.damaged(id, &problem))?;
                // What the operation says counts more than what its path says.
                parameters.retain(|other| !other.is_same(&parameter));
                parameters.push(parameter);
            }
        }
        let base = if self.swagger { self.swagger_base() } else { self.server(item, operation) };
        let base = base.ok_or_else(|| self.damaged(id, "its server is no http address"))?;
        let body = if self.swagger {
            self.consumed(operation)
        } else {
            operation.get("requestBody").map(|body| Body::parse(self.resolve(body)))
        };
        let uri = format!("{}{path}", base.as_str().trim_end_matches('/'));
        Ok(Operation { id: id.to_owned(), method, uri, parameters, body })
    }

    fn damaged(&self, id: &str, problem: &str) -> Error {
        let detail = format!("the operation {id:?} of {} cannot be called: {problem}", self.url);
        raised("configuration", 400, detail)
    }

    /// Follows references within the document.
    pub(super) fn resolve<'v>(&'v self, mut value: &'v Value) -> &'v Value {
        for _ in 0..MAX_REFERENCES {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { break };
            let found = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            let Some(found) = found else { break };
            value = found;
        }
        value
    }

    /// What a body of Swagger 2 is written as.
    fn consumed(&self, operation: &Value) -> Option<Body> {
        let consumes = operation.get("consumes").or_else(|| self.root.get("consumes"));
        let kinds = consumes.and_then(Value::as_array).into_iter().flatten();
        Some(Body::of(kinds.filter_map(Value::as_str), false))
    }

    fn swagger_base(&self) -> Option<Url> {
        let text = |field: &str| self.root.get(field).and_then(Value::as_str);
        let schemes = self.root.get("schemes").and_then(Value::as_array);
        let schemes: Vec<&str> =
            schemes.into_iter().flatten().filter_map(Value::as_str).filter(|s| is_web(s)).collect();
        let own = self.url.scheme();
        let scheme =
            if schemes.contains(&own) { own } else { schemes.first().copied().unwrap_or(own) };
        let host = match (text("host"), self.url.host_str(), self.url.port()) {
            (Some(host), ..) => host.to_owned(),
            (None, Some(host), Some(port)) => format!("{host}:{port}"),
            (None, host, _) => host.unwrap_or_default().to_owned(),
        };
        let path = text("basePath").unwrap_or("/");
        Url::parse(&format!("{scheme}://{host}/{}", path.trim_start_matches('/'))).ok()
    }

    /// The first server, with the defaults of its variables; it may be relative to the document.
    fn server(&self, item: &Value, operation: &Value) -> Option<Url> {
        let servers =
            [operation, item, &self.root].into_iter().filter_map(|owner| owner.get("servers"));
        let server = servers.filter_map(|servers| servers.get(0)).next();
        let mut url = server
            .and_then(|server| server.get("url"))
            .and_then(Value::as_str)
            .unwrap_or("/")
            .to_owned();
        let variables =
            server.and_then(|server| server.get("variables")).and_then(Value::as_object);
        for (name, variable) in variables.into_iter().flatten() {
            let default = variable.get("default").and_then(Value::as_str).unwrap_or_default();
            url = url.replace(&format!("{{{name}}}"), default);
        }
        self.url.join(&url).ok().filter(|url| is_web(url.scheme()))
    }
}

/// The id of an operation; one without is known by its method and path.
fn id_of(operation: &Value, method: &str, path: &str) -> String {
    let id = operation.get("operationId").and_then(Value::as_str);
    id.map_or_else(|| format!("{method} {path}"), str::to_owned)
}

fn is_web(scheme: &str) -> bool {
    matches!(scheme, "http" | "https")
}
