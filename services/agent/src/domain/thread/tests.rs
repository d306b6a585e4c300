//! What a thread does with messages and ends.

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

fn thread() -> Thread {
    Thread {
        thread_id: "t".into(),
        agent: "a".into(),
        on_busy: OnBusy::Queue,
        metadata: Map::new(),
        created_at: at(0),
        updated_at: at(0),
        messages: Vec::new(),
        active: None,
        tenant: String::new(),
    }
}

fn says(id: &str) -> Message {
    Message {
        id: id.into(),
        content: format!("say {id}"),
        execution_id: format!("e-{id}"),
        at: at(1),
        ..Message::default()
    }
}

fn ended(how: How) -> Ended {
    Ended { how, usage: Usage::default() }
}

fn answered(text: &str) -> Ended {
    ended(How::Answered(text.into()))
}

/// The thread in one line: each message with its status, and who is busy.
fn told(thread: &Thread) -> String {
    let messages = thread.messages.iter().map(|message| {
        let status = serde_json::to_value(message.status).expect("a word");
        format!("{}:{}", message.id, status.as_str().expect("a word"))
    });
    let active = thread.active.as_ref().map_or("-", |active| active.execution_id.as_str());
    format!("{} | {active}", messages.collect::<Vec<_>>().join(" "))
}

#[test]
fn messages_are_answered_one_after_the_other_in_their_order() {
    let mut thread = thread();
    assert_eq!(thread.send(says("1"), OnBusy::Queue), Ok(true));
    assert_eq!(thread.send(says("2"), OnBusy::Queue), Ok(true));
    assert_eq!(thread.send(says("1"), OnBusy::Queue), Ok(false));
    assert_eq!(told(&thread), "1:running 2:queued | e-1");
    assert!(thread.settle("e-1", answered("one"), at(2)));
    assert_eq!(told(&thread), "1:answered 1-answer:complete 2:running | e-2");
    assert!(!thread.settle("e-1", answered("again"), at(3)));
    assert!(thread.settle("e-2", ended(How::Failed("no".into())), at(4)));
    assert_eq!(told(&thread), "1:answered 1-answer:complete 2:failed | -");
    assert_eq!(thread.find("2").map(|message| message.error.as_str()), Some("no"));
}

#[test]
fn a_busy_thread_refuses_where_it_is_to() {
    let mut thread = thread();
    thread.send(says("1"), OnBusy::Reject).expect("idle");
    let refused = thread.send(says("2"), OnBusy::Reject).expect_err("busy");
    assert_eq!(refused.code(), Code::Conflict);
    assert!(refused.to_string().contains("e-1"), "{refused}");
    assert_eq!(told(&thread), "1:running | e-1");
    // The same message again is no second one.
    assert_eq!(thread.send(says("1"), OnBusy::Reject), Ok(false));
}

#[test]
fn an_interrupted_run_leaves_what_it_said() {
    let mut thread = thread();
    thread.send(says("1"), OnBusy::Queue).expect("idle");
    thread.send(says("2"), OnBusy::Interrupt).expect("taken");
    assert_eq!(told(&thread), "1:running 2:queued | e-1");
    assert_eq!(thread.active.as_ref().and_then(|active| active.stop), Some(Stop::Interrupt));
    assert!(thread.settle("e-1", ended(How::Stopped("half".into())), at(2)));
    assert_eq!(told(&thread), "1:interrupted 1-answer:partial 2:running | e-2");
    let before: Vec<String> =
        thread.before("2").into_iter().map(|message| message.content).collect();
    assert_eq!(before, ["say 1", "half"]);
}

#[test]
fn a_run_that_was_rolled_back_is_forgotten_even_where_it_had_an_answer() {
    let mut thread = thread();
    thread.send(says("1"), OnBusy::Queue).expect("idle");
    thread.send(says("2"), OnBusy::Rollback).expect("taken");
    thread.send(says("3"), OnBusy::Interrupt).expect("taken");
    assert_eq!(thread.active.as_ref().and_then(|active| active.stop), Some(Stop::Rollback));
    assert!(thread.settle("e-1", answered("too late"), at(2)));
    assert_eq!(told(&thread), "2:running 3:queued | e-2");
    assert!(thread.before("2").is_empty());
}

#[test]
fn a_run_that_a_person_cancelled_says_so() {
    let mut thread = thread();
    thread.send(says("1"), OnBusy::Queue).expect("idle");
    assert!(thread.settle("e-1", ended(How::Stopped(String::new())), at(2)));
    assert_eq!(told(&thread), "1:cancelled | -");
}

#[test]
fn what_is_too_much_is_refused_with_its_size() {
    let mut thread = thread();
    let long = Message { content: "x".repeat(MAX_MESSAGE + 1), ..says("1") };
    let refused = thread.send(long, OnBusy::Queue).expect_err("too long");
    assert!(refused.code() == Code::Invalid && refused.to_string().contains("65537"), "{refused}");
    let empty = Message { content: " ".into(), ..says("1") };
    assert_eq!(thread.send(empty, OnBusy::Queue).map_err(|error| error.code()), Err(Code::Invalid));
    thread.send(says("1"), OnBusy::Queue).expect("idle");
    for number in 0..MAX_QUEUED {
        thread.send(says(&format!("q{number}")), OnBusy::Queue).expect("queued");
    }
    let refused = thread.send(says("last"), OnBusy::Queue).expect_err("full");
    assert!(refused.code() == Code::Exhausted && refused.to_string().contains("wait"), "{refused}");
    thread.active = None;
    thread.messages = (0..12)
        .map(|number| Message {
            content: "x".repeat(MAX_MESSAGE),
            status: Status::Answered,
            ..says(&number.to_string())
        })
        .collect();
    let refused = thread.send(says("more"), OnBusy::Queue).expect_err("full");
    assert!(refused.to_string().contains("begin another thread"), "{refused}");
}

#[test]
fn an_answer_that_is_too_long_for_a_thread_is_shortened() {
    let mut thread = thread();
    thread.send(says("1"), OnBusy::Queue).expect("idle");
    thread.settle("e-1", answered(&"ä".repeat(MAX_MESSAGE)), at(2));
    let answer = &thread.messages[1];
    assert!(answer.content.len() <= MAX_MESSAGE && answer.content.ends_with("deliverable]"));
}
