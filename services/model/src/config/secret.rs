//! Addresses and keys, which no log may have.

use std::fmt;

use anyhow::{Context, ensure};

/// The address of a server; its password, where it has one, is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl(reqwest::Url);

impl BaseUrl {
    /// Reads the value of the setting `name`.
    pub(crate) fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        let expected = || format!("{name} must be an address like https://api.openai.com/v1");
        let url = reqwest::Url::parse(text).with_context(expected)?;
        ensure!(matches!(url.scheme(), "http" | "https") && url.has_host(), expected());
        let bare = url.query().is_none() && url.fragment().is_none();
        ensure!(bare, "{}, without `?` and `#`", expected());
        Ok(Self(url))
    }

    /// The address with a path below it.
    pub(crate) fn with(&self, path: &str) -> String {
        format!("{}{path}", self.0.as_str().trim_end_matches('/'))
    }

    pub(crate) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The address as errors and logs may have it.
    pub(crate) fn shown(&self) -> String {
        let url = &self.0;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}{}", url.scheme(), self.host(), url.path())
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The text, for the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The other text without this one, where somebody repeats it.
    pub(crate) fn redact(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "***") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
