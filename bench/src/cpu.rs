//! Processor time of this process and of the NATS server that it has started: it says what something costs also where other programs take their share of the machine. Linux only.

use std::fs;
use std::ops::{AddAssign, Sub};

/// How many of the kernel's ticks are a second, on every Linux that this is measured on.
const TICKS: f64 = 100.0;

/// Seconds of processor time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) own: f64,
    pub(crate) broker: f64,
}

impl Cpu {
    /// What was used until now; nothing where the kernel does not tell.
    pub(crate) fn now() -> Self {
        let own = Process::read("self");
        let id = std::process::id();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let broker = processes
            .filter_map(|entry| Process::read(entry.file_name().to_str()?))
            .filter(|process| process.parent == id && process.name == "nats-server")
            .map(|process| process.seconds)
            .sum();
        Self { own: own.map_or(0.0, |own| own.seconds), broker }
    }

    /// Microseconds for each of so many; nothing where the kernel does not tell.
    pub(crate) fn micros_for(self, count: f64) -> Option<(f64, f64)> {
        (self.own > 0.0).then(|| (self.own * 1e6 / count, self.broker * 1e6 / count))
    }
}

impl Sub for Cpu {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self { own: self.own - before.own, broker: self.broker - before.broker }
    }
}

impl AddAssign for Cpu {
    fn add_assign(&mut self, more: Self) {
        self.own += more.own;
        self.broker += more.broker;
    }
}

struct Process {
    name: String,
    parent: u32,
    seconds: f64,
}

impl Process {
    /// `man 5 proc_pid_stat`: the name in brackets, the parent as the second field behind it, the ticks in user and kernel mode as the 12th and 13th.
    fn read(id: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Self {
            name: name.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            seconds: (ticks(11)? + ticks(12)?) / TICKS,
        })
    }
}
