//! Bad documents: each problem names its place, the value and what would be right.

use muster_workflow::{Definition, Problem};

use crate::driver::document;

#[track_caller]
fn check_text(text: &str, expected: &[&str]) {
    let problems = Definition::parse(text).map(|_| ()).unwrap_err();
    // The order of keys in a map depends on a feature of serde_json that any crate may turn on.
    let mut lines: Vec<String> = problems.0.iter().map(without_place).collect();
    let mut expected = expected.to_vec();
    lines.sort();
    expected.sort_unstable();
    assert_eq!(lines, expected, "{text}");
}

fn without_place(problem: &Problem) -> String {
    Problem::new(problem.pointer.as_str(), problem.message.as_str()).to_string()
}

#[track_caller]
fn check(tasks: &str, expected: &[&str]) {
    check_text(&document(tasks), expected);
}

#[test]
fn text_that_cannot_be_read_is_located() {
    for (text, expected, line) in [
        ("do: [", "did not find expected node content", Some(2)),
        ("a: 1\na: 2", "the key `a` stands twice", Some(2)),
        ("a: {b: 1\nc", "did not find expected", Some(3)),
        ("1: 2", "the key 1 is not a string", None),
        ("a: !tag x", "", None),
        ("", "it is empty", None),
        ("a: .nan", "is no JSON number", None),
        ("\u{0}", "", None),
    ] {
        let problems = Definition::parse(text).map(|_| ()).unwrap_err();
        let problem = &problems.0[0];
        assert!(problem.message.contains(expected), "{text}: {problem}");
        if line.is_some() {
            assert_eq!(problem.line, line, "{text}: {problem}");
        }
    }
}

#[test]
fn every_problem_has_its_line_and_column() {
    let text = "\
document: {dsl: '1.0.3', namespace: tests, name: example, version: '1.0.0'}
do:
# a comment
- a:
    set:
      x: 'Dear ${ .name }'
    then: nowhere
- b: {call: agent, with: {agent: poet}}
- c: {dance: {}}
";
    let problems = Definition::parse(text).map(|_| ()).unwrap_err();
    let mut places: Vec<_> = problems
        .0
        .iter()
        .map(|problem| (problem.pointer.as_str(), problem.line, problem.column))
        .collect();
    places.sort_unstable();
    let at = |line, column| (Some(line), Some(column));
    let expected = [
        ("/do/0/a/set/x", at(6, 7)),
        ("/do/0/a/then", at(7, 5)),
        // Something is missing: the part around it.
        ("/do/1/b/with", at(8, 20)),
        ("/do/2/c", at(9, 3)),
    ];
    assert_eq!(places, expected.map(|(pointer, (line, column))| (pointer, line, column)));
    // As JSON there is no text, and no place in it.
    let value = serde_json::json!({"do": []});
    let problems = Definition::from_json(value).map(|_| ()).unwrap_err();
    assert!(problems.0.iter().all(|problem| problem.line.is_none()));
}

#[test]
fn the_frame_of_a_document_is_checked() {
    check_text(
        "just text",
        &["the document is the string `just text`, not a map with `document` and `do`"],
    );
    check_text(
        "{}",
        &[
            "/document: `document` is missing: it names the workflow",
            "/do: `do` is missing: the list of the workflow's tasks",
        ],
    );
    check_text(
        "document: {dsl: 2.0.0, namespace: a_b, version: 1.5, title: x, colour: red}\nschedule: {cron: x}\ndo: {}",
        &[
            "/schedule/cron: `x` is not a cron expression: it has 1 fields, but there must be five (minute, hour, day of the month, month, day of the week) as in `30 9 * * mon-fri`",
            "/document/colour: `colour` is not supported in `document`; supported are dsl, namespace, name, version, title, summary, tags, metadata",
            "/document/dsl: DSL version `2.0.0` is not supported; it is 1.0.3 here",
            "/document/namespace: `a_b` must have 1 to 63 letters, digits and hyphens, and neither begin nor end with a hyphen",
            "/document/name: `name` is missing",
            "/document/version: `version` must be a string, not the number 1.5; quote it",
            "/do: must be a list of tasks, not a map of 0",
        ],
    );
    check_text(
        "document: {dsl: 1.0.3, namespace: a, name: b, version: 1.0.0-..}\ndo: [a: {set: {x: 1}}]",
        &["/document/version: `1.0.0-..` is not a semantic version such as 1.0.0"],
    );
}

#[test]
fn unknown_and_unsupported_tasks_are_refused() {
    check(
        "
        - a: {listen: {to: {}}}
        - b: {dance: true}
        - c: {set: {x: 1}, colour: red}
        - d: 5
        - [e]
        ",
        &[
            "/do/0/a/listen/to: one of `one`, `any` and `all` is missing: the events to listen to",
            "/do/1/b: this is no known type of task (its keys are: dance); supported are for, do, set, switch, fork, try, raise, wait, call, run, listen, emit",
            "/do/2/c/colour: `colour` is not supported in a `set` task; supported are set, if, input, output, export, timeout, then, metadata",
            "/do/3/d: a task must be a map, not the number 5",
            "/do/4: must be a map from one task's name to the task, not a list of 1",
        ],
    );
}

#[test]
fn calls_are_checked() {
    check(
        "
        - a: {call: http, with: {}}
        - b: {call: agent}
        - c: {call: agent, with: {prompt: x, input: y, mood: good}}
        - d: {call: tool, with: {tool: 5, arguments: [1]}}
        - e: {call: search, with: {collection: ''}}
        - f: {call: 7}
        - g: {call: template, with: {vars: [1], version: 2, text: x}}
        - h: {call: template, with: {template: '', stage: deploy}}
        ",
        &[
            "/do/0/a/with/endpoint: `call: http` needs `endpoint`",
            "/do/0/a/with/method: `call: http` needs `method`",
            "/do/1/b/with: `with` is missing: the arguments of agent: agent, input, prompt, overrides, thread, message",
            "/do/2/c/with/mood: `mood` is not supported in `with` of `call: agent`; supported are agent, input, prompt, overrides, thread, message",
            "/do/2/c/with: `call: agent` takes only one of `input` or `prompt`",
            "/do/2/c/with/agent: `call: agent` needs `agent`",
            "/do/3/d/with/tool: `tool` must be a string, not the number 5",
            "/do/3/d/with/arguments: `arguments` must be a map or an expression, not a list of 1",
            "/do/4/e/with: `call: search` needs `query`",
            "/do/4/e/with/collection: `collection` is empty",
            "/do/5/f/call: `call` must be a string, not the number 7",
            "/do/6/g/with/text: `text` is not supported in `with` of `call: template`; supported are template, stage, version, vars",
            "/do/6/g/with: `call: template` needs `template` or `stage`",
            "/do/6/g/with/version: `version` must be a string, not the number 2",
            "/do/6/g/with/vars: `vars` must be a map or an expression, not a list of 1",
            "/do/7/h/with: `call: template` takes only one of `template` or `stage`",
            "/do/7/h/with/template: `template` is empty",
            "/do/7/h/with/stage: `stage` is \"deploy\", but must be one of spec, specification, pseudocode, architecture, refinement, completion",
        ],
    );
}

#[test]
fn expressions_are_checked_with_their_variables() {
    check(
        "
        - a: {if: '.x >', set: {y: '${ $item }', z: 'a ${ .b } c'}}
        - b:
            for: {each: pet, in: .pets}
            do: [c: {set: {ok: '${ $pet }', no: '${ $item }'}}]
        - d: {set: {out: '${ $output }'}, export: {as: $output}}
        ",
        &[
            "/do/0/a/if: syntax error in the jq expression: expected term but found its end: `.x >`",
            "/do/0/a/set/y: there is no variable $item here; there are $context, $input, $task, $workflow, $runtime, $secrets, $authorization: `$item`",
            "/do/0/a/set/z: an expression must be the whole string: write `${ \"text \\(.field) text\" }` instead of `text ${ .field } text`",
            "/do/1/b/do/0/c/set/no: there is no variable $item here; there are $context, $input, $task, $workflow, $runtime, $secrets, $authorization, $pet, $index: `$item`",
            "/do/2/d/set/out: there is no variable $output here; there are $context, $input, $task, $workflow, $runtime, $secrets, $authorization: `$output`",
        ],
    );
}

#[test]
fn everything_that_is_wrong_in_an_expression_is_told() {
    let there = "there are $context, $input, $task, $workflow, $runtime, $secrets, $authorization";
    check(
        "
        - a: {set: {x: '${ $no + missing(.x) + $nor }', y: '${ input + debug }', z: '${ $secrets.a + $secrets.b + no }'}}
        ",
        &[
            &format!("/do/0/a/set/x: there is no function missing/1 in jq; there is no variable $no, $nor here; {there}: `$no + missing(.x) + $nor`"),
            "/do/0/a/set/y: input is not available: an expression has only its input and its variables; debug is not available: an expression cannot print or stop the process: `input + debug`",
            "/do/0/a/set/z: there is no function no/0 in jq; there is no secret \"a\", \"b\" in use.secrets: `$secrets.a + $secrets.b + no`",
        ],
    );
}

#[test]
fn an_open_expression_is_told_beside_other_problems() {
    check(
        "
        - a: {if: '${ .x', call: agent, with: {agent: b, input: '${ .text'}, also: 1}
        - c: {call: unknown, with: {x: '${ .text', y: '${ $no }'}}
        - d: {call: http, with: {endpoint: 5, method: get, body: '${ .text'}}
        - e: {call: tool, with: {tool: t, arguments: '${ .text'}}
        - f: {wait: '${ .x', metadata: {note: '${ .'}}
        - g: {fork: {branches: 5}}
        - h: {set: {a: '${ '}}
        ",
        &[
            "/do/0/a/also: `also` is not supported in a `call` task; supported are call, with, if, input, output, export, timeout, then, metadata",
            "/do/0/a/if: the expression is not closed: write `${ .x }`",
            "/do/0/a/with/input: the expression is not closed: write `${ .text }`",
            "/do/1/c/call: `call: unknown` is not supported; supported are http, openapi, asyncapi, mcp, a2a, agent, tool, model, search, template",
            "/do/1/c/with/x: the expression is not closed: write `${ .text }`",
            "/do/1/c/with/y: there is no variable $no here; there are $context, $input, $task, $workflow, $runtime, $secrets, $authorization: `$no`",
            "/do/2/d/with/body: the expression is not closed: write `${ .text }`",
            "/do/2/d/with/endpoint: an endpoint must be a string, not the number 5",
            "/do/3/e/with/arguments: `arguments` must be a map or an expression, not the string `${ .text`",
            "/do/3/e/with/arguments: the expression is not closed: write `${ .text }`",
            "/do/4/f/wait: `${ .x` is not an ISO 8601 duration such as PT30S or P1DT12H",
            "/do/4/f/wait: the expression is not closed: write `${ .x }`",
            "/do/5/g/fork/branches: must be a list of tasks, not the number 5",
            "/do/6/h/set/a: the expression is not closed: write `${ . }`",
        ],
    );
}

#[test]
fn problems_come_in_the_order_of_their_places() {
    let text = "document: {dsl: '1.0.3', namespace: n, name: a, version: '1'}\ndo:\n- a:\n    set: {x: '${ $no }'}\n    foo: 1\n    if: .x |\n- b: {wait: 5}\n";
    let problems = Definition::parse(text).map(|_| ()).unwrap_err();
    let places = problems.0.iter().map(|problem| (problem.line, problem.column));
    let mut sorted: Vec<_> = places.clone().collect();
    sorted.sort_unstable();
    assert_eq!(places.collect::<Vec<_>>(), sorted, "{problems}");
    assert_eq!(problems.0.len(), 5, "{problems}");
}

#[test]
fn flow_is_checked() {
    check(
        "
        - a: {set: {x: 1}, then: nowhere}
        - a: {switch: []}
        - b: {switch: [x: {when: 'true'}, y: {then: a}, z: {then: a}]}
        - c: {fork: {branches: [d: {set: {x: 1}, then: e}, e: {set: {x: 1}}], compete: maybe}}
        - f: {for: {each: x, at: x}, do: []}
        - g: {for: {in: 5, each: input}, do: []}
        ",
        &[
            "/do/0/a/then: `nowhere` is neither continue, exit, end nor a task of the same list (a, a, b, c, f, g)",
            "/do/1/a: the name `a` stands twice in a list",
            "/do/1/a/switch: `switch` must be a list of cases, not a list of 0",
            "/do/2/b/switch/0/x/then: `then` is missing: where the flow goes",
            "/do/2/b/switch: `switch` has more than one default case (without `when`)",
            "/do/3/c/fork/compete: `compete` must be true or false, not the string `maybe`",
            "/do/3/c/fork/branches/0/d/then: a branch cannot go to another branch, `e`",
            "/do/4/f/for: `each` and `at` are both $x",
            "/do/4/f/for/in: `in` is missing: the list to go over",
            "/do/5/g/for/each: $input is a variable of the runtime; choose another",
            "/do/5/g/for/in: an expression must be a string, not the number 5",
        ],
    );
}

#[test]
fn errors_and_retries_are_checked() {
    check(
        "
        - a: {raise: {error: unknown}}
        - b: {raise: {error: {status: 99}}}
        - c: {try: [], catch: {errors: {with: {code: x}}, retry: {delay: 5s, backoff: {fast: {}}}}}
        - d: {try: []}
        - e: {try: [], catch: {retry: {limit: {attempt: {count: -1, duration: PT1S}}, jitter: {from: PT2S, to: PT1S}}}}
        - f: {wait: {years: 1}}
        - g: {set: {x: 1}, timeout: {before: PT1S}}
        - h: {set: {x: 1}, timeout: never}
        ",
        &[
            "/do/0/a/raise/error: `unknown` is not in use.errors, which has nothing",
            "/do/1/b/raise/error/type: `type` is missing in the error",
            "/do/1/b/raise/error/status: `status` must be a number from 100 to 599, not the number 99",
            "/do/2/c/catch/errors/with/code: `code` is not supported in an error filter; supported are type, status, instance, title, detail, details",
            "/do/2/c/catch/retry/delay: `5s` is not an ISO 8601 duration such as PT30S or P1DT12H",
            "/do/2/c/catch/retry/backoff/fast: `fast` is no backoff; supported are constant, linear, exponential",
            "/do/2/c/catch/retry: a retry policy needs `limit.attempt.count` or `limit.duration`: without a limit it may retry for ever",
            "/do/3/d/catch: `catch` is missing: what happens with errors",
            "/do/4/e/catch/retry/jitter: `from` (2s) is longer than `to` (1s)",
            "/do/4/e/catch/retry/limit/attempt/count: `count` must be a whole number of 0 or more, not the number -1",
            "/do/4/e/catch/retry: a retry policy needs `limit.attempt.count` or `limit.duration`: without a limit it may retry for ever",
            "/do/5/f/wait: `years` is no unit of a duration; the units are days, hours, minutes, seconds, milliseconds",
            "/do/6/g/timeout/before: `before` is not supported in a timeout; supported are after",
            "/do/6/g/timeout: `after` is missing: the duration of the timeout",
            "/do/7/h/timeout: `never` is not in use.timeouts, which has nothing",
        ],
    );
}

#[test]
fn reusable_parts_that_are_not_supported_are_refused() {
    check_text(
        "document: {dsl: 1.0.3, namespace: a, name: b, version: 1.0.0}\nuse: {gadgets: {}, secrets: [x], errors: {e: {status: 500}}}\ndo: []",
        &[
            "/use/gadgets: `gadgets` is not supported in `use`; supported are authentications, catalogs, errors, extensions, functions, retries, secrets, timeouts",
            "/use/errors/e/type: `type` is missing in the error",
        ],
    );
}

#[test]
fn schemas_are_checked() {
    let problems = Definition::parse(&document(
        "
        - a: {input: {schema: {resource: {endpoint: 'file:///etc/x'}}}, set: {x: 1}}
        - b: {input: {schema: {format: xml, document: {}}}, set: {x: 1}}
        - c: {input: {schema: {document: {type: nothing}}}, set: {x: 1}}
        - d: {input: {schema: {document: {$ref: 'https://example.com/schema.json'}}}, set: {x: 1}}
        ",
    ));
    let problems = problems.map(|_| ()).unwrap_err();
    let pointers: Vec<_> = problems.0.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/do/0/a/input/schema/resource/endpoint",
            "/do/1/b/input/schema/format",
            "/do/2/c/input/schema/document",
            "/do/3/d/input/schema/document"
        ]
    );
}
