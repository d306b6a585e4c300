//! Questions that were asked before, by what they mean.
//!
//! They lie in the key-value bucket `CACHE` beside the replies. Each replica keeps all of them in memory, as a watch of the bucket tells them: a look costs no message.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use futures::StreamExt;
use muster_bus::{Bucket, Bus, Kv};
use muster_contracts::Fault;
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::Place;

/// What the keys of questions begin with.
const SPACE: &str = "near.";
/// The most questions that are compared with one.
const MOST: usize = 256;
/// After so many new questions those that are too old are looked for.
const SWEEP: usize = 1_000;
/// What 1 is in a number of a vector: 16 bits are exact to some 0.0001 in a similarity.
const ONE: f32 = 32_767.0;

/// A question's vector, and what it may be compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    context: String,
    vector: Arc<[i16]>,
}

impl Spot {
    /// None for a vector that points nowhere.
    pub(crate) fn new(context: String, vector: &[f32]) -> Option<Self> {
        let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
        let points = length.is_finite() && length > f32::EPSILON;
        points.then(|| {
            let small = vector.iter().map(|number| (number / length * ONE).round() as i16);
            Self { context, vector: small.collect() }
        })
    }
}

/// Questions that were asked before. Cheap to clone.
#[derive(Clone)]
pub(super) struct Near {
    stored: Kv<Asked>,
    known: Arc<RwLock<Known>>,
}

/// A question in the bucket, under `near.<place of its reply>.<context>`.
#[derive(Clone, Serialize, Deserialize)]
struct Asked {
    until_ms: i64,
    /// Numbers of 16 bits, base64.
    vector: String,
}

/// The questions by their context, the newest last.
#[derive(Default)]
struct Known {
    questions: HashMap<String, Vec<Question>>,
    new: usize,
}

struct Question {
    place: String,
    until_ms: i64,
    vector: Arc<[i16]>,
}

impl Near {
    pub(super) fn new(bus: &Bus) -> Self {
        Self { stored: bus.kv(Bucket::Cache), known: Arc::default() }
    }

    pub(super) async fn listen(&self) {
        let mut changes = Box::pin(self.stored.watch(SPACE));
        while let Some(change) = changes.next().await {
            match change {
                Ok(change) => {
                    let Some((place, context)) = parts(&change.key) else { continue };
                    let question = change.value.and_then(|found| {
                        let vector = read(&found.value.vector)?;
                        let until_ms = found.value.until_ms;
                        Some(Question { place: place.to_owned(), until_ms, vector })
                    });
                    self.change(context, place, question);
                }
                Err(error) => debug!(%error, "a cached question cannot be read"),
            }
        }
    }

    /// Where the reply to the nearest question is, and how near that is, where it is near enough.
    pub(super) fn nearest(&self, spot: &Spot, least: f64) -> Option<(Place, f64)> {
        let now_ms = Utc::now().timestamp_millis();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let questions = known.questions.get(&spot.context)?;
        let alive = questions.iter().filter(|question| question.until_ms > now_ms);
        let found = alive.map(|question| (question, similarity(&question.vector, &spot.vector)));
        let (question, similarity) = found.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (similarity >= least).then(|| (Place(question.place.clone()), similarity))
    }

    /// Keeps a question whose reply is kept.
    pub(super) async fn put(&self, place: &Place, spot: Spot, until_ms: i64) -> Result<(), Fault> {
        let bytes: Vec<u8> = spot.vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        let asked = Asked { until_ms, vector: STANDARD.encode(bytes) };
        let key = format!("{SPACE}{}.{}", place.0, spot.context);
        self.stored.put(&key, &asked).await?;
        let question = Question { place: place.0.clone(), until_ms, vector: spot.vector };
        self.change(&spot.context, &place.0, Some(question));
        Ok(())
    }

    /// Forgets the questions whose replies are at such places.
    pub(super) async fn clear(&self, fits: impl Fn(&str) -> bool) -> Result<(), Fault> {
        for key in self.stored.keys(SPACE).await? {
            if let Some((place, context)) = parts(&key)
                && fits(place)
            {
                self.stored.delete(&key).await?;
                self.change(context, place, None);
            }
        }
        Ok(())
    }

    fn change(&self, context: &str, place: &str, question: Option<Question>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.change(context, place, question, Utc::now().timestamp_millis());
    }
}

impl Known {
    fn change(&mut self, context: &str, place: &str, question: Option<Question>, now_ms: i64) {
        let alive = |known: &Question| known.until_ms > now_ms;
        let questions = self.questions.entry(context.to_owned()).or_default();
        questions.retain(|known| known.place != place && alive(known));
        if let Some(question) = question.filter(alive) {
            questions.push(question);
            let too_many = questions.len().saturating_sub(MOST);
            questions.drain(..too_many);
            self.new += 1;
        } else if questions.is_empty() {
            self.questions.remove(context);
        }
        // What the bucket drops for its age is told to nobody.
        if self.new >= SWEEP {
            self.new = 0;
            self.questions.retain(|_, questions| questions.iter().any(alive));
        }
    }
}

/// The place of the reply and the context, of which the first may have dots.
fn parts(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(SPACE)?.rsplit_once('.')
}

fn read(vector: &str) -> Option<Arc<[i16]>> {
    let bytes = STANDARD.decode(vector).ok()?;
    let (pairs, rest) = bytes.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect())
}

/// The cosine of the angle; 0 for vectors of different lengths.
fn similarity(one: &[i16], other: &[i16]) -> f64 {
    if one.len() != other.len() {
        return 0.0;
    }
    let product = |(a, b): (&i16, &i16)| i64::from(*a) * i64::from(*b);
    let sum: i64 = one.iter().zip(other).map(product).sum();
    (sum as f64 / f64::from(ONE * ONE)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(vector: &[f32]) -> Spot {
        Spot::new("c".into(), vector).unwrap()
    }

    #[test]
    fn a_vector_keeps_its_direction() {
        let one = spot(&[3.0, 4.0, 0.0]);
        let bytes: Vec<u8> = one.vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(read(&STANDARD.encode(&bytes)), Some(one.vector.clone()));
        assert_eq!(read("AA=="), None);
        assert!((similarity(&one.vector, &spot(&[6.0, 8.0, 0.0]).vector) - 1.0).abs() < 1e-4);
        assert!((similarity(&one.vector, &spot(&[3.0, 0.0, 4.0]).vector) - 0.36).abs() < 1e-4);
        assert!(similarity(&one.vector, &spot(&[1.0, 1.0]).vector).abs() < 1e-9);
        assert_eq!(Spot::new("c".into(), &[0.0, 0.0]), None);
    }

    #[test]
    fn old_and_too_many_questions_are_forgotten() {
        let mut known = Known::default();
        let question = |place: &str, until_ms| Question {
            place: place.to_owned(),
            until_ms,
            vector: spot(&[1.0]).vector,
        };
        for number in 0..MOST + 2 {
            let place = number.to_string();
            known.change("c", &place, Some(question(&place, 9)), 5);
        }
        assert_eq!(
            (known.questions["c"].len(), known.questions["c"][0].place.as_str()),
            (MOST, "2")
        );
        known.change("c", "7", None, 5);
        assert_eq!(known.questions["c"].len(), MOST - 1);
        known.change("c", "x", Some(question("x", 20)), 9);
        assert_eq!(known.questions["c"].len(), 1);
        known.change("c", "x", None, 9);
        assert!(known.questions.is_empty());
    }
}
