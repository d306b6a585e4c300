//! The users of the test servers: those of production, with passwords that every test knows.

use anyhow::Context as _;
use async_nats::ConnectOptions;
use muster_bus::{Login, Settings};
use muster_contracts::permissions::{
    OPERATOR, inbox_prefix, password_variable, services, users_conf,
};

use crate::or_fail;

/// Lines of nats-server's configuration.
pub(crate) fn conf() -> String {
    users_conf(|user| format!("user: {user:?}, password: {:?}", password(user)))
}

/// The settings of a service. A name that the contract does not know connects as the operator, who may do everything.
pub(crate) fn settings(service: &str, url: &str) -> Settings {
    let user = if services().contains(service) { service } else { OPERATOR };
    login(Settings::new(service, url), user)
}

/// The settings of a test that plays several services, or none: it connects as the operator.
pub(crate) fn operator(name: &str, url: &str) -> Settings {
    login(Settings::new(name, url), OPERATOR)
}

/// What a process with any services needs in its environment, and what the test adds.
pub(crate) fn env(url: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let passwords = services().into_iter().map(|user| (password_variable(user), password(user)));
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    [("NATS_URL".to_owned(), url.to_owned())].into_iter().chain(passwords).chain(more).collect()
}

/// The same for services that a test plays.
pub(crate) fn operator_env(url: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let password = password(OPERATOR);
    let login = [("NATS_URL", url), ("NATS_USER", OPERATOR), ("NATS_PASSWORD", &password)];
    let all = login.iter().chain(more);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// `nats://operator:…@127.0.0.1:PORT`.
pub(crate) fn url_of(user: &str, url: &str) -> String {
    url.replace("://", &format!("://{user}:{}@", password(user)))
}

/// A client that is not the bus.
pub(crate) async fn client(user: &str, url: &str) -> async_nats::Client {
    let options = ConnectOptions::with_user_and_password(user.to_owned(), password(user))
        .custom_inbox_prefix(inbox_prefix(user));
    let servers: Vec<&str> = url.split(',').collect();
    or_fail(
        options.connect(servers).await.with_context(|| format!("{user} cannot connect to {url}")),
    )
}

/// The lines of a server's log that say that somebody tried what the contract does not grant.
pub(crate) fn violations(log: &str) -> Vec<String> {
    let said = [
        "Permissions Violation",
        "Publish Violation",
        "Subscription Violation",
        "authentication error",
    ];
    let lines = log.lines().filter(|line| said.iter().any(|said| line.contains(said)));
    lines.map(str::to_owned).collect()
}

/// Fails the test where there are any; a test that fails already says enough.
#[track_caller]
pub(crate) fn forbid_violations(log: &str) {
    let found = violations(log);
    assert!(
        found.is_empty() || std::thread::panicking(),
        "somebody tried what proto/ does not grant (a producer, consumer or caller is missing there, or the test must connect as another service):\n{}",
        found.join("\n")
    );
}

fn login(mut settings: Settings, user: &str) -> Settings {
    settings.login = Login::Password { user: user.to_owned(), password: password(user) };
    settings
}

pub(crate) fn password(user: &str) -> String {
    format!("test-{user}")
}
