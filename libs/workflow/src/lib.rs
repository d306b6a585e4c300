#![doc = include_str!("../README.md")]

mod effect;
mod error;
mod fact;
pub mod limits;
mod problem;

pub use effect::{Effect, effects};
pub use error::{Error, ErrorType};
pub use fact::{Fact, Function, Handling, Purpose};
pub use problem::{Problem, Problems};
