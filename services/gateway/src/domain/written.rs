//! Values that are a text in a query and in JSON what they are; a wrong one is told with what would be right.

use std::fmt;
use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// What can be read so.
pub(crate) trait Written: Sized {
    /// What would be right.
    const EXPECTED: &str;
    /// The value that a text says.
    fn read(text: &str) -> Option<Self>;
    /// The value that a number of JSON is.
    fn from_number(_number: u64) -> Option<Self> {
        None
    }
}

impl Written for DateTime<Utc> {
    const EXPECTED: &str = "a time such as 2026-01-31T12:00:00Z";
    fn read(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
    }
}

/// For `deserialize_with`.
pub(crate) fn written<'de, T: Written, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let read = Option::<Of<T>>::deserialize(deserializer)?;
    Ok(read.map(|Of(value)| value))
}

struct Of<T>(T);

impl<'de, T: Written> Deserialize<'de> for Of<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(PhantomData)).map(Of)
    }
}

struct Reader<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        let shown: String = text.chars().take(80).collect();
        let wrong = || E::custom(format_args!("{shown:?} is not {}", T::EXPECTED));
        T::read(text).ok_or_else(wrong)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        let wrong = || E::invalid_type(de::Unexpected::Unsigned(number), &self);
        T::from_number(number).ok_or_else(wrong)
    }
}
