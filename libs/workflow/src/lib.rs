#![doc = include_str!("../README.md")]

mod definition;
mod document;
mod duration;
mod effect;
mod error;
mod event;
mod execution;
mod expression;
mod external;
mod fact;
pub mod limits;
mod model;
mod pointer;
mod problem;
mod replayed;
mod schedule;
mod size;
mod slow;
mod stack;
mod step;
mod versions;

pub use definition::{Definition, References, WorkflowReference};
pub use effect::{Effect, effects};
pub use error::{Error, ErrorType};
pub use event::Interest;
pub use execution::{Execution, Origin, Status, TaskStatus, TaskView, Unreadable};
pub use external::{External, Need};
pub use fact::{Consumed, Fact, Function, Handling, Parent, Payer, Purpose};
pub use problem::{Problem, Problems};
pub use replayed::{Decision, Recorded, Replayed, replayed};
pub use schedule::{Gathered, Schedule, Times, Trigger};
pub use size::weight;
pub use slow::{Here, Slow};
pub use step::{Changes, Fork, ForkError, Input, step};
pub use versions::{Change, Difference, differences};
