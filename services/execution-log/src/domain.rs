//! What a recorded event is, and what an execution used. No I/O.

mod listing;
mod place;
mod record;
mod seen;
mod standing;
mod usage;

pub(crate) use listing::{Cursor, Listing};
pub(crate) use place::Place;
pub(crate) use record::{Mark, Record, key};
pub(crate) use standing::{Standing, standings};
pub(crate) use usage::{Run, Summary, total};

/// The most entries in one page of a timeline.
pub(crate) const MAX_PAGE: u32 = 1000;

/// The most that the bodies of one page come to, in bytes, so that a reply fits into a message. One body may be
/// larger than that by itself.
pub(crate) const MAX_PAGE_BYTES: i64 = 4 * 1024 * 1024;
