//! What a message says: a text, or parts.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The content of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AskedContent {
    Text(String),
    Parts(Vec<AskedPart>),
}

/// A part of a message. Fields that its type does not have are tolerated, as OpenAI does.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct AskedPart {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) text: Option<String>,
    pub(crate) refusal: Option<String>,
    pub(crate) image_url: Option<AskedImage>,
}

/// Where an image is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct AskedImage {
    pub(crate) url: String,
}

/// By hand, as an untagged enum would copy every text once more.
impl<'de> Deserialize<'de> for AskedContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = AskedContent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of parts")
    }

    fn visit_str<E>(self, text: &str) -> Result<AskedContent, E> {
        Ok(AskedContent::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<AskedContent, E> {
        Ok(AskedContent::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<AskedContent, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(parts)).map(AskedContent::Parts)
    }
}
