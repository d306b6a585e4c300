//! Work that may take long.

/// Runs work that may take up to a second or two, where the caller has room for that.
///
/// A transition mostly takes microseconds, and only while it is under way it shows that it is one
/// of the few that do not: then what is left of it is run in here. A caller whose thread serves
/// others hands them to another thread in the meantime. The work is run once at most: a caller that has
/// no room for it does not run it, and throws away the execution and what the transition came to.
pub trait Slow {
    /// Runs the work, and returns when it is done.
    fn run(&self, work: &mut dyn FnMut());
}

/// Runs the work where it is: for callers that serve nobody else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Here;

impl Slow for Here {
    fn run(&self, work: &mut dyn FnMut()) {
        work();
    }
}
