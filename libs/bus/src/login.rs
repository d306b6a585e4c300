//! How a connection says who it is, and whom it trusts.

use std::fmt;
use std::fs;

use async_nats::ConnectOptions;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use muster_contracts::permissions::{OPERATOR, password_variable, services};

use crate::{Settings, SettingsError};

/// How a connection says who it is. Secrets are not printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// It does not: for a server that lets everybody in.
    Nobody,
    /// `NATS_USER` and `NATS_PASSWORD`; where several services share a process, `NATS_PASSWORD_AGENT` and the like.
    Password {
        /// The user: a service's own name, or `operator`.
        user: String,
        /// The password.
        password: String,
    },
    /// `NATS_NKEY`, or `NATS_NKEY_AGENT` and the like: the path of a file that holds an nkey's seed.
    Nkey(String),
    /// `NATS_CREDS`, or `NATS_CREDS_AGENT` and the like: the path of a credentials file (JWT and seed).
    Credentials(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Password { user, .. } => write!(f, "Password({user:?})"),
            Self::Nkey(path) => write!(f, "Nkey({path:?})"),
            Self::Credentials(path) => write!(f, "Credentials({path:?})"),
        }
    }
}

impl Login {
    /// The service's own login where there is one, else the one that all services of the process share.
    pub(crate) fn from_variables<'a>(
        service: &str,
        get: &impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, SettingsError> {
        let password = password_variable(service);
        let suffix = password.trim_start_matches("NATS_PASSWORD");
        let own = [
            get(&password).map(|password| Self::password(service, password)),
            get(&format!("NATS_NKEY{suffix}")).map(|path| Self::Nkey(path.to_owned())),
            get(&format!("NATS_CREDS{suffix}")).map(|path| Self::Credentials(path.to_owned())),
        ];
        let shared = [
            get("NATS_USER")
                .map(|user| Self::password(user, get("NATS_PASSWORD").unwrap_or_default())),
            get("NATS_NKEY").map(|path| Self::Nkey(path.to_owned())),
            get("NATS_CREDS").map(|path| Self::Credentials(path.to_owned())),
        ];
        for (logins, names) in [(own, suffix), (shared, "")] {
            let mut logins = logins.into_iter().flatten();
            match (logins.next(), logins.next()) {
                (Some(login), None) => return Ok(login),
                (None, _) => {}
                (Some(first), Some(second)) => {
                    return Err(SettingsError::new(
                        format!("NATS_USER{names}, NATS_NKEY{names} and NATS_CREDS{names}"),
                        format!("{first:?} and {second:?}"),
                        "one login only",
                    ));
                }
            }
        }
        Ok(Self::Nobody)
    }

    fn password(user: &str, password: &str) -> Self {
        Self::Password { user: user.to_owned(), password: password.to_owned() }
    }

    pub(crate) async fn apply(
        &self,
        options: ConnectOptions,
    ) -> Result<ConnectOptions, SettingsError> {
        Ok(match self {
            Self::Nobody => options,
            Self::Password { user, password } => {
                options.user_and_password(user.clone(), password.clone())
            }
            Self::Nkey(path) => options.nkey(seed(path)?),
            Self::Credentials(path) => options.credentials_file(path).await.map_err(|error| {
                unreadable("NATS_CREDS", path, "a credentials file of NATS (JWT and seed)", &error)
            })?,
        })
    }

    /// What the settings say of this login, for a person who has to mend it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Nobody => {
                "no credentials are given: set NATS_USER and NATS_PASSWORD, NATS_NKEY or NATS_CREDS"
                    .to_owned()
            }
            Self::Password { user, .. } => {
                format!("the server does not know user {user:?} with this password")
            }
            Self::Nkey(path) => format!("the server does not know the nkey in {path}"),
            Self::Credentials(path) => {
                format!("the server does not know the credentials in {path}")
            }
        }
    }
}

/// Whom the connection trusts, and by which certificate it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `NATS_TLS_CA`: the path of the certificates (PEM) that the server's one must come from; without it those of the system.
    pub ca: Option<String>,
    /// `NATS_TLS_CERT` and `NATS_TLS_KEY`: the paths of our own certificate and its key (PEM), for servers that ask for one.
    pub certificate: Option<(String, String)>,
}

impl Tls {
    pub(crate) fn from_variables<'a>(
        get: &impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, SettingsError> {
        let owned = |name| get(name).map(str::to_owned);
        let certificate = match (owned("NATS_TLS_CERT"), owned("NATS_TLS_KEY")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(SettingsError::new("NATS_TLS_KEY", "", "set where NATS_TLS_CERT is"));
            }
            (None, Some(_)) => {
                return Err(SettingsError::new("NATS_TLS_CERT", "", "set where NATS_TLS_KEY is"));
            }
        };
        Ok(Self { ca: owned("NATS_TLS_CA"), certificate })
    }

    /// Reads every file once, so that a wrong path is an error now and not one of each try to connect.
    pub(crate) fn apply(
        &self,
        mut options: ConnectOptions,
    ) -> Result<ConnectOptions, SettingsError> {
        if let Some(path) = &self.ca {
            certificates("NATS_TLS_CA", path)?;
            options = options.add_root_certificates(path.into()).require_tls(true);
        }
        if let Some((certificate, key)) = &self.certificate {
            certificates("NATS_TLS_CERT", certificate)?;
            PrivateKeyDer::from_pem_file(key).map_err(|error| {
                unreadable("NATS_TLS_KEY", key, "a file with a private key in PEM", &error)
            })?;
            options =
                options.add_client_certificate(certificate.into(), key.into()).require_tls(true);
        }
        Ok(options)
    }
}

/// Whose inboxes the connection has: those that its user may listen to.
pub(crate) fn inbox_owner(settings: &Settings) -> &str {
    let known = |name: &str| services().contains(name);
    match &settings.login {
        Login::Password { user, .. } if known(user) || user == OPERATOR => user,
        _ if known(&settings.service) => &settings.service,
        _ => OPERATOR,
    }
}

fn seed(path: &str) -> Result<String, SettingsError> {
    let expected = "a file with the seed of a user's nkey (it begins with SU)";
    let text = fs::read_to_string(path)
        .map_err(|error| unreadable("NATS_NKEY", path, expected, &error))?;
    text.lines()
        .map(str::trim)
        .find(|line| line.starts_with("SU"))
        .map(str::to_owned)
        .ok_or_else(|| SettingsError::new("NATS_NKEY", path, expected))
}

fn certificates(name: &str, path: &str) -> Result<(), SettingsError> {
    let expected = "a file with certificates in PEM";
    let mut found = CertificateDer::pem_file_iter(path)
        .map_err(|error| unreadable(name, path, expected, &error))?;
    match found.next() {
        Some(Ok(_certificate)) => Ok(()),
        Some(Err(error)) => Err(unreadable(name, path, expected, &error)),
        None => Err(SettingsError::new(name, path, expected)),
    }
}

fn unreadable(
    name: &str,
    path: &str,
    expected: &str,
    error: &dyn std::error::Error,
) -> SettingsError {
    SettingsError::new(name, path, format!("{expected}: {error}"))
}
