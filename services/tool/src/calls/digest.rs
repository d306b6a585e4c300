//! Digest access authentication (RFC 7616): the answer to a server's challenge.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use muster_bus::MessageId;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};

use super::raised;
use crate::error::Error;
use crate::outbound::header_text;

/// What a server wants to be proved.
struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Option<String>,
    /// Whether it offers `qop=auth`; without any it is the older way.
    qop: bool,
}

/// The `Authorization` header that answers the challenge in the headers of a 401.
pub(super) fn answer(
    headers: &HeaderMap,
    method: &Method,
    url: &Url,
    (username, password): (&str, &str),
) -> Result<HeaderValue, Error> {
    let own = MessageId::random();
    let text = challenge(headers)?.prove(method, url, (username, password), own.as_str())?;
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_error| failed("has characters that a header cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The strongest challenge that can be answered.
fn challenge(headers: &HeaderMap) -> Result<Challenge, Error> {
    let offers = headers.get_all(WWW_AUTHENTICATE).iter().map(header_text);
    let offers = offers.filter_map(|text| Challenge::parse(&text));
    let known = |challenge: &Challenge| hash(challenge.algorithm.as_deref(), "").is_some();
    let best = offers.filter(known).max_by_key(|challenge| {
        challenge.algorithm.as_deref().is_some_and(|name| name.to_ascii_uppercase().contains("SHA"))
    });
    best.ok_or_else(|| failed("offers no digest that can be answered: MD5 and SHA-256 can, with qop=auth or without qop"))
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, fields) = text.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let mut fields = parameters(fields);
        let qop = fields.remove("qop");
        let offers_auth =
            |qop: &String| qop.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth"));
        if qop.as_ref().is_some_and(|qop| !offers_auth(qop)) {
            return None;
        }
        Some(Self {
            realm: fields.remove("realm").unwrap_or_default(),
            nonce: fields.remove("nonce")?,
            opaque: fields.remove("opaque"),
            algorithm: fields.remove("algorithm"),
            qop: qop.is_some(),
        })
    }

    fn prove(
        &self,
        method: &Method,
        url: &Url,
        (username, password): (&str, &str),
        own: &str,
    ) -> Result<String, Error> {
        if username.contains(['"', '\\']) {
            return Err(failed("cannot be given a user name with quotes"));
        }
        let hash = |text: &str| hash(self.algorithm.as_deref(), text).unwrap_or_default();
        let uri = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let (realm, nonce) = (&self.realm, &self.nonce);
        let mut secret = hash(&format!("{username}:{realm}:{password}"));
        let algorithm = self.algorithm.as_deref().unwrap_or_default();
        if algorithm.to_ascii_lowercase().ends_with("-sess") {
            secret = hash(&format!("{secret}:{nonce}:{own}"));
        }
        let what = hash(&format!("{method}:{uri}"));
        let proof = if self.qop {
            hash(&format!("{secret}:{nonce}:00000001:{own}:auth:{what}"))
        } else {
            hash(&format!("{secret}:{nonce}:{what}"))
        };
        let mut text = format!(
            "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{proof}\""
        );
        // Writing to a string cannot fail.
        if let Some(algorithm) = &self.algorithm {
            write!(text, ", algorithm={algorithm}").ok();
        }
        if let Some(opaque) = &self.opaque {
            write!(text, ", opaque=\"{opaque}\"").ok();
        }
        if self.qop || algorithm.to_ascii_lowercase().ends_with("-sess") {
            write!(text, ", cnonce=\"{own}\"").ok();
        }
        if self.qop {
            text.push_str(", qop=auth, nc=00000001");
        }
        Ok(text)
    }
}

/// `name=value, name="quoted, value"`, names in lower case.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let (mut found, mut rest) = (BTreeMap::new(), text);
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').map_or((after, ""), |(value, next)| (value, next)),
        };
        let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        found.insert(name, value.trim().to_owned());
        rest = next;
    }
    found
}

/// `None` for an algorithm that is not known.
fn hash(algorithm: Option<&str>, text: &str) -> Option<String> {
    let name = algorithm.unwrap_or("MD5").to_ascii_uppercase();
    match name.strip_suffix("-SESS").unwrap_or(&name) {
        "MD5" => Some(hex(&<md5::Md5 as md5::Digest>::digest(text))),
        "SHA-256" => Some(hex(&<sha2::Sha256 as sha2::Digest>::digest(text))),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn failed(what: &str) -> Error {
    raised("authentication", 401, format!("digest authentication: the server {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616, 3.9.1.
    #[test]
    fn a_challenge_is_answered_as_the_standard_does() {
        let check = |algorithm: &str, expected: &str| {
            let text = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let url = Url::parse("http://www.example.org/dir/index.html").unwrap();
            let own = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let challenge = Challenge::parse(&text).unwrap();
            let answer =
                challenge.prove(&Method::GET, &url, ("Mufasa", "Circle of Life"), own).unwrap();
            assert!(answer.contains(&format!("response=\"{expected}\"")), "{answer}");
        };
        check("MD5", "8ca523f5e9506fed4657c9700eebdbec");
        check("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    #[test]
    fn the_strongest_challenge_that_is_known_is_taken() {
        let mut headers = HeaderMap::new();
        for text in [
            "Basic realm=\"x\"",
            "Digest realm=\"x\", nonce=\"1\", algorithm=SHA-512-256, qop=\"auth\"",
            "Digest realm=\"x\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\"",
            "Digest realm=\"x\", nonce=\"3\", algorithm=MD5, qop=\"auth\"",
        ] {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(text));
        }
        assert_eq!(challenge(&headers).unwrap().nonce, "2");
        assert!(challenge(&HeaderMap::new()).is_err());
    }
}
