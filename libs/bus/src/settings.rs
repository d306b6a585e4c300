//! How to reach NATS. The names are those that NATS users know.

use std::time::Duration;

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
    /// `NATS_CREDS`: path of a credentials file.
    pub credentials: Option<String>,
    /// `NATS_USER` and `NATS_PASSWORD`.
    pub user: Option<(String, String)>,
    /// `MUSTER_ACK_WAIT`: how long a message may go without a sign of life before another worker gets it. Default 10 s.
    pub ack_wait: Duration,
    /// How long a request or a publish waits for a lost connection before it fails as unavailable. Default 3 s.
    pub outage_budget: Duration,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name} is {value:?}, but must be {expected}")]
pub struct SettingsError {
    name: &'static str,
    value: String,
    expected: &'static str,
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
            credentials: None,
            user: None,
            ack_wait: Duration::from_secs(10),
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
            return Err(SettingsError {
                name: "NATS_URL",
                value: String::new(),
                expected: "one or more addresses like nats://127.0.0.1:4222",
            });
        }
        seconds(&get, "NATS_RECONNECT_TIME_WAIT", &mut settings.reconnect_time_wait)?;
        seconds(&get, "NATS_PING_INTERVAL", &mut settings.ping_interval)?;
        seconds(&get, "MUSTER_ACK_WAIT", &mut settings.ack_wait)?;
        if let Some(value) = get("NATS_STREAM_REPLICAS") {
            let expected = "a number from 1 to 5";
            settings.replicas =
                value.parse().ok().filter(|replicas| (1..=5).contains(replicas)).ok_or_else(
                    || SettingsError {
                        name: "NATS_STREAM_REPLICAS",
                        value: value.to_owned(),
                        expected,
                    },
                )?;
        }
        settings.credentials = get("NATS_CREDS").map(str::to_owned);
        settings.user = get("NATS_USER")
            .map(|user| (user.to_owned(), get("NATS_PASSWORD").unwrap_or_default().to_owned()));
        Ok(settings)
    }
}

fn seconds<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
    setting: &mut Duration,
) -> Result<(), SettingsError> {
    if let Some(value) = get(name) {
        let good = value.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
        *setting = good.map(Duration::from_secs_f64).ok_or_else(|| SettingsError {
            name,
            value: value.to_owned(),
            expected: "seconds from 0.1 to 3600",
        })?;
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
