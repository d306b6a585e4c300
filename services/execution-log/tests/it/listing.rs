//! Which executions there are and how they stand.

use muster_bus::MessageId;
use muster_contracts::Code;
use muster_contracts::log::v1::{ExecutionList, ListExecutionsRequest};
use muster_contracts::workflow::v1::JournalEntry;
use muster_testkit::eventually;

use crate::{DEADLINE, Platform};

impl Platform {
    /// Appends an entry behind which the execution stands so.
    async fn stands(&self, execution_id: &str, workflow: &str, status: &str) {
        let entry = JournalEntry {
            execution_id: execution_id.into(),
            input_id: status.into(),
            workflow: workflow.into(),
            version: "1.0.0".into(),
            status: status.into(),
            ..Default::default()
        };
        let journal = self.bus.journal(&entry).unwrap();
        let last = journal.read().await.unwrap().last().map_or(0, |(sequence, _)| *sequence);
        journal.append(&entry, last, &MessageId::random()).await.unwrap();
    }

    async fn list(&self, request: ListExecutionsRequest) -> ExecutionList {
        self.bus.request(&request).await.unwrap()
    }
}

fn ids(list: &ExecutionList) -> Vec<(&str, &str)> {
    list.executions.iter().map(|one| (one.execution_id.as_str(), one.status.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_are_listed_with_their_status_those_that_began_last_first() {
    let platform = Platform::start().await;
    for (id, workflow) in [("e1", "brief"), ("e2", "other"), ("e3", "brief")] {
        platform.stands(id, workflow, "running").await;
    }
    platform.stands("e1", "brief", "waiting").await;
    platform.stands("e1", "brief", "completed").await;
    let all = ListExecutionsRequest::default;
    let list = eventually(DEADLINE, "every entry is recorded", || async {
        let list = platform.list(all()).await;
        let expected = [("e3", "running"), ("e2", "running"), ("e1", "completed")];
        if ids(&list) == expected { Ok(list) } else { Err(list) }
    })
    .await;
    assert_eq!((list.executions[0].version.as_str(), list.next.as_str()), ("1.0.0", ""));

    let running = ListExecutionsRequest { status: "running".into(), ..all() };
    assert_eq!(ids(&platform.list(running).await), [("e3", "running"), ("e2", "running")]);
    let brief = ListExecutionsRequest { workflow: "brief".into(), limit: 1, ..all() };
    let page = platform.list(brief.clone()).await;
    assert_eq!(ids(&page), [("e3", "running")]);
    let page = platform.list(ListExecutionsRequest { cursor: page.next, ..brief }).await;
    assert_eq!((ids(&page).as_slice(), page.next.as_str()), ([("e1", "completed")].as_slice(), ""));
    let second = list.executions[1].started_at;
    let since = ListExecutionsRequest { since: second, ..all() };
    assert_eq!(platform.list(since).await.executions.len(), 2);
    let until = ListExecutionsRequest { until: second, ..all() };
    assert_eq!(ids(&platform.list(until).await), [("e1", "completed")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_question_is_told_with_what_would_be_right() {
    let platform = Platform::start().await;
    let request = ListExecutionsRequest { status: "dancing".into(), ..Default::default() };
    let fault = platform.bus.request(&request).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(fault.message.contains("\"dancing\""), "{}", fault.message);
}
