//! Expressions that want the process: each ends soon, and its task faults.

use serde_json::{Value, json};

use crate::driver::Driver;

/// Runs an expression on an input; the error's detail, or none where it has a value.
fn run(expression: &str, input: Value) -> Option<String> {
    let tasks = format!("- a: {{set: {{x: {}}}}}", json!(format!("${{ {expression} }}")));
    let driver = Driver::start(&tasks, input);
    driver.execution.error().map(|error| error.detail.clone())
}

#[test]
fn what_loops_for_ever_is_stopped() {
    for expression in [
        "last(range(1e18))",
        "def f: f; f",
        "def f: def g: f; g; f",
        "until(false; .)",
        "[while(true; .)]",
        "last(repeat(1))",
        "last(recurse(. + 1))",
        "first(repeat(1) | select(false))",
        "reduce repeat(1) as $x (0; . + $x)",
        "label $l | repeat(1) | if false then break $l else empty end",
        "[limit(1e9; repeat(0))]",
        "[[range(10)] as $a | $a[] | $a[] | $a[] | $a[] | $a[] | $a[] | $a[]] | length",
    ] {
        let error = run(expression, json!(0)).unwrap_or_else(|| panic!("{expression} has a value"));
        assert!(error.contains("steps") || error.contains("larger"), "{expression}: {error}");
    }
}

#[test]
fn what_recurses_deeply_is_stopped() {
    for expression in [
        "def f: [f]; f",
        "def f: 1 + f; f",
        "def f(x): f(x | x); f(.)",
        "def f(x): x | f(f(x)); f(. + 1)",
        "reduce range(100000) as $i (null; [.])",
        "[recurse([.])] | last",
        "setpath([range(100000) | \"a\"]; 1)",
        "(\"[\" * 100000) | fromjson",
        "def f: try f catch f; f",
    ] {
        assert!(run(expression, json!(0)).is_some(), "{expression}");
    }
}

#[test]
fn what_explodes_in_memory_is_stopped() {
    for expression in [
        "\"x\" * 1e12",
        "reduce range(60) as $i (\"x\"; . + .)",
        "reduce range(60) as $i ([1]; . + .)",
        "reduce range(60) as $i ([1]; [., .])",
        "reduce range(60) as $i ({}; {a: ., b: .}) | tojson",
        ".[1000000000] = 1",
        "[range(100)] | [combinations(9)]",
        "(\"x\" * 19000000) | explode | length",
        "(\"x\" * 19000000) / \"\" | length",
        "(\"x\" * 19000000) | split(\"\") | length",
        "(\"x\" * 19000000) | indices(\"x\") | length",
        "(\"[\" + (\"1,\" * 9000000) + \"1]\") | fromjson | length",
        "(\"<\" * 19000000) | @html | length",
        "(\"x\" * 19000000) | [scan(\".\")] | length",
        "reduce range(1000) as $i (3; . * .)",
        "[range(3)] | until(length > 1e9; . + .) | length",
    ] {
        assert!(run(expression, json!([])).is_some(), "{expression}");
    }
}

#[test]
fn what_is_slow_on_large_values_is_stopped() {
    let large = json!({"text": "ab".repeat(2_000_000), "list": (0..100_000).collect::<Vec<u32>>()});
    for expression in [
        "[.text | match(\"(a|b)*c\"; \"g\")]",
        ".text | gsub(\"a\"; \"b\") | length",
        ".text as $t | [range(1000) | $t + \"x\" | length]",
        ".list | [.[] as $x | index($x)]",
        ".list | [range(1000) as $i | sort | .[$i]]",
        ".list | reduce .[] as $x ([]; [$x] + .) | length",
        "[.list[] as $x | .list | length]",
        ".text as $t | [range(1000) | . as $i | $t | contains(\"abba\" * 1000)] | length",
        ".text | ltrimstr(\"a\" * 1000000) | test(\"(.*)*x\")",
    ] {
        assert!(run(expression, large.clone()).is_some(), "{expression}");
    }
}

#[test]
fn a_long_number_is_read_at_a_bounded_price() {
    for expression in ["(\"9\" * 10000000) | tonumber", "(\"9\" * 1000000) | tonumber | . * 2"] {
        // A value or an error: what counts is that it ends.
        drop(run(expression, Value::Null));
    }
}
