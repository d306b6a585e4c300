//! Merging two rankings.

use std::collections::HashMap;

/// How many chunks each ranking offers.
pub(crate) const CANDIDATES: i64 = 50;

/// The constant of reciprocal rank fusion: Cormack, Clarke, Büttcher, "Reciprocal rank fusion outperforms
/// Condorcet and individual rank learning methods", SIGIR 2009, which found 60 near the best on every collection.
const K: f64 = 60.0;

/// A chunk in the merged ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) chunk: i64,
    pub(crate) score: f64,
    /// Cosine similarity; absent where only words matched.
    pub(crate) similarity: Option<f64>,
}

/// Merges chunks by nearness (with their similarity) and by words, each best first: a chunk's score is the sum of
/// `1 / (60 + rank)` over the rankings that hold it.
///
/// A chunk whose vector has nothing in common with the query's, and that no word brings in, is no hit.
pub(crate) fn fuse(near: &[(i64, f64)], words: &[i64], top_k: usize) -> Vec<Ranked> {
    let mut merged: HashMap<i64, Ranked> = HashMap::new();
    // A vector without length has no angle to others: Postgres says NaN.
    let near = near.iter().filter(|(_, similarity)| *similarity > 0.0);
    for (rank, (chunk, similarity)) in (1_u32..).zip(near) {
        let score = 1.0 / (K + f64::from(rank));
        merged.insert(*chunk, Ranked { chunk: *chunk, score, similarity: Some(*similarity) });
    }
    for (rank, chunk) in (1_u32..).zip(words) {
        let ranked =
            merged.entry(*chunk).or_insert(Ranked { chunk: *chunk, score: 0.0, similarity: None });
        ranked.score += 1.0 / (K + f64::from(rank));
    }
    let mut ranked: Vec<Ranked> = merged.into_values().collect();
    // Chunks are numbered as they come in, which makes the order of equals stable.
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.chunk.cmp(&b.chunk)));
    ranked.truncate(top_k);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(near: &[(i64, f64)], words: &[i64], top_k: usize) -> Vec<i64> {
        fuse(near, words, top_k).iter().map(|ranked| ranked.chunk).collect()
    }

    #[test]
    fn a_chunk_in_both_rankings_beats_the_first_of_one() {
        assert_eq!(order(&[(1, 0.9), (2, 0.8)], &[3, 2], 10), [2, 1, 3]);
    }

    #[test]
    fn scores_are_sums_of_reciprocal_ranks() {
        let ranked = fuse(&[(1, 0.5)], &[2, 1], 10);
        assert_eq!(
            ranked,
            [
                Ranked { chunk: 1, score: 1.0 / 61.0 + 1.0 / 62.0, similarity: Some(0.5) },
                Ranked { chunk: 2, score: 1.0 / 61.0, similarity: None },
            ]
        );
    }

    #[test]
    fn what_has_nothing_in_common_is_no_hit() {
        assert_eq!(order(&[(1, 0.4), (2, 0.0), (3, f64::NAN), (4, -0.1)], &[], 10), [1]);
        assert_eq!(order(&[(2, 0.0)], &[2], 10), [2]);
        assert!(order(&[], &[], 10).is_empty());
    }

    #[test]
    fn no_more_than_asked_for_come_back() {
        assert_eq!(order(&[(1, 0.9), (2, 0.8), (3, 0.7)], &[], 2), [1, 2]);
    }
}
