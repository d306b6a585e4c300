//! A workflow that asks for too much is refused or faults; it never stalls.

use muster_workflow::{Definition, Input, limits};
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document};

#[test]
fn a_jump_back_for_ever_ends_with_an_error() {
    let driver = Driver::start(
        "- a: {set: {x: 1}}\n- b: {switch: [{on: {when: 'true', then: a}}]}",
        Value::Null,
    );
    assert!(driver.error().detail.contains("more than 50000 task runs"), "{}", driver.error());
}

#[test]
fn a_retry_without_a_pause_for_ever_ends_with_an_error() {
    let driver = Driver::start(
        "
        - careful:
            try: [a: {raise: {error: {type: 'https://example.com/no', status: 500}}}]
            catch: {retry: {limit: {attempt: {count: 1000000}}}}
        ",
        Value::Null,
    );
    assert!(driver.error().detail.contains("more than 50000 task runs"), "{}", driver.error());
}

#[test]
fn too_many_iterations_are_refused() {
    let driver = Driver::start("- l: {for: {in: '[range(20001)]'}, do: []}", Value::Null);
    assert!(driver.error().detail.contains("gave 20001 items, 20000 at most"));
}

#[test]
fn what_stands_around_an_expression_counts_for_the_depth_of_its_value() {
    let driver = Driver::start(
        "
        - l:
            for: {in: '[range(200)]'}
            do: [a: {set: {x: {y: '${ . }'}}}]
        ",
        Value::Null,
    );
    let told = "the expressions made a value nested deeper than 120 levels";
    assert!(driver.error().detail.contains(told), "{}", driver.error());
}

#[test]
fn a_step_that_makes_too_much_faults() {
    let driver = Driver::start(
        "
        - l:
            for: {in: '[range(100)]'}
            do: [a: {set: {text: '${ \"x\" * 1000000 + ($index | tostring) }'}}]
        ",
        Value::Null,
    );
    assert!(driver.error().detail.contains("one step of the workflow made more than"));
    assert!(driver.journal.len() < 300);
}

#[test]
fn values_from_outside_are_bounded() {
    let large = Value::String("x".repeat(usize::try_from(limits::VALUE_SIZE).unwrap()));
    let mut driver = Driver::start("- a: {call: tool, with: {tool: t}}", Value::Null);
    driver.complete("/do/0/a", large.clone());
    assert!(driver.error().detail.contains("the result of the call has about"));

    let mut driver = Driver::new(definition(&document("- a: {set: {x: 1}}")));
    driver.input(&Input::Start { input: large });
    assert!(driver.error().detail.contains("the input has about"));
    assert_eq!(*driver.execution.input(), Value::Null);
}

#[test]
fn documents_are_bounded() {
    let message = |text: &str| Definition::parse(text).unwrap_err().to_string();
    assert!(message(&" ".repeat(2_000_000)).contains("1048576 at most"));
    let many = format!("[{}]", "1,".repeat(100_001));
    assert!(message(&many).contains("more than 100000 values"));
    let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
    assert!(message(&deep).contains("cannot be read"), "{}", message(&deep));
    let mut bomb = "a0: &a0 [x, x]\n".to_owned();
    for level in 1..40 {
        let below = level - 1;
        bomb += &format!("a{level}: &a{level} [*a{below}, *a{below}]\n");
    }
    assert!(message(&bomb).contains("cannot be read"), "{}", message(&bomb));
    let list: String = (0..10_001).map(|n| format!("- t{n}: {{set: {{x: 1}}}}\n")).collect();
    assert!(message(&document(&list)).contains("10000 tasks at most"));
    let nested = format!("- a: {}{{do: []}}{}", "{do: [a: ".repeat(25), "]}".repeat(25));
    assert!(message(&document(&nested)).contains("nested 20 deep"));
    let branches: Vec<_> =
        (0..2_001).map(|n| json!({format!("b{n}"): {"set": {"x": 1}}})).collect();
    let fork = json!({"a": {"fork": {"branches": branches}}});
    assert!(message(&document(&format!("- {fork}"))).contains("2001 branches, 2000 at most"));
}

#[test]
fn schemas_that_are_endless_are_refused() {
    let doubling: String = (0..40)
        .map(|n| {
            format!(
                "a{n}: {{allOf: [{{$ref: '#/$defs/a{m}'}}, {{$ref: '#/$defs/a{m}'}}]}}, ",
                m = n + 1
            )
        })
        .collect();
    for (schema, expected) in [
        ("{$ref: '#'}", "`#` refers to itself"),
        ("{properties: {a: {$ref: '#'}}}", "`#` refers to itself"),
        ("{$defs: {a: {$ref: '#/$defs/b'}, b: {$ref: '#/$defs/a'}}}", "refers to itself"),
        ("{$ref: '#/$defs/none'}", "does not refer to a part of it"),
        ("{$ref: 'https://example.com/x.json'}", "does not refer to a part of it"),
        (
            &format!("{{$defs: {{{doubling} a40: {{type: string}}}}, $ref: '#/$defs/a0'}}"),
            "more than 5000 values",
        ),
    ] {
        let task = format!("- a: {{input: {{schema: {{document: {schema}}}}}, set: {{x: 1}}}}");
        let problems = Definition::parse(&document(&task)).unwrap_err();
        assert_eq!(problems.0[0].pointer, "/do/0/a/input/schema/document");
        assert!(problems.to_string().contains(expected), "{schema}: {problems}");
    }
}

#[test]
fn many_slow_expressions_are_bounded_together() {
    let slow: String = (0..300).map(|n| format!("k{n}: '${{ last(range(30000)) }}', ")).collect();
    let driver = Driver::start(&format!("- a: {{set: {{{slow}}}}}"), Value::Null);
    assert!(driver.error().detail.contains("expressions of one step"), "{}", driver.error());
}

#[test]
fn many_large_values_in_one_task_are_bounded() {
    let large: String = (0..300).map(|n| format!("k{n}: '${{ .text }}', ")).collect();
    let input = json!({"text": "x".repeat(100_000)});
    let driver = Driver::start(&format!("- a: {{set: {{{large}}}}}"), input);
    assert!(driver.error().detail.contains("the expressions made more than"), "{}", driver.error());
}

#[test]
fn a_pattern_of_a_schema_cannot_stall() {
    let schema = "{type: string, pattern: '^(a+)+$'}";
    let text =
        document(&format!("- a: {{input: {{schema: {{document: {schema}}}}}, set: {{x: 1}}}}"));
    let driver = Driver::start_document(&text, json!(format!("{}b", "a".repeat(100_000))));
    assert!(driver.error().detail.contains("does not match"));
}

#[test]
fn nesting_does_not_make_checking_slow() {
    for (task, right) in [("{set: {x: 1}}", true), ("{set: {x: 1}, metadata: 5}", false)] {
        let (open, close) = ("{for: {in: .}, do: [a: ".repeat(18), "]}".repeat(18));
        let text = document(&format!("- a: {open}{task}{close}"));
        let started = std::time::Instant::now();
        assert_eq!(Definition::parse(&text).is_ok(), right);
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
        if !right {}
    }
}

#[test]
fn the_texts_of_errors_are_cut() {
    let mut driver = Driver::start("- a: {call: tool, with: {tool: t}}", Value::Null);
    let error = muster_workflow::Error::new(
        muster_workflow::ErrorType::Communication,
        "é".repeat(1_000_000),
    );
    driver.fail("/do/0/a", error);
    assert_eq!(driver.error().detail.chars().count(), limits::ERROR_BYTES / 2 + 1);
}

#[test]
fn what_goes_out_is_bounded_by_its_text() {
    // A control character has six letters in JSON.
    let input = json!({"text": "\u{1}".repeat(3_000_000)});
    let call = "- a: {call: tool, with: {tool: t, arguments: {text: '${ .text }'}}}";
    let driver = Driver::start(call, input.clone());
    assert!(driver.error().detail.contains("what the call hands over has more than"));
    let driver = Driver::start("- a: {set: {text: '${ .text }'}}", input);
    assert!(driver.error().detail.contains("the workflow's output has more than"));
}
