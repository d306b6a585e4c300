//! Vectors that depend on the words of a text only: words that two texts share make their vectors alike.

use serde_json::Value;

const DIMENSIONS: u64 = 64;

/// The texts of a request in any dialect.
pub(super) fn inputs(request: &Value) -> Option<Vec<&str>> {
    match request.get("input") {
        Some(Value::String(text)) => Some(vec![text]),
        Some(Value::Array(texts)) => Some(texts.iter().filter_map(Value::as_str).collect()),
        _ => {
            let requests = request.get("requests")?.as_array()?;
            requests
                .iter()
                .map(|one| one.pointer("/content/parts/0/text").and_then(Value::as_str))
                .collect()
        }
    }
}

/// How long the vectors of a request are.
pub(super) fn dimensions(request: &Value) -> u64 {
    request.get("dimensions").and_then(Value::as_u64).unwrap_or(DIMENSIONS).max(1)
}

/// The vector of a text, of length 1.
pub(super) fn vector(text: &str, dimensions: u64) -> Vec<f64> {
    let mut counts = vec![0.0_f64; usize::try_from(dimensions).unwrap_or(1)];
    for word in text.split_whitespace() {
        let hash = word.to_lowercase().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        if let Some(count) =
            usize::try_from(hash % dimensions).ok().and_then(|at| counts.get_mut(at))
        {
            *count += 1.0;
        }
    }
    let length = counts.iter().map(|count| count * count).sum::<f64>().sqrt();
    counts.iter().map(|count| if length > 0.0 { count / length } else { 0.0 }).collect()
}
