//! An OAuth2 and OpenID provider: clients `runtime` (secret `hush`) and `workflow-runtime-id` (secret `workflow-runtime-secret`), the user `ada` with the password `lovelace`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Shared, WebRequest, not_found};

const CLIENTS: [(&str, &str); 2] =
    [("runtime", "hush"), ("workflow-runtime-id", "workflow-runtime-secret")];

pub(super) fn answer(shared: &Shared, request: &WebRequest, segments: &[&str]) -> Response {
    match segments {
        ["token"] => token(shared, request),
        ["whoami"] => whoami(shared, request),
        ["forget"] => {
            shared.memory().tokens.clear();
            StatusCode::NO_CONTENT.into_response()
        }
        _ => not_found(),
    }
}

pub(super) fn configuration(shared: &Shared, below: &str) -> Response {
    let issuer = format!("{}{below}", shared.base);
    let token =
        if below.is_empty() { format!("{issuer}/oauth2/token") } else { format!("{issuer}/token") };
    Json(json!({ "issuer": issuer, "token_endpoint": token })).into_response()
}

fn whoami(shared: &Shared, request: &WebRequest) -> Response {
    let given = request.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
    if shared.memory().tokens.iter().any(|token| token == given) {
        return Json(json!({ "authenticated": true })).into_response();
    }
    StatusCode::UNAUTHORIZED.into_response()
}

fn token(shared: &Shared, request: &WebRequest) -> Response {
    let fields = Fields::of(request);
    if let Err(error) = fields.check_client(request).and_then(|()| fields.check_grant()) {
        let status = if error == "invalid_client" {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::BAD_REQUEST
        };
        return (status, Json(json!({ "error": error }))).into_response();
    }
    let mut memory = shared.memory();
    let count = memory.tokens.len() + 1;
    let claims = json!({ "iss": shared.base, "sub": "runtime", "n": count }).to_string();
    let token = ["{\"alg\":\"none\"}", &claims, ""].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let token = token.join(".");
    memory.tokens.push(token.clone());
    let seconds = fields.number("expires_in").unwrap_or(3_600);
    let scope = fields.get("scope");
    Json(json!({ "access_token": token, "token_type": "Bearer", "expires_in": seconds, "scope": scope }))
        .into_response()
}

/// What a token is asked for with, as form or as JSON.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn of(request: &WebRequest) -> Self {
        let form = request.form();
        if !form.is_empty() {
            return Self(form);
        }
        let json = request.json();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields = json.as_object().into_iter().flatten();
        Self(fields.map(|(name, value)| (name.clone(), text(value))).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// A scope `expires_in:1` asks for a token that lives so many seconds.
    fn number(&self, name: &str) -> Option<u64> {
        let scopes = self.get("scope").split(' ');
        scopes
            .filter_map(|scope| scope.split_once(':'))
            .find(|(key, _)| *key == name)?
            .1
            .parse()
            .ok()
    }

    fn check_client(&self, request: &WebRequest) -> Result<(), &'static str> {
        let known = |id: &str, secret: &str| CLIENTS.contains(&(id, secret));
        if let Some(basic) = request.header("authorization").strip_prefix("Basic ") {
            let decoded = BASE64_STANDARD.decode(basic).unwrap_or_default();
            let decoded = String::from_utf8_lossy(&decoded).into_owned();
            let pair = decoded.split_once(':').unwrap_or_default();
            return if known(pair.0, pair.1) { Ok(()) } else { Err("invalid_client") };
        }
        let assertion = self.get("client_assertion");
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let asserted =
            self.get("client_assertion_type") == kind && assertion.split('.').count() == 3;
        let posted = known(self.get("client_id"), self.get("client_secret"));
        let public = self.get("client_id") == "public";
        if asserted || posted || public { Ok(()) } else { Err("invalid_client") }
    }

    fn check_grant(&self) -> Result<(), &'static str> {
        match self.get("grant_type") {
            "client_credentials" => Ok(()),
            "password" if (self.get("username"), self.get("password")) == ("ada", "lovelace") => {
                Ok(())
            }
            "refresh_token" if self.get("refresh_token") == "again" => Ok(()),
            "urn:ietf:params:oauth:grant-type:token-exchange"
                if !self.get("subject_token").is_empty()
                    && !self.get("subject_token_type").is_empty() =>
            {
                Ok(())
            }
            "password" | "refresh_token" => Err("invalid_grant"),
            _ => Err("unsupported_grant_type"),
        }
    }
}
