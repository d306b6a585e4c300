#![doc = include_str!("../README.md")]

mod address;
mod list;
pub mod notice;
mod store;

pub use self::address::{Address, AddressError, TEAM};
pub use self::list::{Entry, Listing, Page};
pub use self::store::{Deliverables, Draft, MAX_CONTENT, Published, Stored};
