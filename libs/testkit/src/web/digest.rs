//! Digest access authentication (RFC 7616), from the server's side.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::WWW_AUTHENTICATE;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::WebRequest;

const REALM: &str = "me@kennethreitz.com";
const NONCE: &str = "dcd98b7102dd2f0e8b11d0f600bfb0c093";

pub(super) fn answer(
    request: &WebRequest,
    qop: &str,
    (user, password): (&str, &str),
    algorithm: &str,
) -> Response {
    let algorithm = if algorithm.is_empty() { "MD5" } else { algorithm };
    if is_right(request, qop, (user, password), algorithm) {
        return Json(json!({ "authenticated": true, "user": user })).into_response();
    }
    let offered = if qop == "none" { String::new() } else { format!(", qop=\"{qop}\"") };
    let challenge = format!(
        "Digest realm=\"{REALM}\", nonce=\"{NONCE}\"{offered}, opaque=\"5ccc\", algorithm={algorithm}, stale=FALSE"
    );
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
}

fn is_right(
    request: &WebRequest,
    qop: &str,
    (user, password): (&str, &str),
    algorithm: &str,
) -> bool {
    let Some(given) = request.header("authorization").strip_prefix("Digest ") else {
        return false;
    };
    let given = fields(given);
    let field = |name: &str| given.get(name).map_or("", String::as_str);
    let mut secret = hash(algorithm, &format!("{user}:{REALM}:{password}"));
    if algorithm.ends_with("-sess") {
        secret = hash(algorithm, &format!("{secret}:{NONCE}:{}", field("cnonce")));
    }
    let what = hash(algorithm, &format!("{}:{}", request.method, field("uri")));
    let proof = if qop == "none" {
        format!("{secret}:{NONCE}:{what}")
    } else {
        let (count, own) = (field("nc"), field("cnonce"));
        format!("{secret}:{NONCE}:{count}:{own}:{}:{what}", field("qop"))
    };
    let same = [("username", user), ("realm", REALM), ("nonce", NONCE), ("opaque", "5ccc")];
    same.iter().all(|(name, value)| field(name) == *value)
        && field("uri").split('?').next() == Some(request.path.as_str())
        && (qop == "none" || qop.split(',').any(|one| one.trim() == field("qop")))
        && field("response") == hash(algorithm, &proof)
}

/// `name="value", name=value`; the values that matter here have no comma.
fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        .collect()
}

fn hash(algorithm: &str, text: &str) -> String {
    if algorithm.starts_with("SHA-256") {
        return hex(&<sha2::Sha256 as sha2::Digest>::digest(text));
    }
    hex(&<md5::Md5 as md5::Digest>::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
