//! Whose account it is.

use std::fmt;

use sha2::{Digest, Sha256};

/// Whose budget and limits an account has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Owner {
    kind: &'static str,
    name: String,
}

/// The kinds of owners that people may set an allowance for.
pub(crate) const KINDS: [&str; 3] = ["tenant", "agent", "provider"];

impl Owner {
    pub(crate) fn execution(id: &str) -> Self {
        Self { kind: "execution", name: id.to_owned() }
    }

    pub(crate) fn key(id: &str) -> Self {
        Self { kind: "key", name: id.to_owned() }
    }

    /// An owner of one of [`KINDS`].
    pub(crate) fn of(kind: &str, name: &str) -> Option<Self> {
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        Some(Self { kind, name: name.to_owned() })
    }

    /// Where its account is in the bucket: the kind, and the name or what stands for it.
    pub(crate) fn account(&self) -> String {
        format!("{}.{}", self.kind, token(&self.name))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// A name as one token of a key. Names of models have any characters: those that a key cannot have are replaced, and a hash tells such a name from the others.
pub(crate) fn token(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.len() <= 100 && name.chars().all(fits) {
        return name.to_owned();
    }
    let hash = Sha256::digest(name.as_bytes());
    let start: String = name.chars().take(60).map(|c| if fits(c) { c } else { '_' }).collect();
    let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{start}={hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_never_share_an_account() {
        let account = |name: &str| Owner::of("provider", name).unwrap().account();
        assert_eq!(account("openai"), "provider.openai");
        assert!(account("openai/gpt-4.1").starts_with("provider.openai_gpt-4_1="));
        assert_ne!(account("a/b"), account("a.b"));
        assert_ne!(account(&"x".repeat(101)), account(&"x".repeat(102)));
        assert_eq!(Owner::of("person", "x"), None);
    }
}
