//! Which runs of an agent are open, in which processes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The open runs of an agent. A run that no process holds any more is as good as closed; it is told as open until somebody closes it or goes on with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenRuns {
    /// Each process with the time until which its last sign of life holds.
    #[serde(default)]
    processes: BTreeMap<String, DateTime<Utc>>,
    /// Each open run with the process that has it.
    #[serde(default)]
    runs: BTreeMap<String, String>,
    /// Whether one of those that were open together has failed.
    #[serde(default)]
    failed: bool,
}

/// What a process knows of its runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct News {
    /// All that are open in the process.
    pub(crate) open: BTreeSet<String>,
    /// Those that are open nowhere any more.
    pub(crate) over: BTreeSet<String>,
    /// Whether one has begun since the last news.
    pub(crate) begun: bool,
    /// Whether one has failed since the last news.
    pub(crate) failed: bool,
}

/// What everybody is to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Running,
    Idle,
    Error,
}

impl OpenRuns {
    /// Takes in the news of a process that is alive until then. What is to be told of it, in this order.
    pub(crate) fn hear(&mut self, process: &str, until: DateTime<Utc>, news: &News) -> Vec<Told> {
        let was_open = !self.runs.is_empty();
        self.runs.retain(|run, holder| holder != process && !news.over.contains(run));
        let own = news.open.iter().map(|run| (run.clone(), process.to_owned()));
        self.runs.extend(own);
        self.processes.insert(process.to_owned(), until);
        let Self { processes, runs, .. } = self;
        processes.retain(|process, _| runs.values().any(|holder| holder == process));
        self.failed |= news.failed;
        let mut told = Vec::new();
        if !was_open && news.begun {
            told.push(Told::Running);
        }
        if self.runs.is_empty() && (was_open || news.begun) {
            told.push(if std::mem::take(&mut self.failed) { Told::Error } else { Told::Idle });
        }
        told
    }

    /// Whether a run is open in a process that is alive.
    pub(crate) fn is_running(&self, now: DateTime<Utc>) -> bool {
        self.processes.values().any(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    fn set(runs: &str) -> BTreeSet<String> {
        runs.split_whitespace().map(str::to_owned).collect()
    }

    fn news(open: &str, over: &str, begun: bool) -> News {
        News { open: set(open), over: set(over), begun, failed: false }
    }

    #[test]
    fn an_agent_runs_from_the_first_to_the_last_open_run() {
        let mut runs = OpenRuns::default();
        assert_eq!(runs.hear("p", at(10), &news("a", "", true)), [Told::Running]);
        assert_eq!(runs.hear("q", at(10), &news("b", "", true)), []);
        let failed = News { failed: true, ..news("", "a", false) };
        assert_eq!(runs.hear("p", at(10), &failed), []);
        assert!(runs.is_running(at(9)) && !runs.is_running(at(10)));
        // The last one tells of what failed beside it.
        assert_eq!(runs.hear("q", at(10), &news("", "b", false)), [Told::Error]);
        assert!(!runs.is_running(at(0)));
        assert_eq!(runs, OpenRuns::default());
    }

    #[test]
    fn what_crashed_is_open_until_somebody_goes_on_with_it_or_ends_it() {
        let mut runs = OpenRuns::default();
        runs.hear("p", at(10), &news("a b", "", true));
        // The process is gone; its runs come to another.
        assert_eq!(runs.hear("q", at(30), &news("a", "", true)), []);
        assert!(runs.is_running(at(20)));
        assert_eq!(runs.hear("q", at(40), &news("", "a", false)), []);
        assert!(!runs.is_running(at(20)));
        assert_eq!(runs.hear("r", at(50), &news("", "b", false)), [Told::Idle]);
    }

    #[test]
    fn a_run_that_is_over_before_anybody_heard_of_it_is_told_whole() {
        let mut runs = OpenRuns::default();
        assert_eq!(runs.hear("p", at(10), &news("", "a", true)), [Told::Running, Told::Idle]);
        assert_eq!(runs.hear("p", at(10), &news("", "a", false)), []);
    }
}
