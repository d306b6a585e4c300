//! Where a reply goes while it comes: piece by piece to whoever follows it, and as a whole to whoever has to charge it, however it ends.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::domain::reply::PartialReply;

/// A piece of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Of its text.
    Text(String),
    /// Of what the model thinks before.
    Thought(String),
}

impl Piece {
    pub(crate) const fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) | Self::Thought(text) => text.is_empty(),
        }
    }
}

/// What has come of a reply: it outlives the call that is dropped in the middle. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Received(Arc<Mutex<PartialReply>>);

impl Received {
    /// Reads it, or adds to it.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut PartialReply) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where a provider puts a reply while it comes.
pub(crate) struct Output {
    pieces: mpsc::Sender<Piece>,
    pub(crate) received: Received,
}

impl Output {
    pub(crate) const fn new(pieces: mpsc::Sender<Piece>, received: Received) -> Self {
        Self { pieces, received }
    }

    /// Sends a piece on; waits while too many are on their way. Where nobody reads them any more, the reply is still taken, recorded and answered.
    pub(super) async fn send(&self, piece: Piece) {
        if !piece.is_empty() {
            drop(self.pieces.send(piece).await);
        }
    }
}
