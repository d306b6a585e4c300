//! Requests that wait for something to happen.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

type Waiting<T> = HashMap<String, Vec<oneshot::Sender<T>>>;

/// Who waits for what. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Waits<T>(Arc<Mutex<Waiting<T>>>);

impl<T> Clone for Waits<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Waits<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Waits<T> {
    /// Waits for what is told under `key` from now on. A subscription may miss it: also read the state now and then.
    pub(crate) fn register(&self, key: &str) -> Waiter<T> {
        let (tell, told) = oneshot::channel();
        self.lock().entry(key.to_owned()).or_default().push(tell);
        Waiter { told, _cleanup: Cleanup { waits: self.clone(), key: key.to_owned() } }
    }

    /// Tells everyone who waits for `key`.
    pub(crate) fn tell(&self, key: &str, value: &T) {
        for waiter in self.lock().remove(key).unwrap_or_default() {
            // Who stopped waiting does not matter.
            drop(waiter.send(value.clone()));
        }
    }
}

impl<T> Waits<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Waiter<T> {
    told: oneshot::Receiver<T>,
    _cleanup: Cleanup<T>,
}

impl<T> Waiter<T> {
    /// What was told; never returns where nothing is told.
    pub(crate) async fn told(&mut self) -> T {
        match (&mut self.told).await {
            Ok(value) => value,
            // Told before and taken: there is nothing more to come.
            Err(_closed) => std::future::pending().await,
        }
    }
}

/// Removes senders whose receiver is gone, so that requests which end early leave nothing behind.
#[derive(Debug)]
struct Cleanup<T> {
    waits: Waits<T>,
    key: String,
}

impl<T> Drop for Cleanup<T> {
    fn drop(&mut self) {
        let mut waiting = self.waits.lock();
        if let Some(waiters) = waiting.get_mut(&self.key) {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                waiting.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_who_waits_for_a_key_is_told() {
        let waits = Waits::default();
        let (mut one, mut two) = (waits.register("a"), waits.register("a"));
        waits.tell("b", &1);
        waits.tell("a", &2);
        assert_eq!((one.told().await, two.told().await), (2, 2));
    }

    #[test]
    fn who_gives_up_leaves_nothing_behind() {
        let waits = Waits::<u8>::default();
        let (one, two) = (waits.register("a"), waits.register("a"));
        drop(one);
        assert_eq!(waits.lock().len(), 1);
        drop(two);
        assert_eq!(waits.lock().len(), 0);
    }
}
