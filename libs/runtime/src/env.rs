//! Settings: read once from the environment, then passed on.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

/// The settings of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: Arc<BTreeMap<String, String>>,
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
    fn an_empty_setting_is_absent() {
        let env = Env::from_iter([("MUSTER_X", "")]);
        assert_eq!(env.parse("MUSTER_X", 7), Ok(7));
        assert!(env.require("MUSTER_X", "a number").is_err());
    }
}
