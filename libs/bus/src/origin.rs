//! Whether a message still belongs to the stream that is there.
//!
//! A stream in memory begins anew at sequence 1 when its server does, and so do its consumers. An acknowledgement names a sequence only, so that one for a message of the old stream would be taken
//! for the message that has this sequence now, which then nobody handles.

use std::sync::{Mutex, PoisonError};

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, ErrorCode, stream};

use crate::Bus;

/// A message of a stream, also over restarts of a stream in memory: its sequence, and when it was stored, in nanoseconds.
pub(crate) type Place = (u64, i128);

/// The stream as it was when a consumer began to pull.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// When it was created, in nanoseconds.
    pub(crate) created: i128,
    /// The connection to which it was known.
    pub(crate) generation: u64,
}

/// The last origin that is known.
#[derive(Default)]
pub(crate) struct LastOrigin(Mutex<Origin>);

impl LastOrigin {
    pub(crate) fn get(&self) -> Origin {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, origin: Origin) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = origin;
    }
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) place: Place,
    pub(crate) origin: Origin,
}

impl Spot {
    /// The place of a message that came from this stream.
    pub(crate) fn of(
        message: &jetstream::Message,
        origin: Origin,
    ) -> Result<Self, async_nats::Error> {
        let info = message.info()?;
        Ok(Self { place: (info.stream_sequence, info.published.unix_timestamp_nanos()), origin })
    }

    /// Whether the stream that delivered the message is gone, so that nothing may be said of it to the one that is there. `known` is the last that is known of this; the server is asked only where
    /// it may be another.
    ///
    /// # Errors
    /// Where the server does not tell.
    pub(crate) async fn is_gone(
        &self,
        bus: &Bus,
        name: &str,
        known: Origin,
    ) -> Result<bool, async_nats::Error> {
        let (up, generation) = {
            let link = bus.link();
            let link = link.borrow();
            (link.up, link.generation)
        };
        if up && generation == self.origin.generation && known == self.origin {
            return Ok(false);
        }
        match bus.jetstream().get_stream(name).await {
            Ok(stream) => Ok(self.is_older_than(stream.cached_info())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(true)
                }
                _ => Err(error.into()),
            },
        }
    }

    /// A cluster that was started again as a whole keeps the time of creation, but not the messages.
    fn is_older_than(&self, now: &stream::Info) -> bool {
        let (sequence, published) = self.place;
        let state = &now.state;
        now.created.unix_timestamp_nanos() != self.origin.created
            || sequence > state.last_sequence
            || (sequence >= state.first_sequence
                && published < state.first_timestamp.unix_timestamp_nanos())
    }
}
