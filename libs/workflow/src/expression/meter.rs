//! Counts what an evaluation uses and stops it at the limits.

use std::cell::Cell;

use jaq_core::data::{DataT, HasLut};
use jaq_core::{Exn, Lut};
use jaq_json::{Num, Val};

use crate::limits;

/// The kind of data that guarded filters run on: JSON, with a meter at hand.
pub(super) struct Guarded;

impl DataT for Guarded {
    type V<'a> = Val;
    type Data<'a> = &'a Meter<'a>;
}

impl<'a> HasLut<'a, Guarded> for &'a Meter<'a> {
    fn lut(&self) -> &'a Lut<Guarded> {
        self.lut
    }
}

/// Why an evaluation was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Steps,
    Stack,
    Size,
    Depth,
}

impl Stop {
    pub(super) fn message(self) -> String {
        match self {
            Stop::Steps => format!("it took more than {} steps", limits::EXPRESSION_STEPS),
            Stop::Stack => "it recursed too deeply".to_owned(),
            Stop::Size => format!("it made a value larger than {} bytes", limits::VALUE_SIZE),
            Stop::Depth => {
                format!("it made a value nested deeper than {} levels", limits::VALUE_DEPTH)
            }
        }
    }
}

/// What one evaluation may still use.
pub(super) struct Meter<'a> {
    lut: &'a Lut<Guarded>,
    steps: Cell<u64>,
    /// Address in the stack where the evaluation began.
    base: usize,
    /// How far from there the stack may grow, in bytes.
    stack: usize,
    stopped: Cell<Option<Stop>>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(lut: &'a Lut<Guarded>, stack: usize, steps: u64) -> Meter<'a> {
        Meter { lut, steps: Cell::new(steps), base: here(), stack, stopped: Cell::new(None) }
    }

    /// Why the evaluation was stopped, if it was.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.stopped.get()
    }

    /// How many steps are left.
    pub(super) fn left(&self) -> u64 {
        match self.stopped.get() {
            Some(Stop::Steps) => 0,
            _ => self.steps.get(),
        }
    }

    /// Uses up `steps`.
    ///
    /// Once it has stopped it stays so: an expression cannot go on by catching the error, since
    /// [`super::guard`] lets every `catch` begin with a step.
    pub(super) fn spend(&self, steps: u64) -> Result<(), Exn<'a, Val>> {
        let left = self.steps.get();
        if self.stopped.get().is_some() || left < steps {
            return Err(self.stop(Stop::Steps));
        }
        self.steps.set(left - steps);
        if self.base.abs_diff(here()) > self.stack {
            return Err(self.stop(Stop::Stack));
        }
        Ok(())
    }

    pub(super) fn stop(&self, stop: Stop) -> Exn<'a, Val> {
        if self.stopped.get().is_none() {
            self.stopped.set(Some(stop));
        }
        Exn::from(jaq_core::Error::str(stop.message()))
    }

    /// Walks through a value that was just made: it must be within the limits.
    ///
    /// Values share parts, so that a few steps make one whose text would be endless; hence the
    /// walk, which ends as soon as the limit is passed. It costs little, because it comes often.
    pub(super) fn measure(&self, value: &Val) -> Result<(), Exn<'a, Val>> {
        let size = self.size(value)?;
        self.spend(1 + size.values / 32 + size.bytes / 1024)
    }

    /// Pays for work that visits all of a value more than once, such as sorting it.
    pub(super) fn charge(&self, value: &Val) -> Result<(), Exn<'a, Val>> {
        let size = self.size(value)?;
        self.spend(1 + size.values / 4 + size.bytes / 64)
    }

    /// Pays for putting a value into a text: one that is a text is copied, others are written as JSON.
    pub(super) fn insert(&self, value: &Val) -> Result<(), Exn<'a, Val>> {
        match value {
            Val::BStr(_) | Val::TStr(_) => self.measure(value),
            _ => self.charge(value),
        }
    }

    /// Pays for work that makes a value of each letter, which takes far more room than the letter.
    pub(super) fn scatter(&self, value: &Val) -> Result<(), Exn<'a, Val>> {
        self.spend(1 + self.size(value)?.bytes / 16)
    }

    /// Pays for work that visits the outer level of a value once, such as copying it.
    pub(super) fn spread(&self, value: &Val) -> Result<(), Exn<'a, Val>> {
        let steps = match value {
            Val::Arr(values) => values.len() / 16,
            Val::Obj(values) => values.len() / 8,
            Val::BStr(text) | Val::TStr(text) => text.len() / 256,
            Val::Null | Val::Bool(_) | Val::Num(_) => 0,
        };
        self.spend(1 + steps as u64)
    }

    pub(super) fn size(&self, value: &Val) -> Result<Size, Exn<'a, Val>> {
        let mut size = Size::default();
        size.add(value, limits::VALUE_DEPTH).map_err(|stop| self.stop(stop))?;
        Ok(size)
    }
}

/// How large a value is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) values: u64,
    pub(super) bytes: u64,
}

impl Size {
    fn add(&mut self, value: &Val, depth: usize) -> Result<(), Stop> {
        let Some(depth) = depth.checked_sub(1) else { return Err(Stop::Depth) };
        self.values += 1;
        match value {
            Val::BStr(text) | Val::TStr(text) => self.bytes += text.len() as u64,
            Val::Num(Num::BigInt(number)) => self.bytes += number.bits(),
            Val::Num(Num::Dec(text)) => self.bytes += text.len() as u64,
            Val::Arr(values) => values.iter().try_for_each(|value| self.add(value, depth))?,
            Val::Obj(values) => values.iter().try_for_each(|(key, value)| {
                self.add(key, depth)?;
                self.add(value, depth)
            })?,
            Val::Null | Val::Bool(_) | Val::Num(_) => {}
        }
        match self.values * 8 + self.bytes > limits::VALUE_SIZE {
            true => Err(Stop::Size),
            false => Ok(()),
        }
    }
}

/// An address near the top of the stack.
#[inline(never)]
fn here() -> usize {
    let probe = 0_u8;
    std::ptr::from_ref(&probe).addr()
}
