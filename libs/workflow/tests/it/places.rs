//! Which task a run runs.

use muster_workflow::{Error, ErrorType, Fact, Input};
use serde_json::{Value, json};

use crate::driver::Driver;

/// Every run that began says where its task stands; its key alone must say the same.
#[track_caller]
fn check(driver: &Driver) {
    let definition = driver.execution.definition();
    let mut runs = 0;
    for fact in &driver.journal {
        if let Fact::TaskStarted { task, pointer, .. } | Fact::TaskSkipped { task, pointer, .. } =
            fact
        {
            assert_eq!(definition.pointer_of(task), Some(pointer.as_str()), "{task}");
            runs += 1;
        }
    }
    assert!(runs > 2);
}

#[test]
fn a_key_says_where_its_task_stands() {
    let mut driver = Driver::start_document(
        "
document: {dsl: '1.0.3', namespace: tests, name: example, version: '1.0.0'}
use:
  functions:
    twice: {set: {doubled: '${ .n * 2 }'}}
do:
- 'a@2': {set: {n: 1}}
- 'b[0]':
    for: {in: '${ [1, 2] }'}
    do:
    - a: {call: twice, with: {n: '${ $item }'}}
    - a2: {do: [{a: {set: {x: 1}}}]}
- tried:
    try:
    - a: {raise: {error: {type: 'https://example.com/oops', status: 500}}}
    catch:
      retry: {limit: {attempt: {count: 1}}}
      do:
      - a: {set: {x: 1}}
- both:
    fork:
      branches:
      - a: {do: [{a: {if: '${ false }', set: {x: 1}}}]}
      - b: {call: tool, with: {tool: t}}
",
        json!({}),
    );
    let error = Error::new(ErrorType::Communication, "broken");
    driver.fail("/do/3/both/fork/branches/1/b", error);
    driver.input(&Input::Retry);
    check(&driver);
}

#[test]
fn a_key_of_no_run_says_nothing_however_it_is_made() {
    let inside = |task: String| format!("{{do: [{{a: {task}}}]}}");
    let task = (0..15).fold("{set: {x: 1}}".to_owned(), |task, _| inside(task));
    let driver = Driver::start(&format!("- a: {task}"), Value::Null);
    check(&driver);
    let definition = driver.execution.definition();
    for key in ["", "/", "/do/0", "/do/0/b", "/do/0/a@", "/do/0/a[", "[0]", "nonsense"] {
        assert_eq!(definition.pointer_of(key), None, "{key}");
    }
    // Deeper than anything is: whatever it says, it says it soon.
    let (long, lost) = ("/do/0/a".repeat(500), format!("{}/x", "/do/0/a".repeat(15)));
    assert!(definition.pointer_of(&long).is_none_or(|pointer| pointer.starts_with("/do/0/a")));
    assert_eq!(definition.pointer_of(&lost), None);
}
