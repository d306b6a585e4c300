//! The settings of authentication, and the tokens of admins.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use muster_runtime::Env;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use crate::domain::name;

const MODE: &str = "MUSTER_AUTH";
const TOKEN: &str = "MUSTER_ADMIN_TOKEN";
const FILE: &str = "MUSTER_ADMIN_TOKEN_FILE";
/// The name of a token that has none.
const UNNAMED: &str = "admin";
/// What can be guessed is no secret.
const SHORTEST: usize = 24;

/// Whether clients must say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nobody must, but on OpenAI's paths where virtual keys are registered.
    Off,
    /// Everybody must.
    Required,
}

/// The settings of authentication.
#[derive(Clone, Debug)]
pub(crate) struct AuthSettings {
    pub(crate) mode: Mode,
    pub(crate) tokens: Tokens,
    /// Whether OpenAI's paths need a virtual key even where none is registered and nothing else needs one.
    pub(crate) require_keys: bool,
}

impl AuthSettings {
    /// # Errors
    /// Where a setting is wrong, or others could reach a gateway that asks nobody who he is.
    pub(crate) fn from_env(env: &Env, listens: SocketAddr) -> anyhow::Result<Self> {
        let tokens = Tokens::from_env(env)?;
        let mode = match (env.get(MODE), tokens.0.is_empty(), listens.ip().is_loopback()) {
            (Some("required") | None, false, _) => Mode::Required,
            (Some("off"), _, true) | (None, true, true) => Mode::Off,
            (Some("off"), _, false) => {
                warn!(address = %listens, "REST is open to everybody who reaches it: {MODE} is off");
                Mode::Off
            }
            (Some("required"), true, _) => bail!(
                "{MODE} is required, but there is no admin token: set {FILE} or {TOKEN}, which `openssl rand -hex 32` makes"
            ),
            (None, true, false) => bail!(
                "MUSTER_HTTP_ADDR is {listens}, which others can reach, and nobody would have to say who he is: set {FILE} or {TOKEN} (`openssl rand -hex 32` makes one), or {MODE}=off where something before the gateway authenticates"
            ),
            (Some(other), ..) => bail!("{MODE} is {other:?}, but it must be off or required"),
        };
        let require_keys = env.parse("MUSTER_REQUIRE_KEYS", false)?;
        Ok(Self { mode, tokens, require_keys })
    }
}

/// The tokens of admins, as their hashes, with their names. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Tokens(Arc<[(String, [u8; 32])]>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Tokens {
    fn from_env(env: &Env) -> anyhow::Result<Self> {
        match env.secret(TOKEN)? {
            None => Ok(Self::default()),
            Some(secret) => Self::parse(&secret.text).context(secret.place),
        }
    }

    /// Reads tokens, or `name:token`, several in lines or separated by commas. An error tells which one is wrong, and nothing of it.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let parts = text.split(['\n', ',']).map(str::trim);
        let parts = parts.filter(|part| !part.is_empty() && !part.starts_with('#'));
        let mut tokens = Vec::new();
        let mut known = HashSet::new();
        for (part, at) in parts.zip(1..) {
            let (name, token) = part.split_once(':').unwrap_or((UNNAMED, part));
            ensure!(
                name::name("name", name).is_ok(),
                "token {at}: what stands before `:` must be a name of a-z, 0-9, - and _ that begins with a letter or digit"
            );
            ensure!(
                token.len() >= SHORTEST && token.bytes().all(|byte| byte.is_ascii_graphic()),
                "token {at} must have at least {SHORTEST} visible ASCII characters; `openssl rand -hex 32` makes a good one"
            );
            let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
            ensure!(known.insert(hash), "token {at} is the same as one before it");
            tokens.push((name.to_owned(), hash));
        }
        ensure!(!tokens.is_empty(), "there is no token in it");
        Ok(Self(tokens.into()))
    }

    /// The name of the token with this hash. Every token is compared, and each to its end: the time says nothing.
    pub(super) fn find(&self, hash: &[u8; 32]) -> Option<&str> {
        let mut found = None;
        for (name, known) in self.0.iter() {
            let differences =
                known.iter().zip(hash).fold(0, |all, (one, other)| all | (one ^ other));
            if std::hint::black_box(differences) == 0 {
                found = Some(name.as_str());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef01234567";
    const TWO: &str = "76543210fedcba9876543210";

    fn hash(token: &str) -> [u8; 32] {
        Sha256::digest(token.as_bytes()).into()
    }

    #[test]
    fn tokens_have_names_and_are_never_shown() {
        let tokens = Tokens::parse(&format!("# ours\n{ONE}\nann:{TWO}\n")).unwrap();
        assert_eq!(tokens.find(&hash(ONE)), Some("admin"));
        assert_eq!(tokens.find(&hash(TWO)), Some("ann"));
        assert_eq!(tokens.find(&hash("other")), None);
        assert_eq!(format!("{tokens:?}"), r#"["admin", "ann"]"#);
        for wrong in ["short", &format!("An n:{ONE}"), &format!("{ONE},{ONE}"), "#"] {
            let error = Tokens::parse(wrong).unwrap_err().to_string();
            assert!(!error.contains(ONE) && !error.contains("short"), "{error}");
        }
    }

    #[test]
    fn a_gateway_that_others_reach_does_not_start_open() {
        let settings = |address: &str, variables: &[(&str, &str)]| {
            let env: Env = variables.iter().copied().collect();
            AuthSettings::from_env(&env, address.parse().unwrap()).map(|settings| settings.mode)
        };
        let (here, all) = ("127.0.0.1:8080", "0.0.0.0:8080");
        assert_eq!(settings(here, &[]).unwrap(), Mode::Off);
        assert_eq!(settings("[::1]:8080", &[]).unwrap(), Mode::Off);
        let error = settings(all, &[]).unwrap_err().to_string();
        assert!(error.contains("0.0.0.0:8080") && error.contains("MUSTER_AUTH=off"), "{error}");
        assert_eq!(settings(all, &[(MODE, "off")]).unwrap(), Mode::Off);
        assert_eq!(settings(all, &[(TOKEN, ONE)]).unwrap(), Mode::Required);
        assert_eq!(settings(here, &[(TOKEN, ONE)]).unwrap(), Mode::Required);
        assert_eq!(settings(here, &[(TOKEN, ONE), (MODE, "off")]).unwrap(), Mode::Off);
        assert!(settings(here, &[(MODE, "required")]).is_err());
        assert!(settings(here, &[(MODE, "on")]).unwrap_err().to_string().contains("\"on\""));
        assert!(settings(here, &[(FILE, "/nowhere/token")]).is_err());
    }
}
