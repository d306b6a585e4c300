//! Reading what is logged. A test has a thread of its own, and its tasks run there.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once};

/// What is logged on this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

/// Ends the reading.
pub(crate) struct Reading(());

thread_local! {
    static READ: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// Writes into the log of the thread, where one is read.
struct OfThread;

impl Write for OfThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        READ.with_borrow(|log| {
            if let Some(Log(text)) = log {
                text.lock().unwrap().extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// What is logged on this thread from now on, until the guard goes.
    pub(crate) fn capture() -> (Self, Reading) {
        static SUBSCRIBED: Once = Once::new();
        // One subscriber for all threads. With one for each of them a place that another thread, which has none, logs
        // at for the first time is remembered as one that nobody reads.
        SUBSCRIBED.call_once(|| {
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| OfThread);
            tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        });
        let log = Self::default();
        READ.set(Some(log.clone()));
        (log, Reading(()))
    }

    /// The lines with this word.
    pub(crate) fn lines(&self, word: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        READ.set(None);
    }
}
