//! What the service answers and reads.

use muster_bus::{Consume, Feed, Routes};
use muster_contracts::{CATALOGUE, Stream, subject};

use crate::app::App;
use crate::handlers::get_timeline::get_timeline;
use crate::handlers::get_usage::get_usage;
use crate::handlers::list_executions::list_executions;
use crate::handlers::list_running::list_running;
use crate::handlers::record::record;

/// A day of tries: Postgres may be away for long, and no event shall be given up for that.
const TRIES: u32 = 2880;

pub(crate) fn routes(app: App) -> Routes<App> {
    let events = Feed {
        name: "log",
        stream: Stream::Executions,
        patterns: patterns(),
        settings: Consume {
            // Half of it may be written by one statement.
            concurrency: 2_048,
            max_deliver: TRIES,
            ..Default::default()
        },
    };
    Routes::new(app)
        // The table has each event id once.
        .feed_batches(events, record)
        .rpc(get_timeline)
        .rpc(get_usage)
        .rpc(list_executions)
        .rpc(list_running)
}

/// What the contract says that this service reads of the executions.
fn patterns() -> Vec<String> {
    CATALOGUE
        .iter()
        .filter(|entry| entry.stream == Some(Stream::Executions))
        .filter(|entry| entry.consumers.contains(&"execution-log"))
        .map(|entry| subject::pattern(entry.subject))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_an_execution_is_read_and_nothing_twice() {
        let patterns = patterns();
        for subject in [
            "journal.e1",
            "journal.e1.r1",
            "workflow.command.start",
            "workflow.execution.started",
            "workflow.execution.completed",
            "workflow.execution.failed",
            "workflow.call.completed",
            "agent.execution.started",
            "agent.execution.completed",
            "agent.execution.failed",
            "tool.execution.started",
            "tool.execution.completed",
            "tool.execution.failed",
            "vector.upsert.completed",
            "vector.upsert.failed",
            "vector.search.completed",
            "timer.fired.e1",
        ] {
            let readers = patterns.iter().filter(|pattern| subject::covers(pattern, subject));
            assert_eq!(readers.count(), 1, "{subject}");
        }
        assert!(!patterns.iter().any(|pattern| subject::covers(pattern, "execution.log.created")));
    }
}
