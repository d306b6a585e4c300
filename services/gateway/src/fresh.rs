//! One question for all who ask the same at the same time.
//!
//! An answer is given only to those who were there before its question was sent: what somebody has just written is read by whoever asks after that, as if each had asked alone.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};

use tokio::sync::Mutex;

/// An answer, and when its question was sent.
type Slot<T> = Arc<Mutex<Option<(u64, T)>>>;

/// Questions that are being asked, by their key. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Fresh<T> {
    asked: Arc<Lock<HashMap<String, Slot<T>>>>,
    /// Counts arrivals and questions: what has a higher number came later.
    clock: Arc<AtomicU64>,
}

impl<T> Clone for Fresh<T> {
    fn clone(&self) -> Self {
        Self { asked: self.asked.clone(), clock: self.clock.clone() }
    }
}

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self { asked: Arc::default(), clock: Arc::default() }
    }
}

impl<T: Clone> Fresh<T> {
    /// The answer to the question `key`, by `ask` or by somebody else's question that was sent since this call.
    pub(crate) async fn get<F: Future<Output = T>>(&self, key: &str, ask: impl FnOnce() -> F) -> T {
        let arrived = self.tick();
        let turn = Turn::new(self, key);
        let mut slot = turn.slot.lock().await;
        if let Some((sent, answer)) = slot.as_ref()
            && *sent > arrived
        {
            return answer.clone();
        }
        let sent = self.tick();
        let answer = ask().await;
        *slot = Some((sent, answer.clone()));
        answer
    }
}

impl<T> Fresh<T> {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<String, Slot<T>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who asks. The last one takes the answer along.
struct Turn<'a, T> {
    fresh: &'a Fresh<T>,
    key: &'a str,
    slot: Slot<T>,
}

impl<'a, T> Turn<'a, T> {
    fn new(fresh: &'a Fresh<T>, key: &'a str) -> Self {
        let mut asked = fresh.asked();
        let slot = match asked.get(key) {
            Some(slot) => slot.clone(),
            None => asked.entry(key.to_owned()).or_default().clone(),
        };
        drop(asked);
        Self { fresh, key, slot }
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let mut asked = self.fresh.asked();
        // The map's and ours: nobody else waits.
        if Arc::strong_count(&self.slot) <= 2 {
            asked.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_together_share_a_question_that_was_sent_after_they_came() {
        let (fresh, sent) = (Fresh::default(), AtomicU64::new(0));
        let ask = || async {
            let number = sent.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            number
        };
        let answers = join_all((0..100).map(|_| fresh.get("a", ask))).await;
        // The first question was sent before the others came, the second one was not.
        assert_eq!(answers.iter().filter(|answer| **answer == 0).count(), 1);
        assert_eq!(answers.iter().filter(|answer| **answer == 1).count(), 99);
        assert!(fresh.asked().is_empty(), "nothing is kept");
        assert_eq!(fresh.get("a", ask).await, 2);
    }

    #[tokio::test]
    async fn who_gives_up_in_the_middle_leaves_the_question_to_the_next() {
        let fresh = Fresh::default();
        let never = fresh.get("a", std::future::pending);
        assert!(tokio::time::timeout(Duration::from_millis(1), never).await.is_err());
        assert_eq!(fresh.get("a", || async { 7 }).await, 7);
        assert!(fresh.asked().is_empty());
    }
}
