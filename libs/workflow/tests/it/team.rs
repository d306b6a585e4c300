//! A workflow as people write it: two researchers side by side, then drafts until the critic is
//! content.

use muster_workflow::Status;
use serde_json::json;

use crate::driver::Driver;

const BRIEF: &str = "
document: {dsl: '1.0.3', namespace: examples, name: research-brief, version: '1.0.0'}
input:
  schema:
    document: {type: object, required: [topic], properties: {topic: {type: string, minLength: 1}}}
do:
  - research:
      fork:
        branches:
          - facts:
              call: agent
              with: {agent: researcher, input: '${ \"Facts about \\(.topic)\" }'}
          - passages:
              call: search
              with: {collection: library, query: '${ .topic }', top_k: 5}
      export: {as: '{research: .[0], passages: .[1].hits}'}
  - improve:
      for: {each: round, in: '[range(3)]'}
      while: $context.verdict != \"accept\"
      do:
        - write:
            call: agent
            with:
              agent: writer
              input: '${ {research: $context.research, draft: $context.draft, critique: $context.critique} }'
            export: {as: '$context + {draft: .}'}
        - review:
            call: agent
            with: {agent: critic, input: '${ {draft: ., round: $round} }'}
            export: {as: '$context + {verdict: .verdict, critique: .reason}'}
  - publish:
      set: {brief: '${ $context.draft }', accepted: '${ $context.verdict == \"accept\" }'}
";

#[test]
fn a_team_of_agents_writes_until_the_critic_is_content() {
    let mut driver = Driver::start_document(BRIEF, json!({"topic": "bees"}));
    driver.complete("/do/0/research/fork/branches/1/passages", json!({"hits": ["p1"]}));
    driver.complete("/do/0/research/fork/branches/0/facts", json!("bees buzz"));
    for round in 0..2 {
        let key = |task: &str| format!("/do/1/improve[{round}]/do/{task}");
        let critique = &driver.calls[0].2["input"]["critique"];
        assert_eq!(*critique, [json!(null), json!("too short")][round], "round {round}");
        driver.complete(&key("0/write"), json!(format!("draft {round}")));
        assert_eq!(
            driver.calls[0].2["input"],
            json!({"draft": format!("draft {round}"), "round": round})
        );
        let verdict = ["reject", "accept"][round];
        driver.complete(&key("1/review"), json!({"verdict": verdict, "reason": "too short"}));
    }
    assert_eq!(driver.status(), Status::Completed);
    assert_eq!(*driver.output(), json!({"brief": "draft 1", "accepted": true}));
}

#[test]
fn a_critic_who_is_never_content_is_asked_three_times() {
    let mut driver = Driver::start_document(BRIEF, json!({"topic": "bees"}));
    let mut reviews = 0;
    while let Some((task, ..)) = driver.calls.first().cloned() {
        reviews += usize::from(task.ends_with("/review"));
        driver.complete(&task, json!({"verdict": "reject", "hits": []}));
    }
    assert_eq!(reviews, 3);
    assert_eq!(driver.output()["accepted"], json!(false));
}
