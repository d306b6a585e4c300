//! How to reach NATS. The names are those that NATS users know.

use std::time::Duration;

use crate::payload::SEAL_KEYS_SETTING;
use crate::{Login, SealKeys, Tls};

/// Settings of a connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `NATS_URL`: one or more servers, separated by commas. Default `nats://127.0.0.1:4222`.
    pub urls: Vec<String>,
    /// The service that connects; part of consumer names and of every event's source.
    pub service: String,
    /// `NATS_RECONNECT_TIME_WAIT`: the longest pause between two tries to connect. Default 2 s.
    pub reconnect_time_wait: Duration,
    /// `NATS_PING_INTERVAL`. Default 10 s.
    pub ping_interval: Duration,
    /// `NATS_STREAM_REPLICAS`: copies of each stream, 1 to 5. Default 1; 3 in a cluster.
    pub replicas: usize,
    /// Whether the connection creates the streams of its service. Not so for an operator, who looks first.
    pub creates_streams: bool,
    /// `NATS_STREAM_BYTES_PERCENT`: how much of the contract's `max_bytes` a stream may have, 1 to 100. Default 100; less where the server has less room, as for development.
    pub bytes_percent: u8,
    /// `NATS_USER` and `NATS_PASSWORD`, `NATS_NKEY`, or `NATS_CREDS`: who connects.
    pub login: Login,
    /// `NATS_TLS_CA`, `NATS_TLS_CERT` and `NATS_TLS_KEY`.
    pub tls: Tls,
    /// `MUSTER_SEAL_KEYS`: the keys of sealed fields, `id:base64,id2:base64`. The first one seals, every one opens. Default none: then what has a sealed field cannot be published.
    pub seal_keys: SealKeys,
    /// `MUSTER_ACK_WAIT`: how long a message may go without a sign of life before another worker gets it. Default 10 s.
    pub ack_wait: Duration,
    /// `MUSTER_DRAIN_TIMEOUT`: how long a service that stops lets its handlers finish; what still runs then goes to another replica at once. Default 30 s.
    pub drain_timeout: Duration,
    /// How often the lag of each consumer is looked at. Default 15 s.
    pub lag_every: Duration,
    /// How long a request or a publish waits for a lost connection before it fails as unavailable. Default 3 s.
    pub outage_budget: Duration,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name} is {value:?}, but must be {expected}")]
pub struct SettingsError {
    name: String,
    value: String,
    expected: String,
}

impl SettingsError {
    pub(crate) fn new(
        name: impl Into<String>,
        value: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), value: value.into(), expected: expected.into() }
    }
}

impl Settings {
    /// The default settings of a service for a server.
    #[must_use]
    pub fn new(service: &str, url: &str) -> Self {
        Self {
            urls: url
                .split(',')
                .map(|url| url.trim().to_owned())
                .filter(|url| !url.is_empty())
                .collect(),
            service: service.to_owned(),
            reconnect_time_wait: Duration::from_secs(2),
            ping_interval: Duration::from_secs(10),
            replicas: 1,
            bytes_percent: 100,
            creates_streams: true,
            login: Login::Nobody,
            tls: Tls::default(),
            seal_keys: SealKeys::default(),
            ack_wait: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            lag_every: Duration::from_secs(15),
            outage_budget: Duration::from_secs(3),
        }
    }

    /// Reads the settings of a service from variables.
    ///
    /// # Errors
    /// Where a variable has a value that cannot be used; the error names it and what would be right.
    pub fn from_variables<'a>(
        service: &str,
        get: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, SettingsError> {
        let mut settings = Self::new(service, get("NATS_URL").unwrap_or("nats://127.0.0.1:4222"));
        if settings.urls.is_empty() {
            return Err(SettingsError::new(
                "NATS_URL",
                "",
                "one or more addresses like nats://127.0.0.1:4222",
            ));
        }
        seconds(&get, "NATS_RECONNECT_TIME_WAIT", &mut settings.reconnect_time_wait)?;
        seconds(&get, "NATS_PING_INTERVAL", &mut settings.ping_interval)?;
        seconds(&get, "MUSTER_ACK_WAIT", &mut settings.ack_wait)?;
        seconds(&get, "MUSTER_DRAIN_TIMEOUT", &mut settings.drain_timeout)?;
        if let Some(value) = get("NATS_STREAM_BYTES_PERCENT") {
            settings.bytes_percent = value
                .parse()
                .ok()
                .filter(|percent| (1..=100).contains(percent))
                .ok_or_else(|| {
                    SettingsError::new("NATS_STREAM_BYTES_PERCENT", value, "a number from 1 to 100")
                })?;
        }
        if let Some(value) = get("NATS_STREAM_REPLICAS") {
            let expected = "a number from 1 to 5";
            settings.replicas = value
                .parse()
                .ok()
                .filter(|replicas| (1..=5).contains(replicas))
                .ok_or_else(|| SettingsError::new("NATS_STREAM_REPLICAS", value, expected))?;
        }
        settings.login = Login::from_variables(service, &get)?;
        settings.tls = Tls::from_variables(&get)?;
        if let Some(keys) = get(SEAL_KEYS_SETTING) {
            settings.seal_keys = SealKeys::parse(keys)?;
        }
        Ok(settings)
    }
}

fn seconds<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    name: &str,
    setting: &mut Duration,
) -> Result<(), SettingsError> {
    if let Some(value) = get(name) {
        let good = value.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
        *setting = good
            .map(Duration::from_secs_f64)
            .ok_or_else(|| SettingsError::new(name, value, "seconds from 0.1 to 3600"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_setting_is_named_with_its_value() {
        let error = Settings::from_variables("agent", |name| {
            (name == "NATS_PING_INTERVAL").then_some("soon")
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "NATS_PING_INTERVAL is \"soon\", but must be seconds from 0.1 to 3600"
        );
    }

    #[test]
    fn several_servers_are_separated_by_commas() {
        let settings = Settings::from_variables("agent", |name| {
            (name == "NATS_URL").then_some("nats://a:1, nats://b:2")
        })
        .unwrap();
        assert_eq!(settings.urls, ["nats://a:1", "nats://b:2"]);
    }
}
