//! What stands in a message: texts and images.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_contracts::llm::v1::{ChatMessage, ContentPart};

/// The image formats that every provider reads.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// The longest address of an image, in bytes.
const MAX_ADDRESS: usize = 8 << 10;
/// The largest image that stands in a request itself, in bytes of its base64 text.
const MAX_IMAGE: usize = 8 << 20;

/// A part of a message, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Text(&'a str),
    Image(Image<'a>),
}

/// An image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Image<'a> {
    /// An https address. The provider fetches it; this service never does.
    Address(&'a str),
    /// The image itself, in base64.
    Data { media_type: &'a str, base64: &'a str },
}

/// What the message says in its order, without empty texts.
pub(crate) fn parts(message: &ChatMessage) -> impl Iterator<Item = Part<'_>> {
    let content = std::iter::once(Part::Text(message.content.as_str()));
    content
        .chain(message.parts.iter().filter_map(part))
        .filter(|part| !matches!(part, Part::Text("")))
}

/// All that the message says as one text, without its images.
pub(crate) fn text(message: &ChatMessage) -> String {
    let texts: Vec<&str> = parts(message)
        .filter_map(|part| match part {
            Part::Text(text) => Some(text),
            Part::Image(_) => None,
        })
        .collect();
    texts.join("\n")
}

/// The images of the message.
pub(crate) fn images(message: &ChatMessage) -> impl Iterator<Item = Image<'_>> {
    parts(message).filter_map(|part| match part {
        Part::Image(image) => Some(image),
        Part::Text(_) => None,
    })
}

fn part(part: &ContentPart) -> Option<Part<'_>> {
    match kind(part) {
        Kind::Text => Some(Part::Text(&part.text)),
        Kind::Image => image(&part.image_url).ok().map(Part::Image),
        Kind::Unknown => None,
    }
}

enum Kind {
    Text,
    Image,
    Unknown,
}

fn kind(part: &ContentPart) -> Kind {
    match part.r#type.as_str() {
        "text" => Kind::Text,
        "image" => Kind::Image,
        _ => Kind::Unknown,
    }
}

/// Checks a part. Returns the bytes of its text.
pub(crate) fn check(part: &ContentPart) -> Result<usize, String> {
    match kind(part) {
        Kind::Text => Ok(part.text.len()),
        Kind::Image => {
            let found = image(&part.image_url)?;
            if let Image::Data { base64, .. } = found {
                check_data(base64)?;
            }
            Ok(0)
        }
        Kind::Unknown => {
            Err(format!("type is {:?}, but must be text or image", short(&part.r#type)))
        }
    }
}

fn image(url: &str) -> Result<Image<'_>, String> {
    if let Some(data) = url.strip_prefix("data:") {
        let (media_type, base64) = data
            .split_once(";base64,")
            .ok_or("image_url begins with data:, but has no `;base64,` before its data")?;
        if !IMAGES.contains(&media_type) {
            let known = IMAGES.join(", ");
            return Err(format!(
                "image_url has the type {:?}, but must be {known}",
                short(media_type)
            ));
        }
        return Ok(Image::Data { media_type, base64 });
    }
    let host = url.strip_prefix("https://").unwrap_or_default();
    let plain = |letter: u8| letter.is_ascii_graphic();
    if host.is_empty() || host.starts_with('/') || !url.bytes().all(plain) {
        return Err(format!(
            "image_url is {:?}, but must be an https address or data:<media type>;base64,<data>",
            short(url)
        ));
    }
    if url.len() > MAX_ADDRESS {
        return Err(format!(
            "image_url has {} bytes, but must have at most {MAX_ADDRESS}",
            url.len()
        ));
    }
    Ok(Image::Address(url))
}

fn check_data(base64: &str) -> Result<(), String> {
    if base64.len() > MAX_IMAGE {
        return Err(format!(
            "image_url has {} bytes of data, but must have at most {MAX_IMAGE}",
            base64.len()
        ));
    }
    match STANDARD.decode(base64) {
        Ok(data) if data.is_empty() => Err("image_url has no data".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("image_url has data that is no base64: {error}")),
    }
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(url: &str) -> ContentPart {
        ContentPart { r#type: "image".into(), image_url: url.into(), ..Default::default() }
    }

    #[test]
    fn a_message_is_its_content_and_then_its_parts() {
        let words = ContentPart { r#type: "text".into(), text: "two".into(), ..Default::default() };
        let message = ChatMessage {
            content: "one".into(),
            parts: vec![
                words,
                picture("https://x.example/a.png"),
                picture("data:image/png;base64,aGk="),
            ],
            ..Default::default()
        };
        assert_eq!(text(&message), "one\ntwo");
        let expected = [
            Image::Address("https://x.example/a.png"),
            Image::Data { media_type: "image/png", base64: "aGk=" },
        ];
        assert!(images(&message).eq(expected));
        assert_eq!(parts(&ChatMessage::default()).count(), 0);
    }

    #[test]
    fn a_bad_part_is_told_what_is_wrong() {
        let huge = format!("data:image/png;base64,{}", "A".repeat(MAX_IMAGE + 4));
        for (url, expected) in [
            ("http://x.example/a.png", "must be an https address"),
            ("file:///etc/passwd", "must be an https address"),
            ("https://", "must be an https address"),
            ("https:///x", "must be an https address"),
            ("https://x.example/a b", "must be an https address"),
            ("data:image/png,aa", "no `;base64,`"),
            ("data:image/svg+xml;base64,aa", "\"image/svg+xml\", but must be image/png"),
            ("data:image/png;base64,a!", "no base64"),
            ("data:image/png;base64,", "no data"),
            (huge.as_str(), "at most 8388608"),
        ] {
            let error = check(&picture(url)).unwrap_err();
            assert!(error.contains(expected) && error.len() < 400, "{error}");
        }
        let sound = ContentPart { r#type: "sound".into(), ..Default::default() };
        assert!(check(&sound).unwrap_err().contains("type is \"sound\""));
        assert_eq!(check(&picture("https://x.example/a.png")), Ok(0));
    }
}
