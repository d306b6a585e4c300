//! Workflows of every kind, each of which leaves marks in the outside world.

use serde_json::{Value, json};

use super::agents;
use super::world::World;
use crate::platform::{Nats, Platform, example};

/// Tool calls one after the other, with waits between them.
const EFFECTS: &str = "
document: {dsl: '1.0.3', namespace: chaos, name: effects, version: '1.0.0'}
do:
- mark:
    for: {each: step, in: '${ [\"one\", \"two\", \"three\"] }'}
    do:
    - put:
        call: tool
        with:
          tool: http_request
          arguments:
            method: PUT
            url: '${ $workflow.input.base + \"/\" + $workflow.input.run + \"-\" + $step }'
    - pause: {wait: {milliseconds: 50}}
";

/// An error, a retry after a pause, then a request of the language's own.
const STUBBORN: &str = "
document: {dsl: '1.0.3', namespace: chaos, name: stubborn, version: '1.0.0'}
do:
- attempts:
    try:
    - fail: {raise: {error: {type: 'https://example.com/not-yet', status: 503}}}
    catch:
      retry: {delay: {milliseconds: 40}, limit: {attempt: {count: 2}}}
      do:
      - put:
          call: http
          with: {method: put, endpoint: '${ $workflow.input.base + \"/\" + $workflow.input.run + \"-caught\" }'}
";

/// What the family below has for children.
const CHILD: &str = "
document: {dsl: '1.0.3', namespace: chaos, name: child, version: '1.0.0'}
do:
- pause: {wait: {milliseconds: 30}}
- put:
    call: http
    with: {method: put, endpoint: '${ $workflow.input.base + \"/\" + $workflow.input.run }'}
    output: {as: '${ $workflow.input.run }'}
";

/// Branches side by side, each of them another workflow.
const FAMILY: &str = "
document: {dsl: '1.0.3', namespace: chaos, name: family, version: '1.0.0'}
do:
- both:
    fork:
      branches:
      - elder:
          run: {workflow: {namespace: chaos, name: child, version: '1.0.0', input: {base: '${ .base }', run: '${ .run + \"-elder\" }'}}}
      - younger:
          run: {workflow: {namespace: chaos, name: child, version: '1.0.0', input: {base: '${ .base }', run: '${ .run + \"-younger\" }'}}}
";

/// Waits for the word of another execution, then marks.
const LISTENER: &str = "
document: {dsl: '1.0.3', namespace: chaos, name: listener, version: '1.0.0'}
do:
- said:
    fork:
      branches:
      - hear:
          do:
          - word:
              listen:
                to: {one: {with: {type: chaos.said, data: '${ .run == $workflow.input.run }'}}}
          - put:
              call: http
              with: {method: put, endpoint: '${ $workflow.input.base + \"/\" + $workflow.input.run + \"-heard\" }'}
      - speak:
          do:
          - pause: {wait: {milliseconds: 200}}
          - say: {emit: {event: {with: {source: 'https://example.com/chaos', type: chaos.said, data: {run: '${ $workflow.input.run }'}}}}}
";

/// The kinds, each with the marks that one execution leaves.
const PLAIN: [(&str, &[&str]); 5] = [
    ("effects", &["one", "two", "three"]),
    ("stubborn", &["caught"]),
    ("family", &["elder", "younger"]),
    ("listener", &["heard"]),
    ("research-brief", &[]),
];
/// All kinds, those whose agents ask a provider too.
pub(super) const KINDS: [&str; 8] =
    ["effects", "crew", "stubborn", "buyer", "family", "lead", "listener", "research-brief"];

/// An execution that was begun.
pub(super) struct Begun {
    pub(super) id: String,
    pub(super) kind: &'static str,
    /// What it will leave in the outside world.
    pub(super) marks: Vec<String>,
}

/// Registers all of them.
pub(super) async fn register(platform: &Platform<impl Nats>) {
    for workflow in [EFFECTS, STUBBORN, CHILD, FAMILY, LISTENER] {
        platform.put_workflow(workflow.to_owned()).await;
    }
    let brief = platform.load(&example()).await;
    assert!(KINDS.contains(&brief.as_str()), "{brief} is not among the kinds");
    let document = std::fs::read_to_string(example().join("document.md")).unwrap();
    platform.ingest("handbook", &document).await;
    agents::register(platform).await;
}

/// Starts the execution with this number.
pub(super) async fn begin(platform: &Platform<impl Nats>, world: &World, number: usize) -> Begun {
    let kind = KINDS[number % KINDS.len()];
    let run = format!("{kind}{number}");
    let input = match kind {
        "research-brief" => question(),
        _ => json!({ "base": format!("http://{}", world.address), "run": run }),
    };
    let id = platform.start_execution(kind, &input, &run).await;
    let plain = || PLAIN.iter().find(|(name, _)| *name == kind).unwrap().1.to_vec();
    let marks = agents::marks(kind, number).unwrap_or_else(plain);
    let marks = marks.iter().map(|mark| format!("{run}-{mark}")).collect();
    Begun { id, kind, marks }
}

fn question() -> Value {
    json!({ "collection": "handbook", "question": "What matters most, and why?" })
}
