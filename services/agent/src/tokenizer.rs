//! Counting tokens with OpenAI's o200k table, which the savings are told in.

use muster_contracts::{Code, Fault};

/// The tokens of a text. Not for the async runtime's threads: the first call loads the table, and a long text takes milliseconds.
pub(crate) fn count(text: &str) -> u32 {
    u32::try_from(muster_text::tokens::count(text)).unwrap_or(u32::MAX)
}

/// Runs something that counts on a thread for blocking work.
pub(crate) async fn counting<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Fault::new(Code::Internal, format!("tokens could not be counted: {error}"))
    })
}
