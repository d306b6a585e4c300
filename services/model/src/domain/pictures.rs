//! How many tokens an image is: by the formulas that the providers publish, and where nobody knows its size or its model, the most that it can be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::content::Image;

/// How much of an image is read for its size, in bytes of base64: behind the pictures that cameras put before it.
const READ: usize = 512 << 10;
/// The most tokens of an image in a model that is of none of the known families: that of Qwen's with a patch for each 28 pixels.
const MOST: u32 = 16_384;

/// Width and height, in pixels.
type Size = (u32, u32);

/// The most tokens that a model of this name counts for an image.
pub(crate) fn tokens(image: Image<'_>, model: &str) -> u32 {
    let size = match image {
        // The provider fetches it; nobody here knows its size.
        Image::Address(_) => None,
        Image::Data { base64, .. } => size(base64),
    };
    let model = model.to_ascii_lowercase();
    let is_of = |names: &[&str]| names.iter().any(|name| model.contains(name));
    if is_of(&["claude"]) {
        claude(&model, size)
    } else if is_of(&["gemini"]) {
        gemini(&model, size)
    } else if is_of(&["gpt-", "codex"]) || ["o1", "o3", "o4"].iter().any(|o| starts(&model, o)) {
        openai(&model, size)
    } else {
        size.map_or(MOST, |size| patches(size, 16).min(MOST))
    }
}

/// Whether the model's own name begins so, behind that of a provider.
fn starts(model: &str, start: &str) -> bool {
    model.rsplit('/').next().is_some_and(|name| name.starts_with(start))
}

/// A patch is 28 pixels wide, or an area of 750; larger images are made smaller.
fn claude(model: &str, size: Option<Size>) -> u32 {
    let is_small = ["claude-3", "-4-0", "-4-1", "-4-2", "-4-5", "-4-6"];
    let is_small = is_small.iter().any(|part| model.contains(part)) || model.ends_with("-4");
    let (edge, most) = if is_small { (1_568, 1_600) } else { (2_576, 4_784) };
    let Some(size) = size else { return most };
    let size = within(size, edge);
    patches(size, 28).max(area(size).div_ceil(750).try_into().unwrap_or(most)).min(most)
}

/// Models before 3 see tiles of 258 tokens, later ones a number that their resolution says.
fn gemini(model: &str, size: Option<Size>) -> u32 {
    const TILE: u32 = 258;
    if model.contains("gemini-3") {
        return 1_120;
    }
    if !["gemini-1", "gemini-2"].iter().any(|old| model.contains(old)) {
        return 2_240;
    }
    let Some(size) = size else { return 24 * TILE };
    if size.0.max(size.1) <= 384 {
        return TILE;
    }
    let (width, height) = within(size, 3_072);
    let unit = (width.min(height) * 2 / 3).clamp(256, 768);
    patches((width, height), unit) * TILE
}

/// Older models see tiles of 512 pixels, newer ones patches of 32.
fn openai(model: &str, size: Option<Size>) -> u32 {
    let is = |name: &str| model.contains(name);
    if is("gpt-4o-mini") {
        return tiles(size, 2_833, 5_667);
    }
    let is_small = is("mini") || is("nano");
    if !is_small && (is("gpt-4") || is("chatgpt")) {
        return tiles(size, 85, 170);
    }
    if starts(model, "o1") || starts(model, "o3") {
        return tiles(size, 75, 150);
    }
    if !is_small && is("gpt-5") && !is("gpt-5.") {
        return tiles(size, 70, 140);
    }
    // The most patches, and tokens for a hundred of them.
    let (most, tokens) = match () {
        () if is("gpt-4.1-mini") || is("gpt-5-mini") => (1_536, 162),
        () if is("gpt-4.1-nano") || is("gpt-5-nano") => (1_536, 246),
        () if is("o4-mini") || is("codex-mini") => (1_536, 172),
        () if is("nano") => (10_000, 246),
        () if is("mini") => (10_000, 162),
        () => (10_000, 120),
    };
    (size.map_or(most, |size| patches(size, 32).min(most)) * tokens).div_ceil(100)
}

/// Tiles of 512 pixels of what fits 2,048 × 2,048, with a shorter side of at most 768.
fn tiles(size: Option<Size>, base: u32, tile: u32) -> u32 {
    let count = size.map_or(8, |size| {
        let (width, height) = within(size, 2_048);
        let shorter = width.min(height);
        let scaled = |side: u32| match shorter > 768 {
            true => scale(side, 768, shorter),
            false => side,
        };
        patches((scaled(width), scaled(height)), 512)
    });
    base + tile * count
}

/// The image with a longer side of at most `edge`.
fn within((width, height): Size, edge: u32) -> Size {
    let longer = width.max(height);
    match longer > edge {
        true => (scale(width, edge, longer), scale(height, edge, longer)),
        false => (width, height),
    }
}

fn scale(side: u32, to: u32, from: u32) -> u32 {
    let scaled = (u64::from(side) * u64::from(to)).div_ceil(u64::from(from.max(1)));
    u32::try_from(scaled).unwrap_or(to).max(1)
}

fn area((width, height): Size) -> u64 {
    u64::from(width) * u64::from(height)
}

/// Squares of this side that cover the image.
fn patches((width, height): Size, side: u32) -> u32 {
    let count = u64::from(width.div_ceil(side)) * u64::from(height.div_ceil(side));
    u32::try_from(count).unwrap_or(u32::MAX / 1_000)
}

/// The size that the image's own head tells.
fn size(base64: &str) -> Option<Size> {
    let start = base64.get(..base64.len().min(READ) / 4 * 4)?;
    let data = STANDARD.decode(start).ok()?;
    let size = png(&data).or_else(|| gif(&data)).or_else(|| webp(&data)).or_else(|| jpeg(&data))?;
    // Nobody takes larger ones; what says so is no image.
    (1..=100_000).contains(&size.0.min(size.1)).then_some(size)
}

fn number(data: &[u8], at: usize, bytes: usize, is_big: bool) -> Option<u32> {
    let found = data.get(at..at.checked_add(bytes)?)?;
    let add = |sum: u32, byte: &u8| (sum << 8) | u32::from(*byte);
    Some(if is_big { found.iter().fold(0, add) } else { found.iter().rev().fold(0, add) })
}

fn png(data: &[u8]) -> Option<Size> {
    data.starts_with(b"\x89PNG\r\n\x1a\n").then_some(())?;
    Some((number(data, 16, 4, true)?, number(data, 20, 4, true)?))
}

fn gif(data: &[u8]) -> Option<Size> {
    data.starts_with(b"GIF8").then_some(())?;
    Some((number(data, 6, 2, false)?, number(data, 8, 2, false)?))
}

fn webp(data: &[u8]) -> Option<Size> {
    (data.starts_with(b"RIFF") && data.get(8..12)? == b"WEBP").then_some(())?;
    match data.get(12..16)? {
        b"VP8X" => Some((number(data, 24, 3, false)? + 1, number(data, 27, 3, false)? + 1)),
        b"VP8L" => {
            let bits = number(data, 21, 4, false)?;
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        b"VP8 " => {
            Some((number(data, 26, 2, false)? & 0x3fff, number(data, 28, 2, false)? & 0x3fff))
        }
        _ => None,
    }
}

/// Goes from part to part until one begins a frame.
fn jpeg(data: &[u8]) -> Option<Size> {
    data.starts_with(b"\xff\xd8").then_some(())?;
    let mut at = 2;
    loop {
        let marker = number(data, at, 2, true)?;
        match marker {
            0xffff => at += 1,
            0xffc4 | 0xffc8 | 0xffcc => at += 2 + part(data, at)?,
            0xffc0..=0xffcf => {
                return Some((number(data, at + 7, 2, true)?, number(data, at + 5, 2, true)?));
            }
            0xffe0..=0xfffe | 0xffdb | 0xffdd => at += 2 + part(data, at)?,
            _ => return None,
        }
    }
}

/// The length of the part whose marker is here.
fn part(data: &[u8], at: usize) -> Option<usize> {
    number(data, at + 2, 2, true)?.try_into().ok().filter(|length| *length >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(head: &[u8]) -> String {
        STANDARD.encode(head)
    }

    fn picture(width: u32, height: u32) -> String {
        let head: [&[u8]; 4] = [
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            &width.to_be_bytes(),
            &height.to_be_bytes(),
            b"\x08\x02\0\0\0",
        ];
        image(&head.concat())
    }

    #[test]
    fn every_format_tells_its_size() {
        let gif = b"GIF89a\x80\x02\xe0\x01\x80\0\0";
        let jpeg =
            b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xdb\0\x03x\xff\xc2\0\x0b\x08\x01\xe0\x02\x80\x03";
        let vp8x = b"RIFF....WEBPVP8X\x0a\0\0\0\x10\0\0\0\x7f\x02\0\xdf\x01\0";
        let vp8l = b"RIFF....WEBPVP8L\0\0\0\0\x2f\x7f\xc2\x77\0";
        let vp8 = b"RIFF....WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x80\x02\xe0\x01";
        for head in [&gif[..], jpeg, vp8x, vp8l, vp8] {
            assert_eq!(size(&image(head)), Some((640, 480)), "{head:?}");
        }
        assert_eq!(size(&picture(640, 480)), Some((640, 480)));
        for head in [
            &b"hi"[..],
            b"\xff\xd8\xff\xe0\0\0",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            b"GIF89a\0\0\0\0",
        ] {
            assert_eq!(size(&image(head)), None, "{head:?}");
        }
    }

    #[test]
    fn an_image_has_the_tokens_that_its_models_provider_says() {
        let of = |model: &str, width: u32, height: u32| {
            let base64 = picture(width, height);
            tokens(Image::Data { media_type: "image/png", base64: &base64 }, model)
        };
        for (model, width, height, expected) in [
            // OpenAI's own examples.
            ("gpt-4o", 1_024, 1_024, 765),
            ("gpt-4o", 2_048, 4_096, 1_105),
            ("gpt-4o-mini", 1_024, 1_024, 25_501),
            ("gpt-4.1-mini", 1_024, 1_024, 1_659),
            ("openai/o3", 512, 512, 225),
            ("gpt-5.4", 1_920, 1_080, 2_448),
            ("claude-sonnet-4-5", 1_000, 1_000, 1_334),
            ("claude-sonnet-4-5", 8_000, 8_000, 1_600),
            ("claude-opus-5", 8_000, 8_000, 4_784),
            ("claude-haiku-4-5", 200, 200, 64),
            ("gemini-2.5-flash", 384, 384, 258),
            ("gemini-2.5-flash", 960, 540, 6 * 258),
            ("gemini-3.1-pro", 8_000, 8_000, 1_120),
            ("llava", 320, 160, 200),
            ("llava", 50_000, 50_000, 16_384),
        ] {
            assert_eq!(of(model, width, height), expected, "{model} {width} {height}");
        }
    }

    #[test]
    fn no_size_has_more_tokens_than_an_unknown_one() {
        let unknown = Image::Address("https://x.example/a.png");
        for model in [
            "gpt-4o",
            "gpt-4o-mini",
            "gpt-4.1",
            "gpt-4.1-nano",
            "o1",
            "gpt-5",
            "gpt-5-mini",
            "gpt-6-sol",
            "claude-3-haiku",
            "claude-opus-5",
            "gemini-2.5-pro",
            "gemini-3.8-flash",
            "gemini-9",
            "pixtral",
        ] {
            let most = tokens(unknown, model);
            for width in [1, 300, 768, 1_568, 2_576, 3_072, 9_000, 100_000] {
                for height in [1, 100, 384, 700, 768, 2_048, 3_072, 70_000] {
                    let base64 = picture(width, height);
                    let image = Image::Data { media_type: "image/png", base64: &base64 };
                    let found = tokens(image, model);
                    assert!((1..=most).contains(&found), "{model} {width} {height}: {found}");
                }
            }
        }
    }
}
