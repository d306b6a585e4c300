//! Tasks that need nothing from outside, and how data and control flow through them.

use muster_workflow::{Status, TaskStatus};
use serde_json::{Value, json};

use crate::driver::{Driver, check};

#[test]
fn set_gives_its_map_with_expressions_evaluated() {
    check(
        "- a: {set: {x: '${ .n + 1 }', y: text, z: [1, '${ .n }']}}",
        json!({"n": 1}),
        json!({"x": 2, "y": "text", "z": [1, 1]}),
    );
    check("- a: {set: '${ .list }'}", json!({"list": [1]}), json!([1]));
}

#[test]
fn each_task_gets_the_output_of_the_one_before() {
    check(
        "
        - a: {set: {n: '${ .n * 2 }'}}
        - b: {set: {n: '${ .n + 1 }'}}
        - inner:
            do:
              - c: {set: {n: '${ .n * 10 }'}}
        ",
        json!({"n": 3}),
        json!({"n": 70}),
    );
}

#[test]
fn input_output_and_export_change_what_flows() {
    check(
        "
        - a:
            input: {from: .order}
            set: {total: '${ .price * $input.count }'}
            output: {as: '.total + ($task.input.order.count)'}
            export: {as: '{first: $output, was: $context}'}
        - b:
            set: {got: '${ . }', context: '${ $context }'}
        ",
        json!({"order": {"price": 5, "count": 2}}),
        json!({"got": 12, "context": {"first": 12, "was": null}}),
    );
}

#[test]
fn the_workflow_itself_has_input_and_output() {
    let text = "
document: {dsl: 1.0.3, namespace: tests, name: example, version: 1.0.0}
input: {from: '{n: .deep.n}', schema: {document: {type: object, required: [deep]}}}
output: {as: '{result: ., by: $workflow.definition.document.name}'}
do: [a: {set: {n: '${ .n + $workflow.input.deep.n }'}}]
";
    let driver = Driver::start_document(text, json!({"deep": {"n": 4}}));
    assert_eq!(*driver.output(), json!({"result": {"n": 8}, "by": "example"}));

    let driver = Driver::start_document(text, json!({"shallow": 1}));
    assert_eq!(driver.error().status, 400);
    assert!(driver.error().r#type.ends_with("/validation"));
    assert!(
        driver.error().detail.contains("\"deep\" is a required property"),
        "{}",
        driver.error()
    );
}

#[test]
fn a_task_whose_condition_is_false_is_skipped_with_its_directive() {
    let driver = Driver::start(
        "
        - a: {if: '.n > 5', set: {n: 0}, then: end}
        - b: {set: {n: '${ .n + 1 }'}}
        ",
        json!({"n": 1}),
    );
    assert_eq!(*driver.output(), json!({"n": 2}));
    let statuses: Vec<_> = driver.execution.tasks().map(|task| (task.name, task.status)).collect();
    assert_eq!(statuses, [("a", TaskStatus::Skipped), ("b", TaskStatus::Completed)]);
}

#[test]
fn switch_takes_the_first_case_that_holds_and_the_default_otherwise() {
    let tasks = "
        - choose:
            switch:
              - otherwise: {then: other}
              - big: {when: .n > 10, then: big}
              - huge: {when: '${ .n > 100 }', then: end}
        - big: {set: {is: big}, then: end}
        - other: {set: {is: other}}
        ";
    check(tasks, json!({"n": 500}), json!({"is": "big"}));
    check(tasks, json!({"n": 1}), json!({"is": "other"}));
    check(
        "
        - choose: {switch: [never: {when: 'false', then: end}]}
        - after: {set: {went: 'on'}}
        ",
        json!({}),
        json!({"went": "on"}),
    );
}

#[test]
fn directives_lead_to_tasks_of_the_list_out_of_it_or_to_the_end() {
    check(
        "
        - a: {set: {n: '${ .n + 1 }'}}
        - again: {switch: [more: {when: .n < 5, then: a}]}
        - b: {set: {n: '${ .n }', done: true}}
        ",
        json!({"n": 0}),
        json!({"n": 5, "done": true}),
    );
    check(
        "
        - group:
            do:
              - a: {set: {x: 1}, then: exit}
              - b: {set: {x: 2}}
        - after: {set: {x: '${ .x + 10 }'}}
        ",
        json!({}),
        json!({"x": 11}),
    );
    check(
        "
        - group:
            do:
              - a: {set: {x: 1}, then: end}
              - b: {set: {x: 2}}
            output: {as: '{never: true}'}
        - after: {set: {x: '${ .x + 10 }'}}
        ",
        json!({}),
        json!({"x": 1}),
    );
}

#[test]
fn a_task_that_runs_again_has_a_key_of_its_own() {
    let driver = Driver::start(
        "
        - a: {set: {n: '${ .n + 1 }'}}
        - again: {switch: [more: {when: .n < 3, then: a}]}
        ",
        json!({"n": 0}),
    );
    let keys: Vec<_> = driver.execution.tasks().map(|task| (task.task, task.attempt)).collect();
    assert_eq!(
        keys,
        [
            ("/do/0/a", 1),
            ("/do/1/again", 1),
            ("/do/0/a@2", 2),
            ("/do/1/again@2", 2),
            ("/do/0/a@3", 3),
            ("/do/1/again@3", 3)
        ]
    );
}

#[test]
fn for_goes_over_a_list_and_hands_data_on() {
    check(
        "
        - loop:
            for: {each: pet, in: .pets, at: i}
            do:
              - add: {set: {pets: '${ .pets }', names: '${ .names + [\"\\($i) \\($pet)\"] }'}}
            output: {as: .names}
        ",
        json!({"pets": ["cat", "dog"]}),
        json!(["0 cat", "1 dog"]),
    );
    check("- l: {for: {in: '[]'}, do: [a: {set: {x: 1}}]}", json!({"n": 1}), json!({"n": 1}));
    check("- l: {for: {in: '[1, 2]'}, do: []}", json!(5), json!(5));
}

#[test]
fn while_and_exit_end_a_loop_early() {
    check(
        "
        - loop:
            for: {in: '[range(10)]'}
            while: .sum < 3
            do:
              - add: {set: {sum: '${ .sum + $item }', last: '${ $index }'}}
        ",
        json!({"sum": 0}),
        json!({"sum": 3, "last": 2}),
    );
    check(
        "
        - loop:
            for: {in: '[range(10)]'}
            do:
              - add: {set: {n: '${ $item }'}}
              - enough: {switch: [enough: {when: .n == 4, then: exit}]}
        ",
        json!({}),
        json!({"n": 4}),
    );
}

#[test]
fn loops_nest_and_their_keys_name_the_iterations() {
    let driver = Driver::start(
        "
        - outer:
            for: {each: x, in: '[1, 2]'}
            do:
              - inner:
                  for: {each: y, in: '[10, 20]'}
                  do:
                    - add: {set: {all: '${ .all + [$x + $y] }'}}
        ",
        json!({"all": []}),
    );
    assert_eq!(*driver.output(), json!({"all": [11, 21, 12, 22]}));
    let last = driver.execution.tasks().last().unwrap().task.to_owned();
    assert_eq!(last, "/do/0/outer[1]/do/0/inner[1]/do/0/add");
}

#[test]
fn fork_gives_the_outputs_in_the_order_of_its_branches() {
    check(
        "
        - both:
            fork:
              branches:
                - one: {set: {x: '${ .n + 1 }'}}
                - two: {do: [a: {set: {x: 5}}, b: {set: {x: '${ .x * 2 }'}}]}
                - none: {if: 'false', set: {x: 0}}
        ",
        json!({"n": 1}),
        json!([{"x": 2}, {"x": 10}, {"n": 1}]),
    );
    check("- none: {fork: {branches: []}}", json!(1), json!(1));
}

#[test]
fn end_inside_a_fork_ends_everything() {
    let driver = Driver::start(
        "
        - both:
            fork:
              branches:
                - slow: {call: tool, with: {tool: t}}
                - quick: {do: [a: {set: {x: 5}, then: end}]}
        - after: {set: {x: 6}}
        ",
        json!({}),
    );
    assert_eq!(*driver.output(), json!({"x": 5}));
    assert!(driver.calls.is_empty());
    assert_eq!(driver.status(), Status::Completed);
}

#[test]
fn expressions_know_the_workflow_the_task_and_the_runtime() {
    let driver = Driver::start(
        "- a: {set: {id: '${ $workflow.id }', at: '${ $workflow.startedAt.iso8601 }',
             task: '${ $task.name + \" \" + $task.reference }', by: '${ $runtime.name }'}}",
        Value::Null,
    );
    assert_eq!(
        *driver.output(),
        json!({"id": "execution-1", "at": "2026-01-01T12:00:00.000Z", "task": "a /do/0/a",
            "by": "muster"})
    );
}

#[test]
fn schemas_of_tasks_are_enforced() {
    let with = |part: &str| {
        format!("- a: {{{part}: {{schema: {{document: {{type: string}}}}}}, set: {{x: 1}}}}")
    };
    for part in ["input", "output", "export"] {
        let driver = Driver::start(&with(part), json!({}));
        assert!(driver.error().r#type.ends_with("/validation"), "{part}");
        assert_eq!(driver.error().instance, "/do/0/a");
    }
}
