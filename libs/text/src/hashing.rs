//! Vectors of texts by hashing their words.
//!
//! They match words, not meaning: `car` and `automobile` have nothing in common here. They need no model, no key and no
//! network, and the same text has the same vector on every machine and in every version.

/// What these vectors are called. Vectors of different names are never compared.
pub const NAME: &str = "hashing-256";
/// How many numbers a vector has.
pub const DIMENSION: u64 = 256;

/// A pair of words says more than a word, but is met in fewer texts.
const PAIR: f32 = 0.5;

/// Words that nearly every English text has and that would make all texts alike.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "did", "do", "does",
    "for", "from", "had", "has", "have", "he", "her", "his", "how", "i", "if", "in", "into", "is",
    "it", "its", "may", "me", "my", "no", "not", "of", "on", "or", "our", "she", "so", "such",
    "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "to", "was",
    "we", "were", "what", "when", "where", "which", "who", "why", "will", "with", "would", "you",
    "your",
];

/// The vector of a text: each word and each pair of neighbours adds its weight at a hashed place with a hashed sign,
/// so that collisions cancel out on average (Weinberger et al., "Feature hashing for large scale multitask learning",
/// ICML 2009). A word's weight grows with the logarithm of its count. The vector has length 1, or 0 without any word.
#[must_use]
pub fn vector(text: &str) -> Vec<f32> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !STOP_WORDS.contains(word))
        .collect();
    let mut features: Vec<(u64, f32)> = words.iter().map(|word| (hash(&[word]), 1.0)).collect();
    features.extend(words.windows(2).map(|pair| (hash(pair), PAIR)));
    features.sort_by_key(|(hash, _)| *hash);

    let mut vector = vec![0.0_f32; usize::try_from(DIMENSION).unwrap_or_default()];
    for same in features.chunk_by(|a, b| a.0 == b.0) {
        let Some((hash, weight)) = same.first() else { continue };
        let count = u16::try_from(same.len()).unwrap_or(u16::MAX);
        let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        let place = usize::try_from(hash % DIMENSION).unwrap_or_default();
        if let Some(number) = vector.get_mut(place) {
            *number += sign * weight * (1.0 + f32::from(count).ln());
        }
    }
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    }
    vector
}

/// FNV-1a, 64 bits, with a mixing step at the end: its low bits alone are weak. It will never change, as stored vectors
/// depend on it.
fn hash(words: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for word in words {
        for byte in word.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &str, b: &str) -> f32 {
        vector(a).iter().zip(vector(b)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_have_length_one_or_none() {
        let length = |text: &str| vector(text).iter().map(|n| n * n).sum::<f32>();
        assert!((length("Nothing is lost and nothing is done twice.") - 1.0).abs() < 1e-5);
        assert!(length("?! …").abs() < f32::EPSILON);
        assert_eq!(vector("word").len(), 256);
    }

    #[test]
    fn texts_with_the_same_words_are_nearer() {
        let question = "How does the broker store messages?";
        let near = cosine(question, "The broker can store messages on disk.");
        let far = cosine(question, "Bread needs flour, water and salt.");
        assert!(near > 0.5 && far < 0.2, "{near} {far}");
        assert!((cosine("Durable Queue", "durable queue!") - 1.0).abs() < 1e-5);
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(hash(&["muster"]), 10_607_762_637_753_833_808);
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }
}
