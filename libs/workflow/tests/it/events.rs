//! Telling the world of events, and listening for them.

use muster_workflow::{Effect, Error, ErrorType, Execution, Fact, Input, Interest, Status};
use serde_json::{Value, json};

use crate::driver::Driver;

/// An event; what `more` has comes in, or replaces what is there.
pub(crate) fn event(kind: &str, data: Value, more: Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": "e-1", "source": "https://example.com/tests", "type": kind, "data": data,
    });
    if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
        event.extend(more);
    }
    event
}

impl Driver {
    /// An event for the task at this key; true if that changed anything.
    fn hear(&mut self, task: &str, position: u64, event: Value) -> bool {
        self.input(&Input::Event { task: Some(task.to_owned()), position, event })
    }

    fn signal(&mut self, position: u64, event: Value) -> bool {
        self.input(&Input::Event { task: None, position, event })
    }

    /// Keys of the tasks that are registered for events.
    fn listening(&self) -> Vec<&str> {
        let mut tasks = Vec::new();
        for effect in &self.told {
            match effect {
                Effect::Listen { task, .. } => tasks.push(task.as_str()),
                Effect::StopListening { task, .. } => tasks.retain(|known| known != task),
                _ => {}
            }
        }
        tasks
    }

    /// The state from the journal alone, and through a snapshot, is the same.
    pub(crate) fn check_replay(&self) {
        let mut again = Execution::new(self.execution.id(), self.execution.definition().clone());
        for fact in &self.journal {
            let text = serde_json::to_string(fact).unwrap();
            assert_eq!(serde_json::from_str::<Fact>(&text).unwrap(), *fact, "{text}");
            again.apply(fact);
        }
        assert_eq!(again.hash(), self.execution.hash());
        let saved = self.execution.save().unwrap();
        let restored = Execution::restore(&saved, self.execution.definition().clone()).unwrap();
        assert_eq!(restored.hash(), self.execution.hash());
    }
}

const ONE: &str = "
- hear: {listen: {to: {one: {with: {type: order.placed, data: '${ .total > 10 }'}}}}}
";

#[test]
fn an_event_that_fits_is_the_output_and_ends_the_listening() {
    let mut driver = Driver::start(ONE, Value::Null);
    assert_eq!((driver.status(), driver.listening()), (Status::Waiting, vec!["/do/0/hear"]));
    assert!(!driver.hear("/do/0/hear", 1, event("order.placed", json!({"total": 9}), json!({}))));
    assert!(!driver.hear("/do/0/hear", 2, event("order.paid", json!({"total": 11}), json!({}))));
    assert!(!driver.hear("/do/0/hear", 3, event("order.placed", json!("nonsense"), json!({}))));
    assert!(!driver.hear("/do/1/other", 4, event("order.placed", json!({"total": 11}), json!({}))));
    driver.check_replay();
    assert!(driver.hear("/do/0/hear", 5, event("order.placed", json!({"total": 11}), json!({}))));
    assert_eq!(*driver.output(), json!([{"total": 11}]));
    assert!(driver.listening().is_empty());
    driver.check_replay();
    assert!(!driver.hear("/do/0/hear", 5, event("order.placed", json!({"total": 11}), json!({}))));
}

/// Listens with `to`, gives these events, and tells what came out; null while it listens.
fn hear(to: &str, rest: &str, events: &[Value]) -> Value {
    let mut driver =
        Driver::start(&format!("- hear: {{listen: {{to: {to}}}{rest}}}"), json!({"id": 7}));
    for (position, event) in events.iter().enumerate() {
        driver.hear("/do/0/hear", position as u64, event.clone());
        driver.check_replay();
    }
    match driver.execution.error() {
        Some(error) => panic!("{error}"),
        None => driver.execution.output().cloned().unwrap_or_default(),
    }
}

#[test]
fn attributes_are_compared_as_texts_patterns_and_expressions() {
    let check = |with: &str, event: Value, wanted: bool| {
        let heard = hear(&format!("{{one: {{with: {{{with}}}}}}}"), "", &[event]);
        assert_eq!(heard != Value::Null, wanted, "{with}");
    };
    let order = |more: Value| event("order.placed", json!({"n": 1, "tags": ["a"]}), more);
    check("type: order.placed", order(json!({})), true);
    check("type: order_placed", order(json!({})), false);
    check("type: 'order[.].+'", order(json!({})), true);
    check("type: 'order'", order(json!({})), false);
    check("type: 'rder.*'", order(json!({})), false);
    check("source: 'https://example.com/tests'", order(json!({})), true);
    check(
        "source: 'https://example.com/a?b=c+d'",
        order(json!({"source": "https://example.com/a?b=c+d"})),
        true,
    );
    check("subject: '${ startswith(\"or\") }'", order(json!({"subject": "order"})), true);
    check("subject: '${ startswith(\"or\") }'", order(json!({})), false);
    check("subject: '${ $input.id | tostring }'", order(json!({"subject": "7"})), true);
    check("subject: '${ $input.id | tostring }'", order(json!({"subject": "8"})), false);
    check("roomid: 5", order(json!({"roomid": 5})), true);
    check("data: {n: 1}", order(json!({})), true);
    check("data: {n: 2}", order(json!({})), false);
    check("data: '${ .tags[0] == \"a\" }'", order(json!({})), true);
    check("data: '${ .tags.x }'", order(json!({})), false);
}

#[test]
fn all_wants_an_event_for_each_filter_in_any_order() {
    let to = "{all: [{with: {type: a}}, {with: {type: b}}]}";
    let (a, b) = (event("a", json!(1), json!({})), event("b", json!(2), json!({})));
    assert_eq!(hear(to, "", std::slice::from_ref(&a)), Value::Null);
    assert_eq!(hear(to, "", &[a.clone(), a.clone()]), Value::Null);
    assert_eq!(hear(to, "", &[b.clone(), b.clone(), a.clone()]), json!([2, 1]));
    assert_eq!(hear(to, "", &[a, b]), json!([1, 2]));
}

#[test]
fn correlated_events_have_one_value_in_common() {
    let to = "{all: [
      {with: {type: a}, correlate: {room: {from: .roomid}}},
      {with: {type: b}, correlate: {room: {from: .data.room}}}]}";
    let a = |room: &str| event("a", json!({"a": room}), json!({"roomid": room}));
    let b = |room: Value| event("b", json!({"room": room}), json!({}));
    let heard = [b(json!("y")), a("x"), a("y")];
    assert_eq!(hear(to, "", &heard), json!([{"room": "y"}, {"a": "y"}]));
    assert_eq!(hear(to, "", &[a("x"), b(json!("y")), b(Value::Null)]), Value::Null);
    assert_eq!(hear(to, "", &[a("7"), b(json!(7))]), json!([{"a": "7"}, {"room": 7}]));
    let to = "{one: {with: {type: b}, correlate: {room: {from: .data.room, expect: '${ .id }'}}}}";
    assert_eq!(hear(to, "", &[b(json!(6))]), Value::Null);
    assert_eq!(hear(to, "", &[b(json!(6)), b(json!(7))]), json!([{"room": 7}]));
    let to = "{one: {with: {type: b}, correlate: {room: {from: .data.room, expect: '7'}}}}";
    assert_eq!(hear(to, "", &[b(json!(7))]), json!([{"room": 7}]));
}

#[test]
fn any_goes_on_until_a_condition_holds_or_other_events_come() {
    let n = |n: i64| event("n", json!(n), json!({}));
    let stop = event("stop", json!("stop"), json!({}));
    assert_eq!(hear("{any: []}", "", std::slice::from_ref(&stop)), json!(["stop"]));
    let to = "{any: [], until: '( . | length ) > 2'}";
    assert_eq!(hear(to, "", &[n(1), n(2)]), Value::Null);
    assert_eq!(hear(to, "", &[n(1), n(2), n(3), n(4)]), json!([1, 2, 3]));
    let to = "{any: [{with: {type: n}}], until: {one: {with: {type: stop}}}}";
    assert_eq!(hear(to, "", &[n(1), n(2), stop.clone()]), json!([1, 2]));
    assert_eq!(hear(to, "", std::slice::from_ref(&stop)), json!([]));
    let to = "{any: [], until: {all: [{with: {type: stop}}, {with: {type: n, data: 9}}]}}";
    assert_eq!(hear(to, "", &[n(1), n(9), n(9), stop.clone()]), json!([1, 9]));
    assert_eq!(hear("{any: [], until: '${ false }'}", "", &[n(1), n(2)]), Value::Null);
}

#[test]
fn what_was_published_first_comes_first() {
    let mut driver =
        Driver::start("- hear: {listen: {to: {any: [], until: 'length == 3'}}}", Value::Null);
    for position in [7, 3, 5] {
        driver.hear("/do/0/hear", position, event("n", json!(position), json!({})));
    }
    assert_eq!(*driver.output(), json!([3, 5, 7]));
}

#[test]
fn data_envelope_and_raw_are_read() {
    let check = |read: &str, event: &Value, expected: Value| {
        let tasks = format!("- hear: {{listen: {{to: {{any: []}}, read: {read}}}}}");
        let mut driver = Driver::start(&tasks, Value::Null);
        driver.hear("/do/0/hear", 1, event.clone());
        assert_eq!(*driver.output(), json!([expected]), "{read}");
    };
    let structured = event("a", json!({"n": 1}), json!({"roomid": "x"}));
    check("data", &structured, json!({"n": 1}));
    check("envelope", &structured, structured.clone());
    check("raw", &structured, json!("{\"n\":1}"));
    let text = event("a", json!("hello"), json!({"datacontenttype": "text/plain"}));
    check("raw", &text, json!("hello"));
    check("raw", &event("a", json!("hello"), json!({})), json!("\"hello\""));
    let bytes =
        json!({"specversion": "1.0", "id": "1", "source": "s", "type": "a", "data_base64": "AAE="});
    check("data", &bytes, json!("AAE="));
    check("raw", &bytes, json!("AAE="));
    let empty = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "a"});
    check("data", &empty, Value::Null);
    check("raw", &empty, json!(""));
}

const EACH: &str = "
- hear:
    listen: {to: {any: [{with: {type: n}}], until: {one: {with: {type: stop}}}}}
    foreach:
      item: number
      at: i
      do:
      - ask: {call: tool, with: {tool: t, arguments: {n: '${ $number }', i: '${ $i }', in: '${ . }'}}}
      - more: {set: {n: '${ .n + 1 }'}}
      output: {as: '${ {n: .n, i: $i, of: $number} }'}
      export: {as: '${ ($context // 0) + .n }'}
    output: {as: '${ {list: ., sum: $context} }'}
";

#[test]
fn foreach_takes_one_item_after_the_other_and_keeps_the_rest_in_order() {
    let mut driver = Driver::start(EACH, Value::Null);
    let n = |n: u64| event("n", json!(n), json!({}));
    assert!(driver.hear("/do/0/hear", 1, n(10)));
    assert_eq!(driver.called(), ["/do/0/hear[0]/foreach/do/0/ask"]);
    assert_eq!(driver.calls[0].2["arguments"], json!({"n": 10, "i": 0, "in": 10}));
    assert!(driver.hear("/do/0/hear", 3, n(30)));
    assert!(driver.hear("/do/0/hear", 2, n(20)));
    assert_eq!(driver.called().len(), 1);
    assert!(driver.hear("/do/0/hear", 4, event("stop", Value::Null, json!({}))));
    // It wants no more events, and does what it has.
    assert!(driver.listening().is_empty());
    assert!(!driver.hear("/do/0/hear", 5, n(50)));
    driver.check_replay();
    for (index, value) in [(0, 10), (1, 20), (2, 30)] {
        driver.complete(&format!("/do/0/hear[{index}]/foreach/do/0/ask"), json!({"n": value}));
        driver.check_replay();
    }
    let list = json!([
        {"n": 11, "i": 0, "of": 10}, {"n": 21, "i": 1, "of": 20}, {"n": 31, "i": 2, "of": 30}
    ]);
    assert_eq!(*driver.output(), json!({"list": list, "sum": 63}));
}

#[test]
fn a_condition_is_asked_when_an_item_is_done_and_drops_what_waits() {
    let tasks = "
    - hear:
        listen: {to: {any: [], until: '$context == 2'}}
        foreach:
          do: [{nap: {wait: PT1S}}]
          output: {as: '${ . * 10 }'}
          export: {as: '${ ($context // 0) + 1 }'}
    ";
    let mut driver = Driver::start(tasks, Value::Null);
    for n in 1..=4 {
        driver.hear("/do/0/hear", n, event("n", json!(n), json!({})));
    }
    driver.fire();
    assert_eq!(driver.listening(), ["/do/0/hear"]);
    driver.fire();
    assert_eq!(*driver.output(), json!([10, 20]));
    assert!(driver.listening().is_empty() && driver.timers.is_empty());
}

#[test]
fn an_error_in_foreach_is_the_tasks_and_exit_ends_it() {
    let tasks = "
    - guarded:
        try:
        - hear:
            listen: {to: {any: [], until: '${ false }'}}
            foreach:
              do:
              - check: {switch: [{bad: {when: '. < 0', then: fail}}, {last: {when: '. == 0', then: exit}}, {ok: {then: done}}]}
              - fail: {raise: {error: {type: 'https://example.com/bad', status: 422}}}
              - done: {set: {ok: true}}
        catch: {as: e, do: [{told: {set: {status: '${ $e.status }'}}}]}
    ";
    let mut driver = Driver::start(tasks, Value::Null);
    let task = "/do/0/guarded/try/0/hear";
    driver.hear(task, 1, event("n", json!(1), json!({})));
    assert_eq!(driver.listening(), [task]);
    let mut other = driver.clone();
    driver.hear(task, 2, event("n", json!(-1), json!({})));
    assert_eq!(*driver.output(), json!({"status": 422}));
    assert!(driver.listening().is_empty());
    other.hear(task, 2, event("n", json!(0), json!({})));
    assert_eq!(*other.output(), json!([{"ok": true}, 0]));
    assert!(other.listening().is_empty());
}

#[test]
fn a_timeout_and_a_cancel_end_the_listening() {
    let mut driver =
        Driver::start("- hear: {listen: {to: {any: []}}, timeout: {after: PT5S}}", Value::Null);
    let mut other = driver.clone();
    driver.fire();
    assert_eq!(driver.error().status, 408);
    assert!(driver.listening().is_empty());
    other.input(&Input::Cancel { reason: "test".to_owned() });
    assert_eq!(other.status(), Status::Cancelled);
    assert!(other.listening().is_empty() && other.timers.is_empty());
    let mut race = Driver::start(
        "- race: {fork: {compete: true, branches: [{a: {listen: {to: {any: []}}}}, {b: {wait: PT1S}}]}}",
        Value::Null,
    );
    race.fire();
    assert_eq!(race.status(), Status::Completed);
    assert!(race.listening().is_empty());
    race.check_replay();
}

#[test]
fn a_signal_waits_for_the_task_that_listens() {
    let tasks = "
    - nap: {wait: PT1S}
    - both:
        fork:
          branches:
          - approved: {listen: {to: {one: {with: {type: approved}}}}}
          - paid: {listen: {to: {one: {with: {type: paid}}}}}
    ";
    let mut driver = Driver::start(tasks, Value::Null);
    assert!(driver.signal(2, event("paid", json!("second"), json!({}))));
    assert!(driver.signal(1, event("paid", json!("first"), json!({}))));
    driver.check_replay();
    driver.told.clear();
    driver.fire();
    driver.check_replay();
    // The branch that has its signal already is not registered at all.
    assert_eq!(driver.listening(), ["/do/1/both/fork/branches/0/approved"]);
    assert!(!driver.told.iter().any(|effect| matches!(effect, Effect::StopListening { .. })));
    assert!(driver.signal(3, event("approved", json!(true), json!({}))));
    assert_eq!(*driver.output(), json!([[true], ["first"]]));
    assert!(!driver.signal(4, event("approved", json!(true), json!({}))));
}

#[test]
fn an_event_is_emitted_with_deterministic_defaults() {
    let tasks = "
    - told:
        emit:
          event:
            with:
              source: https://example.com/shop
              type: '${ \"order.\\(.what)\" }'
              roomid: x1
              subject: '${ .nobody }'
              data: {total: '${ .total }', items: []}
    ";
    let mut driver = Driver::start(tasks, json!({"what": "placed", "total": 3}));
    let expected = json!({
        "specversion": "1.0", "id": "execution-1/do/0/told", "source": "https://example.com/shop",
        "type": "order.placed", "time": "2026-01-01T12:00:00.000Z", "roomid": "x1",
        "data": {"total": 3, "items": []},
    });
    assert_eq!(*driver.output(), expected);
    let emitted = driver.told.drain(..).find_map(|effect| match effect {
        Effect::Emit { task, event } => Some((task, event)),
        _ => None,
    });
    assert_eq!(emitted, Some(("/do/0/told".to_owned(), expected)));
}

#[test]
fn an_event_that_would_be_none_faults_its_task() {
    let check = |with: &str, expected: &str| {
        let tasks = format!("- told: {{emit: {{event: {{with: {{{with}}}}}}}}}");
        let driver = Driver::start(&tasks, json!({"n": 1}));
        let error = driver.error();
        assert_eq!((error.status, error.instance.as_str()), (400, "/do/0/told"));
        assert!(error.detail.contains(expected), "{error}");
    };
    let both = "source: 'https://example.com', type: t";
    check("source: 'https://example.com', type: '${ .n }'", "`type` is 1, but it must be a text");
    check(
        "source: 'https://example.com', type: '${ .x }'",
        "`type` is null, but an event must have one",
    );
    check(
        &format!("{both}, time: '${{ \"noon\" }}'"),
        "`time` is \"noon\", but it must be a time such as",
    );
    check(
        &format!("{both}, roomid: '${{ [.n] }}'"),
        "`roomid` is [1], but it must be a text, a number",
    );
    check(
        &format!("{both}, id: '${{ \"\" }}'"),
        "`id` is \"\", but it must be a text that is not empty",
    );
}

#[test]
fn a_listener_is_registered_for_what_can_be_told_before() {
    let check = |to: &str, expected: Value| {
        let driver = Driver::start(&format!("- hear: {{listen: {{to: {to}}}}}"), Value::Null);
        let interests = driver.told.iter().find_map(|effect| match effect {
            Effect::Listen { interests, .. } => Some(interests.clone()),
            _ => None,
        });
        let expected: Vec<Interest> = serde_json::from_value(expected).unwrap();
        assert_eq!(interests, Some(expected), "{to}");
    };
    check("{any: []}", json!([{"with": []}]));
    check("{one: {with: {type: a}}}", json!([{"type": "a", "with": []}]));
    check(
        "{any: [{with: {type: a, source: 'x://y'}}, {with: {type: a, subject: s, data: '${ .n }'}}, {with: {type: b}}]}",
        json!([{"type": "a", "with": [{"source": "x://y"}, {"subject": "s"}]}, {"type": "b", "with": []}]),
    );
    check("{one: {with: {type: 'a.*', subject: s}}}", json!([{"with": [{"subject": "s"}]}]));
    check(
        "{any: [{with: {type: a}}], until: {one: {with: {type: stop}}}}",
        json!([{"type": "a", "with": []}, {"type": "stop", "with": []}]),
    );
}

#[test]
fn a_filter_that_takes_long_for_an_event_does_not_want_it() {
    let listen = |data: &str| {
        let to = format!("{{one: {{with: {{type: a, data: '${{ {data} }}'}}}}}}");
        Driver::start(&format!("- hear: {{listen: {{to: {to}}}}}"), Value::Null)
    };
    let mut quick = listen("[range(1000)] | length == 1000");
    assert!(quick.hear("/do/0/hear", 1, event("a", json!(1), json!({}))));
    for slow in ["[range(20000)] | length == 20000", "def f: f; f"] {
        let mut slow = listen(slow);
        assert!(!slow.hear("/do/0/hear", 1, event("a", json!(1), json!({}))));
    }
    // The more it has to look at the longer it may look.
    let text = "x".repeat(3_000_000);
    let mut large = listen("length == 3000000");
    assert!(large.hear("/do/0/hear", 1, event("a", json!(text), json!({}))));
}

#[test]
fn an_interest_covers_what_it_may_want() {
    let interest: Interest = serde_json::from_value(
        json!({"type": "a", "with": [{"subject": "x"}, {"source": "https://example.com/tests"}]}),
    )
    .unwrap();
    assert!(interest.covers(&event("a", Value::Null, json!({}))));
    assert!(!interest.covers(&event("b", Value::Null, json!({}))));
    assert!(!interest.covers(&event("a", Value::Null, json!({"source": "other", "subject": "y"}))));
    assert!(interest.covers(&event("a", Value::Null, json!({"source": "other", "subject": "x"}))));
}

#[test]
fn a_retry_goes_on_with_what_was_consumed_and_listens_again() {
    let mut driver = Driver::start(EACH, Value::Null);
    let n = |n: u64| event("n", json!(n), json!({}));
    driver.hear("/do/0/hear", 1, n(10));
    driver.hear("/do/0/hear", 2, n(20));
    driver.complete("/do/0/hear[0]/foreach/do/0/ask", json!({"n": 10}));
    let error = Error::new(ErrorType::Communication, "away");
    driver.fail("/do/0/hear[1]/foreach/do/0/ask", error);
    assert_eq!((driver.status(), driver.listening().len()), (Status::Faulted, 0));
    assert!(!driver.hear("/do/0/hear", 3, n(30)));
    assert!(driver.input(&Input::Retry));
    driver.check_replay();
    assert_eq!(driver.listening(), ["/do/0/hear"]);
    let again = driver.called()[0].to_owned();
    driver.complete(&again, json!({"n": 20}));
    driver.hear("/do/0/hear", 4, n(40));
    driver.complete("/do/0/hear[2]/foreach/do/0/ask", json!({"n": 40}));
    driver.hear("/do/0/hear", 5, event("stop", Value::Null, json!({})));
    let list = json!([
        {"n": 11, "i": 0, "of": 10}, {"n": 21, "i": 1, "of": 20}, {"n": 41, "i": 2, "of": 40}
    ]);
    assert_eq!(*driver.output(), json!({"list": list, "sum": 73}));
}

#[test]
fn a_suspended_execution_hears_when_it_goes_on() {
    let mut driver = Driver::start(
        "- hear: {listen: {to: {any: [{with: {type: n}}], until: length == 2}}}",
        Value::Null,
    );
    driver.input(&Input::Suspend { reason: String::new() });
    for position in [2, 1, 2] {
        driver.hear("/do/0/hear", position, event("n", json!(position), json!({})));
    }
    driver.signal(3, event("other", Value::Null, json!({})));
    assert_eq!(driver.status(), Status::Suspended);
    driver.input(&Input::Resume);
    assert_eq!(*driver.output(), json!([1, 2]));
}
