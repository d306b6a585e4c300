use std::cell::Cell;

use serde_json::{Value, json};

use super::{Expression, Surroundings, Template, strip};

fn run(source: &str, input: &Value) -> Result<Value, String> {
    let variables = ["$context".to_owned(), "$item".to_owned()];
    let expression = Expression::parse(source, &variables)?;
    expression.evaluate(input, &Around(Cell::new(1_000_000))).map_err(|error| error.detail)
}

struct Around(Cell<u64>);

impl Surroundings for Around {
    fn variable(&self, name: &str) -> Value {
        match name {
            "$context" => json!({"a": 1, "list": [1, 2, 3]}),
            _ => json!("an item"),
        }
    }

    fn steps(&self) -> &Cell<u64> {
        &self.0
    }
}

#[track_caller]
fn check(source: &str, input: Value, expected: Value) {
    assert_eq!(run(source, &input), Ok(expected), "{source}");
}

#[track_caller]
fn check_error(source: &str, input: Value, expected: &str) {
    let error = run(source, &input).unwrap_err();
    assert!(error.contains(expected), "{source}: {error}");
}

#[test]
fn paths_and_operators_work_as_in_jq() {
    check(".", json!({"a": [1, null]}), json!({"a": [1, null]}));
    check("${ .a.b }", json!({"a": {"b": "x"}}), json!("x"));
    check(".a[1].b", json!({"a": [0, {"b": 7}]}), json!(7));
    check(".a[-1]", json!({"a": [1, 2]}), json!(2));
    check(".missing.deeper", json!({}), json!(null));
    check("[.a[].b]", json!({"a": [{"b": 1}, {"b": 2}]}), json!([1, 2]));
    check("[.a[.i]]", json!({"a": [5, 6], "i": 1}), json!([6]));
    check("[.rows[][.k]]", json!({"rows": [{"x": 1}, {"x": 2}], "k": "x"}), json!([1, 2]));
    check(".a[1:]", json!({"a": [1, 2, 3]}), json!([2, 3]));
    check(".a[.n:]", json!({"a": [1, 2, 3], "n": 2}), json!([3]));
    check(".a + 1 == 3 and (.b | not)", json!({"a": 2, "b": false}), json!(true));
    check("10 / 2", json!(null), json!(5));
    check("\"\\(.n) of \\($context.a)\"", json!({"n": 2}), json!("2 of 1"));
    check(".a // \"none\"", json!({}), json!("none"));
    check("$context.list | length", json!(null), json!(3));
    check("{a: $item, b: .x}", json!({"x": 1}), json!({"a": "an item", "b": 1}));
    check(
        "if .a > 1 then \"big\" elif .a == 1 then \"one\" else \"small\" end",
        json!({"a": 1}),
        json!("one"),
    );
    check("try error(\"x\") catch .", json!(null), json!("x"));
    check("[.[]?]", json!(1), json!([]));
    check("empty", json!(1), json!(null));
    check("9223372036854775807", json!(null), json!(i64::MAX));
    check(".", json!(u64::MAX), json!(u64::MAX));
}

#[test]
fn the_library_works_as_in_jq() {
    check("map(.a) | add", json!([{"a": 1}, {"a": 2}]), json!(3));
    check("map(select(. > 1))", json!([1, 2, 3]), json!([2, 3]));
    check("sort_by(.a) | map(.a)", json!([{"a": 2}, {"a": 1}]), json!([1, 2]));
    check("group_by(.k) | map(length)", json!([{"k": 1}, {"k": 2}, {"k": 1}]), json!([2, 1]));
    check("unique", json!([2, 1, 2]), json!([1, 2]));
    check("to_entries", json!({"a": 1}), json!([{"key": "a", "value": 1}]));
    check("with_entries(.value += 1)", json!({"a": 1}), json!({"a": 2}));
    check("[paths]", json!({"a": [1]}), json!([["a"], ["a", 0]]));
    check("getpath([\"a\", \"b\"])", json!({"a": {"b": 3}}), json!(3));
    check("del(.a)", json!({"a": 1, "b": 2}), json!({"b": 2}));
    check(".a |= . + 1", json!({"a": 1}), json!({"a": 2}));
    check(".a[] += 10", json!({"a": [1, 2]}), json!({"a": [11, 12]}));
    check(".a *= 3 | .b //= 1 | .c = 5", json!({"a": 2}), json!({"a": 6, "b": 1, "c": 5}));
    check("[range(3)]", json!(null), json!([0, 1, 2]));
    check("[range(5; 0; -2)]", json!(null), json!([5, 3, 1]));
    check("reduce .[] as $x (0; . + $x)", json!([1, 2, 3]), json!(6));
    check("[foreach .[] as $x (0; . + $x)]", json!([1, 2, 3]), json!([1, 3, 6]));
    check("[limit(3; repeat(1))]", json!(null), json!([1, 1, 1]));
    check("[.[] as [$a, $b] | $a + $b]", json!([[1, 2], [3, 4]]), json!([3, 7]));
    check(". as {a: $x} | $x", json!({"a": 4}), json!(4));
    check("walk(if type == \"number\" then . + 1 else . end)", json!([1, [2]]), json!([2, [3]]));
    check("[any(. > 2), all(. > 0)]", json!([1]), json!([false, true]));
}

#[test]
fn text_works_as_in_jq() {
    check("split(\", \")", json!("a, b"), json!(["a", "b"]));
    check("join(\"-\")", json!(["a", "b"]), json!("a-b"));
    check("test(\"^a.c$\")", json!("abc"), json!(true));
    check("gsub(\"[aeiou]\"; \"_\")", json!("hello"), json!("h_ll_"));
    check("capture(\"(?<y>[0-9]+)\").y", json!("in 2026"), json!("2026"));
    check("ascii_downcase | ltrimstr(\"ab\")", json!("ABC"), json!("c"));
    check("contains(\"bar\")", json!("foobar"), json!(true));
    check("indices(\"a\")", json!("banana"), json!([1, 3, 5]));
    check("fromjson.a", json!("{\"a\": 1}"), json!(1));
    check("tojson", json!({"a": 1}), json!("{\"a\":1}"));
    check("@base64, (@base64 | @base64d) | select(. == \"hi\")", json!("hi"), json!("hi"));
    check("tonumber + 1", json!("41"), json!(42));
    check("\"x\" * 3", json!(null), json!("xxx"));
    check("fromdate", json!("2026-01-01T00:00:00Z"), json!(1_767_225_600));
}

#[test]
fn texts_of_ten_megabytes_are_put_into_others() {
    let text = "x".repeat(9_000_000);
    let result = run("\"\\(.a): \\(.a)\" | length", &json!({"a": text}));
    assert_eq!(result, Ok(json!(18_000_002)));
}

#[test]
fn recursion_works_within_the_bounds() {
    check("[recurse(if . < 3 then . + 1 else empty end)]", json!(0), json!([0, 1, 2, 3]));
    check("def f: if . > 0 then . - 1 | f else \"done\" end; f", json!(10_000), json!("done"));
    check("def f(n): if n > 0 then 1 + f(n - 1) else 0 end; f(5)", json!(null), json!(5));
    check("last(range(20000))", json!(null), json!(19_999));
    check("until(. >= 10000; . + 1)", json!(0), json!(10_000));
    check("[..]", json!([[1]]), json!([[[1]], [1], 1]));
    check("first(repeat(1))", json!(null), json!(1));
    check(
        "label $out | foreach .[] as $x (0; . + $x; if . > 2 then ., break $out else empty end)",
        json!([1, 2, 3]),
        json!(3),
    );
}

#[test]
fn more_than_one_result_is_an_error() {
    check_error(".[]", json!([1, 2]), "more than one result; write [ ] around it");
}

#[test]
fn wrong_sources_are_refused_with_what_is_wrong() {
    for (source, expected) in [
        ("", "the expression is empty"),
        (".a |", "expected term but found its end"),
        (".a ) b", "found `) b`"),
        ("(.a", "closing parenthesis"),
        ("$nope", "no variable $nope here; there are $context, $item"),
        ("frobnicate(1)", "no function frobnicate/1"),
        ("now", "now is not available: an expression cannot read the clock"),
        ("env.HOME", "env is not available"),
        ("$ENV.HOME", "no variable $ENV"),
        ("input", "input is not available"),
        ("debug", "debug is not available"),
        ("halt", "halt is not available"),
        ("__tick", "two leading underscores"),
        ("def __main: 1; 2", "two leading underscores"),
        (". as $__input | 1", "two leading underscores"),
        ("import \"a\" as a; 1", "found"),
        ("a::b", "of a module"),
    ] {
        let error = run(source, &json!(null)).unwrap_err();
        assert!(error.contains(expected), "{source}: {error}");
    }
    let long = format!("[{}1]", "1,".repeat(5_000));
    assert!(run(&long, &json!(null)).unwrap_err().contains("has 10003 bytes, 8192 at most"));
    let deep = "[".repeat(65);
    assert!(run(&deep, &json!(null)).unwrap_err().contains("deeper than 64"));
    let chain = format!(".{}", "|.".repeat(600));
    assert!(run(&chain, &json!(null)).unwrap_err().contains("600 pipes and keywords, 300 at most"));
    for prefix in ["try ", "-", "if ", "label $a | ", "def f: ", ". as $a | ", "reduce "] {
        let nested = prefix.repeat(8_000 / prefix.len());
        assert!(run(&nested, &json!(null)).is_err(), "{prefix}");
    }
}

#[test]
fn hostile_expressions_are_stopped() {
    let steps = "took more than";
    let size = "value larger than";
    for (source, expected) in [
        ("def f: f; f", steps),
        ("def f: f, f; [f]", steps),
        ("def f: 1 + f; f", ""),
        ("def f: [f]; f", ""),
        ("def f(x): f(f(x)); f(1)", ""),
        ("[repeat(1)]", steps),
        ("[range(1e12)]", steps),
        ("last(range(1e12))", steps),
        ("[range(0; 1; 0)] | length", ""),
        ("[recurse]", ""),
        ("last(recurse(.))", steps),
        ("until(false; .)", steps),
        ("[while(true; .)]", steps),
        ("reduce range(100) as $i (\"ab\"; . + .)", size),
        ("reduce range(100) as $i ([1]; [.[], .[]])", ""),
        ("reduce range(100) as $i (1; [., .])", size),
        ("reduce range(100) as $i ({}; {a: ., b: .})", size),
        ("reduce range(100) as $i ({}; .a = . | .b = .)", ""),
        ("reduce range(100) as $i (\"a\"; \"\\(.)\\(.)\")", size),
        ("reduce range(10000) as $i (1; [.])", "nested deeper"),
        ("\"a\" * 1e9", ""),
        ("\"a\" * 1000000000", size),
        ("\"a\" * 99999999999999999999999", size),
        (".a *= 1000000000", size),
        ("reduce range(40) as $i (3; . * .)", "4096 bits"),
        ("def f: try f catch f; f", "too deeply"),
        ("def f: (try f catch .), (try f catch .); [f]", "too deeply"),
        ("def f: f?; [f?, f?]", "too deeply"),
        ("[limit(1e9; repeat(1))]", steps),
        ("\"[\" * 100000 | fromjson", "fromjson"),
        ("[range(20000)] | indices([range(10000)])", steps),
        ("[range(20000)] | .[[1]]", "an array is not an index"),
        ("[range(5000)] | contains([range(5000)])", steps),
        ("(\"a\" * 400000) | test(\"(a*)*b\")", steps),
        ("(\"a\" * 1000000) as $x | def f: if $x == $x then f else 1 end; f", steps),
        ("[range(100000)] as $x | def f: first($x[]) | f; f", steps),
        ("[range(100000)] as $x | def f: $x | sort | f; f", steps),
        (".. |= [., .]", ""),
        ("[combinations(30)]", ""),
    ] {
        check_stopped(source, expected);
    }
}

#[test]
fn many_choices_in_a_short_source_are_stopped() {
    let entries: Vec<_> = (0..40).map(|key| format!("a{key}: (1,1)")).collect();
    for source in [
        format!("last({} 1)", "(1,1) | ".repeat(60)),
        format!("last({} 1)", "(1,1) as $x | ".repeat(60)),
        format!("last({} 1)", "(1,1) + ".repeat(60)),
        format!("last({} 1)", "(true,true) and ".repeat(60)),
        format!("last({} 1)", "(1,1) == ".repeat(60)),
        format!("last({}1{})", "if (true,true) then ".repeat(40), " else 2 end".repeat(40)),
        format!("last(null | .{})", "[(0,1)]".repeat(40)),
        format!("last({{{}}})", entries.join(",")),
        format!("last(\"{}\")", "\\(1,1)".repeat(40)),
    ] {
        check_stopped(&source, "took more than");
    }
}

/// Generous, for builds without optimisation on a busy machine; mostly it takes 0.2 s there.
#[track_caller]
fn check_stopped(source: &str, expected: &str) {
    let started = std::time::Instant::now();
    let result = run(source, &json!({"a": "text", "list": [0, 1]}));
    let taken = started.elapsed();
    if !expected.is_empty() {
        let error = result.expect_err(source);
        assert!(error.contains(expected), "{source}: {error}");
    }
    assert!(taken.as_secs() < 20, "{source} took {taken:?}");
}

#[test]
fn templates_evaluate_only_whole_strings() {
    let mut problems = Vec::new();
    let value = json!({"a": "${ .x }", "b": ["text", "${ 1 + 1 }"], "c": 5, "d": {"e": "${.x"}});
    let template = Template::parse(&value, "/set", &[], &mut |pointer, message| {
        problems.push(format!("{pointer}: {message}"));
    });
    assert!(problems.iter().all(|problem| problem.starts_with("/set/d/e: ")), "{problems:?}");
    assert_eq!(problems.len(), 1);
    let result = template.evaluate(&json!({"x": [1]}), &Around(Cell::new(1_000))).unwrap();
    assert_eq!(result["a"], json!([1]));
    assert_eq!(result["b"], json!(["text", 2]));
    assert_eq!(strip(" ${ .a } "), Some(".a"));
    assert_eq!(strip("text ${ .a }"), None);
}

#[test]
fn all_evaluations_together_are_bounded() {
    let expression = Expression::parse("[range(1000)] | length", &[]).unwrap();
    let around = Around(Cell::new(10_000));
    let mut evaluations = 0;
    let error = loop {
        match expression.evaluate(&json!(null), &around) {
            Ok(_) => evaluations += 1,
            Err(error) => break error.detail,
        }
    };
    assert!((2..10).contains(&evaluations), "{evaluations}");
    assert!(
        error.contains("the expressions of one step of the workflow took more than"),
        "{error}"
    );
}
