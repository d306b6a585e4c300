//! What commands share that ask the gateway for one thing by its name.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use reqwest::Url;
use serde_json::Value;

use crate::{cli::How, client::Client, output::Output};

/// A client that does not wait for a platform that is not there.
pub(super) fn client(how: &How) -> Result<Client> {
    Client::new(&how.server.server, Duration::ZERO)
}

/// Shows what was answered, as JSON.
pub(super) fn show(value: &Value, output: &Output) -> Result<ExitCode> {
    output.line(&serde_json::to_string_pretty(value)?);
    Ok(ExitCode::SUCCESS)
}

/// The path of these parts, each as one whatever a person typed.
pub(super) fn path<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut url = Url::parse("http://gateway/v1").ok();
    if let Some(mut segments) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
        segments.extend(parts);
    }
    url.map(|url| url.path().to_owned()).unwrap_or_default()
}

/// A text field; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path_whatever_it_has() {
        assert_eq!(path(["model-aliases", "fast"]), "/v1/model-aliases/fast");
        assert_eq!(path(["model-aliases", "a/../b"]), "/v1/model-aliases/a%2F..%2Fb");
    }
}
