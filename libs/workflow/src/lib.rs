#![doc = include_str!("../README.md")]

mod definition;
mod document;
mod duration;
mod effect;
mod error;
mod execution;
mod expression;
mod fact;
pub mod limits;
mod model;
mod pointer;
mod problem;
mod size;
mod stack;
mod step;

pub use definition::{Definition, References};
pub use effect::{Effect, effects};
pub use error::{Error, ErrorType};
pub use execution::{Execution, Status, TaskStatus, TaskView, Unreadable};
pub use fact::{Fact, Function, Handling, Purpose};
pub use problem::{Problem, Problems};
pub use step::{Input, step};
