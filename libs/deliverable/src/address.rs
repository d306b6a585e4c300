//! Addresses of deliverables.

use muster_contracts::deliverable::v1::{Deliverable, TeamDeliverable};
use muster_contracts::{Addressed, SubjectError, subject};

/// The team whose members have streams of their own.
pub const TEAM: &str = "agog";
const ROOT: &str = "deliverables";
/// The longest part, in bytes: the address travels in every notice.
const MAX_PART: usize = 64;

/// Where a deliverable is: `deliverables/{agent}/{type}/{feature}`, or `deliverables/agog/{agent}/{type}/{feature}` in the streams of the example team; with `@{sequence}` behind it that version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// It is in the streams of the example team.
    pub team: bool,
    /// Who made it.
    pub agent: String,
    /// What kind of thing it is.
    pub kind: String,
    /// What it is about.
    pub feature: String,
    /// Its place in the stream; absent: the newest.
    pub version: Option<u64>,
}

/// A text that is no address, or an address that cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// It does not read like one.
    #[error(
        "{0:?} is no address of a deliverable: it must be an address like deliverables/researcher/report/e1-r1, or deliverables/agog/roy/backend/csv-export, with @7 behind it for version 7; it stands in the notice"
    )]
    Form(String),
    /// The team is another.
    #[error("`team` is {0:?}, but the only team with streams of its own is \"agog\"; leave it out")]
    Team(String),
    /// A part of it would divide it otherwise.
    #[error("`{field}` is {value:?}, but neither `/` nor `@` may be in it")]
    Sign {
        /// The part.
        field: &'static str,
        /// What it is.
        value: String,
    },
    /// A part of it is so long that it would cost more than it saves.
    #[error("`{field}` is {value:?} and has {bytes} bytes, but may have at most {MAX_PART}")]
    Long {
        /// The part.
        field: &'static str,
        /// How it begins.
        value: String,
        /// How long it is.
        bytes: usize,
    },
    /// A part of it cannot be a part of a subject.
    #[error(transparent)]
    Subject(#[from] SubjectError),
}

impl Address {
    /// An address that is made of these parts. `team` is empty or `agog`.
    ///
    /// # Errors
    /// Where a part cannot be one.
    pub fn new(team: &str, agent: &str, kind: &str, feature: &str) -> Result<Self, AddressError> {
        let team = match team {
            "" => false,
            TEAM => true,
            other => return Err(AddressError::Team(other.chars().take(64).collect())),
        };
        let [agent, kind, feature] =
            [part("agent", agent)?, part("type", kind)?, part("feature", feature)?];
        let address = Self { team, agent, kind, feature, version: None };
        if team {
            // Only its members have streams.
            address.team_message().subject()?;
        }
        Ok(address)
    }

    /// The address in a text.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let form = || AddressError::Form(text.chars().take(120).collect());
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(version.parse().map_err(|_no_number| form())?)),
            None => (text, None),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let address = match parts.as_slice() {
            [ROOT, agent, kind, feature] => Self::new("", agent, kind, feature),
            [ROOT, team, agent, kind, feature] => Self::new(team, agent, kind, feature),
            _ => return Err(form()),
        };
        Ok(Self { version, ..address? })
    }

    /// The same address without a version, or with another.
    #[must_use]
    pub fn at(self, version: Option<u64>) -> Self {
        Self { version, ..self }
    }

    /// The address that a subject is made of.
    #[must_use]
    pub fn of_subject(subject: &str) -> Option<Self> {
        let parts: Vec<&str> = subject.split('.').collect();
        let (team, agent, kind, feature) = match parts.as_slice() {
            [ROOT, agent, kind, feature] => (false, agent, kind, feature),
            [TEAM, ROOT, agent, kind, feature] => (true, agent, kind, feature),
            _ => return None,
        };
        let text = |part: &&str| (*part).to_owned();
        Some(Self {
            team,
            agent: text(agent),
            kind: text(kind),
            feature: text(feature),
            version: None,
        })
    }

    /// A message with the address filled in.
    pub(crate) fn message(&self) -> Deliverable {
        Deliverable {
            agent: self.agent.clone(),
            r#type: self.kind.clone(),
            feature: self.feature.clone(),
            ..Deliverable::default()
        }
    }

    /// As `message`, for the example team.
    pub(crate) fn team_message(&self) -> TeamDeliverable {
        TeamDeliverable {
            agent: self.agent.clone(),
            r#type: self.kind.clone(),
            feature: self.feature.clone(),
            ..TeamDeliverable::default()
        }
    }

    /// The subject that the address is made of.
    pub(crate) fn subject(&self) -> Result<String, SubjectError> {
        if self.team { self.team_message().subject() } else { self.message().subject() }
    }
}

fn part(field: &'static str, value: &str) -> Result<String, AddressError> {
    let shown = || value.chars().take(MAX_PART).collect();
    if value.len() > MAX_PART {
        return Err(AddressError::Long { field, value: shown(), bytes: value.len() });
    }
    if value.contains(['/', '@']) {
        return Err(AddressError::Sign { field, value: shown() });
    }
    Ok(subject::token(field, value)?.to_owned())
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let team = if self.team { "agog/" } else { "" };
        write!(f, "{ROOT}/{team}{}/{}/{}", self.agent, self.kind, self.feature)?;
        match self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_text_and_its_subject() {
        for text in [
            "deliverables/a/report/f-1",
            "deliverables/a/report/f-1@12",
            "deliverables/agog/roy/backend/csv-export@7",
            "deliverables/agog/jen/frontend/x",
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), text);
            let subject = address.subject().unwrap();
            assert_eq!(Address::of_subject(&subject), Some(address.at(None)), "{subject}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_would_be_right() {
        let check = |text: &str, words: &str| {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        };
        check("", "it must be an address like deliverables/researcher/report/e1-r1");
        check("x/a/b/c", "no address");
        check("deliverables/a/b", "no address");
        check("deliverables/a/b/c@seven", "no address");
        check("deliverables/a/b/c.d", "`feature` is \"c.d\"");
        check("deliverables/agag/roy/b/c", "`team` is \"agag\"");
        check("deliverables/agog/rob/b/c", "cynthia, sylvia, roy");
        let error = Address::new("", "a", "b", "c/d").unwrap_err().to_string();
        assert!(error.contains("`feature` is \"c/d\", but neither"), "{error}");
    }
}
