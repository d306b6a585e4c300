//! Settings: read once from the environment, then passed on.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use crate::files::regular_text;

/// The largest file with secrets, in bytes.
const MAX_SECRET: u64 = 1 << 20;

/// The settings of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: Arc<BTreeMap<String, String>>,
}

/// A secret, and where it stands. Its debug form has the place only.
#[derive(Clone)]
pub struct SecretSetting {
    /// The secret, as it stands there.
    pub text: String,
    /// For errors: the variable, or `the file of` the variable that names a file.
    pub place: String,
}

impl std::fmt::Debug for SecretSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretSetting").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A setting that is absent or cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingError {
    /// It must be there.
    #[error("{name} is not set: {expected}")]
    Absent {
        /// The variable.
        name: String,
        /// What would be right.
        expected: String,
    },
    /// Its value cannot be used.
    #[error("{name} is {value:?}, which cannot be used: {reason}")]
    Malformed {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
        /// Why.
        reason: String,
    },
    /// It is set in two ways.
    #[error("{one} and {other} are both set: unset one")]
    Twice {
        /// A variable.
        one: String,
        /// The other one that says the same.
        other: String,
    },
}

impl Env {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_iter(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// The names of the variables that are set, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let set = self.variables.iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, _)| name.as_str())
    }

    /// The value of a variable; an empty one counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value of a variable, parsed; `default` where it is absent.
    ///
    /// # Errors
    /// Where it cannot be parsed; the error names the variable and its value.
    pub fn parse<T>(&self, name: &str, default: T) -> Result<T, SettingError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.parse().map_err(|error: T::Err| SettingError::Malformed {
            name: name.to_owned(),
            value: value.to_owned(),
            reason: error.to_string(),
        })
    }

    /// The same for a number that must be in `range`.
    ///
    /// # Errors
    /// Where it cannot be parsed or is outside; the error names the variable, its value and the range.
    pub fn within<T>(
        &self,
        name: &str,
        default: T,
        range: RangeInclusive<T>,
    ) -> Result<T, SettingError>
    where
        T: FromStr + Display + PartialOrd,
        T::Err: Display,
    {
        let (first, last) = (range.start(), range.end());
        let reason = format!("it must be {first} to {last}");
        let malformed = |reason| SettingError::Malformed {
            name: name.to_owned(),
            value: self.get(name).unwrap_or_default().to_owned(),
            reason,
        };
        let Some(value) = self.get(name) else { return Ok(default) };
        let value = value.parse().map_err(|error| malformed(format!("{error}; {reason}")))?;
        if range.contains(&value) { Ok(value) } else { Err(malformed(reason)) }
    }

    /// The value of a variable that must be there.
    ///
    /// # Errors
    /// Where it is absent; the error says `expected`.
    pub fn require(&self, name: &str, expected: &str) -> Result<&str, SettingError> {
        self.get(name).ok_or_else(|| SettingError::Absent {
            name: name.to_owned(),
            expected: expected.to_owned(),
        })
    }

    /// The secret in the variable `name`, or in the file that `{name}_FILE` names: other users of the machine may see variables, but no
    /// file that they may not read. Nothing where neither is set.
    ///
    /// # Errors
    /// Where both are set, or the file is no text of at most 1 MiB; the error names the file, and nothing of what is in it.
    pub fn secret(&self, name: &str) -> Result<Option<SecretSetting>, SettingError> {
        let file = format!("{name}_FILE");
        let given = |name: &str| self.get(name).filter(|value| !value.trim().is_empty());
        let (text, place) = match (given(&file), given(name)) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(SettingError::Twice { one: file, other: name.to_owned() });
            }
            (None, Some(text)) => (text.to_owned(), name.to_owned()),
            (Some(path), None) => {
                let text = regular_text(path, MAX_SECRET).map_err(|error| {
                    let (name, value) = (file.clone(), path.to_owned());
                    SettingError::Malformed { name, value, reason: error.to_string() }
                })?;
                (text, format!("the file of {file}"))
            }
        };
        Ok(Some(SecretSetting { text, place }))
    }

    /// The same with one more variable.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut variables = BTreeMap::clone(&self.variables);
        variables.insert(name.to_owned(), value.to_owned());
        Self { variables: Arc::new(variables) }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self {
            variables: Arc::new(
                variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_setting_is_named_with_its_value() {
        let env = Env::from_iter([("MUSTER_X", "many")]);
        let error = env.parse::<u32>("MUSTER_X", 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "MUSTER_X is \"many\", which cannot be used: invalid digit found in string"
        );
    }

    #[test]
    fn a_number_outside_its_range_is_named_with_the_range() {
        let env = Env::from_iter([("MUSTER_X", "0"), ("MUSTER_Y", "x")]);
        let check = |name, expected: &str| {
            assert_eq!(env.within(name, 1_u32, 1..=9).unwrap_err().to_string(), expected);
        };
        check("MUSTER_X", "MUSTER_X is \"0\", which cannot be used: it must be 1 to 9");
        check(
            "MUSTER_Y",
            "MUSTER_Y is \"x\", which cannot be used: invalid digit found in string; it must be 1 to 9",
        );
        assert_eq!(env.within("MUSTER_Z", 7, 1..=9), Ok(7));
    }

    #[test]
    fn a_secret_stands_in_a_variable_or_in_a_file_and_is_never_shown() {
        let secret = |variables: &[(&str, &str)]| {
            variables.iter().copied().collect::<Env>().secret("MUSTER_X")
        };
        assert!(secret(&[("MUSTER_X", " "), ("MUSTER_X_FILE", "")]).unwrap().is_none());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, "of the file\n").unwrap();
        let file = file.to_str().unwrap();
        let found = secret(&[("MUSTER_X_FILE", file)]).unwrap().unwrap();
        assert_eq!(
            (found.text.as_str(), found.place.as_str()),
            ("of the file\n", "the file of MUSTER_X_FILE")
        );
        let found = secret(&[("MUSTER_X", "plain")]).unwrap().unwrap();
        assert_eq!((found.text.as_str(), found.place.as_str()), ("plain", "MUSTER_X"));
        assert!(!format!("{found:?}").contains("plain"));
        let twice = secret(&[("MUSTER_X", "plain"), ("MUSTER_X_FILE", file)]).unwrap_err();
        assert_eq!(twice.to_string(), "MUSTER_X_FILE and MUSTER_X are both set: unset one");
        let error = secret(&[("MUSTER_X_FILE", "/nowhere/x")]).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "MUSTER_X_FILE is \"/nowhere/x\", which cannot be used: cannot read /nowhere/x"
            ),
            "{error}"
        );
    }

    #[test]
    fn an_empty_setting_is_absent() {
        let env = Env::from_iter([("MUSTER_X", "")]);
        assert_eq!(env.parse("MUSTER_X", 7), Ok(7));
        assert!(env.require("MUSTER_X", "a number").is_err());
    }
}
