//! The fold and its next step, from tables and from random journals.

use muster_contracts::{
    JsonObject,
    agent::v1::{AgentDefinition, Limits},
    llm::v1::TokenUsage,
    tool::v1::ToolDefinition,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn started() -> Started {
    let tool = |name: &str| ToolDefinition { name: name.into(), ..Default::default() };
    Started {
        definition: AgentDefinition {
            name: "critic".into(),
            instructions: "Judge.".into(),
            limits: Some(Limits { turns: 4, tokens: 1_000, seconds: 60, ..Limits::default() }),
            ..Default::default()
        },
        tools: vec![tool("search"), tool("fetch_deliverable")],
        input: json!("Is it good?"),
        pasted_tokens: 1_000,
        notice_tokens: 40,
        ..Default::default()
    }
}

fn with_schema() -> Started {
    let schema = json!({"type": "object", "required": ["content"], "properties": {"content": {"type": "boolean"}}});
    let mut started = started();
    started.definition.output_schema = Some(JsonObject::wrap(schema));
    started
}

fn says(text: &str) -> Fact {
    Fact::ModelReplied(Replied {
        message: ChatMessage {
            role: "assistant".into(),
            content: text.into(),
            ..Default::default()
        },
        usage: TokenUsage { input_tokens: 10, output_tokens: 5, ..TokenUsage::default() },
        finish_reason: "stop".into(),
        ..Default::default()
    })
}

fn ends_with(reason: &str) -> Fact {
    match says("half an ans") {
        Fact::ModelReplied(replied) => {
            Fact::ModelReplied(Replied { finish_reason: reason.into(), ..replied })
        }
        other => other,
    }
}

fn calls(names: &[&str]) -> Fact {
    let tool_calls =
        names.iter().map(|name| ToolCall { name: (*name).into(), ..Default::default() }).collect();
    Fact::ModelReplied(Replied {
        message: ChatMessage { role: "assistant".into(), tool_calls, ..Default::default() },
        usage: TokenUsage { input_tokens: 10, output_tokens: 5, ..TokenUsage::default() },
        ..Default::default()
    })
}

fn returns(turn: u32, index: u32, result: Value) -> Fact {
    let result = Some(result);
    Fact::ToolReturned(Returned {
        turn,
        index,
        name: "search".into(),
        result,
        ..Default::default()
    })
}

fn fold(facts: impl IntoIterator<Item = Fact>) -> Run {
    let mut run = Run::default();
    facts.into_iter().for_each(|fact| run.apply(fact, at(0)));
    run
}

/// What comes next in one line, one second after the start.
fn check(facts: impl IntoIterator<Item = Fact>, expected: &str) {
    let told = match fold(facts).next(at(1)) {
        Next::Start => "start".to_owned(),
        Next::CallModel(turn) => format!("model {turn}"),
        Next::CallTools(calls) => calls.iter().fold("tools".to_owned(), |told, call| {
            let refused = if call.refusal.is_some() { "!" } else { "" };
            format!("{told} {}.{}{refused}", call.turn, call.index)
        }),
        Next::Finish(answer) => format!("finish {}", answer.content.replace(['\n', ' '], "")),
        Next::Fail(code, error) => format!("fail {code} {error}"),
        Next::Done => "done".to_owned(),
        other => format!("{other:?}"),
    };
    assert!(told.starts_with(expected), "{told:?} is not {expected:?}");
}

#[test]
fn each_journal_has_its_next_step() {
    let start = || Fact::RunStarted(started());
    check([], "start");
    check([start()], "model 1");
    check([start(), says("Yes.")], "finish Yes.");
    check([start(), calls(&["search", "search"])], "tools 1.0 1.1");
    check([start(), calls(&["search", "search"]), returns(1, 1, json!(1))], "tools 1.0");
    check([start(), calls(&["search"]), returns(1, 0, json!(1))], "model 2");
    check(
        [start(), calls(&["search"]), returns(1, 0, json!(1)), returns(1, 0, json!(2))],
        "model 2",
    );
    check([start(), calls(&["search"]), returns(7, 0, json!(1))], "tools 1.0");
    check([start(), calls(&["serach"])], "tools 1.0!");
    check([start(), says(" ")], "model 2");
    check([start(), says(" "), says("")], "fail INVALID");
    check([start(), ends_with("length")], "fail EXHAUSTED");
    check([start(), ends_with("content_filter")], "fail DENIED");
    check([start(), Fact::RunCompleted { output: json!({}), usage: Usage::default() }], "done");
}

#[test]
fn an_answer_is_mended_once() {
    let start = || Fact::RunStarted(with_schema());
    check([start(), says(r#"{"content":true}"#)], r#"finish {"content":true}"#);
    check([start(), says("Yes.")], "model 2");
    check([start(), says("Yes."), says(r#"{"content":false}"#)], r#"finish {"content":false}"#);
    check(
        [start(), says("Yes."), says(r#"{"content":1}"#)],
        "fail INVALID the answer cannot be used",
    );
    let refused = || Fact::AnswerRefused { flaw: "it is too large".into() };
    let good = || says(r#"{"content":true}"#);
    check([start(), good(), refused()], "model 2");
    check([start(), good(), refused(), good()], "finish");
    check([start(), good(), refused(), good(), refused()], "fail INVALID");
    check([start(), says("Yes."), good(), refused()], "fail INVALID");
    let run = fold([start(), says("Yes.")]);
    let last = run.messages().last().unwrap();
    assert!(last.role == "user" && last.content.contains("not one JSON value"), "{last:?}");
}

#[test]
fn limits_end_the_run_with_their_value() {
    let turn = |number| [calls(&["search"]), returns(number, 0, json!(1))];
    let facts = [Fact::RunStarted(started())].into_iter().chain((1..=4).flat_map(turn));
    check(facts, "fail EXHAUSTED the run has no answer after 4 turns");
    let mut costly = calls(&["search"]);
    if let Fact::ModelReplied(replied) = &mut costly {
        replied.usage.input_tokens = 995;
    }
    let facts = [Fact::RunStarted(started()), costly, returns(1, 0, json!(1))];
    check(facts, "fail EXHAUSTED the run has spent 1000 tokens of the 1000");
    let late = fold([Fact::RunStarted(started())]).next(at(60));
    assert!(matches!(late, Next::Fail(Code::Deadline, error) if error.contains("60 s")));
    // An answer that is there is not thrown away, however late it is.
    let done = fold([Fact::RunStarted(started()), says("Yes.")]).next(at(600));
    assert!(matches!(done, Next::Finish(_)));
}

#[test]
fn a_model_that_asks_for_an_unknown_tool_is_told_which_there_are() {
    let run = fold([Fact::RunStarted(started()), calls(&["serach"])]);
    let Next::CallTools(calls) = run.next(at(1)) else { panic!("no calls") };
    let refusal = calls[0].refusal.as_deref().unwrap();
    assert_eq!(refusal, "there is no tool `serach` here; the tools are: search, fetch_deliverable");
}

#[test]
fn usage_adds_up_and_savings_are_those_of_the_notices() {
    let mut fetched = returns(1, 0, json!(1));
    if let Fact::ToolReturned(returned) = &mut fetched {
        returned.fetched_tokens = 70;
    }
    let run =
        fold([Fact::RunStarted(started()), calls(&["fetch_deliverable"]), fetched, says("Yes.")]);
    let expected = Usage {
        input_tokens: 20,
        output_tokens: 10,
        saved_tokens: 960,
        pasted_tokens: 1_000,
        fetched_tokens: 70,
        model_calls: 2,
        tool_calls: 1,
        ..Usage::default()
    };
    assert_eq!(run.usage(), expected);
}

#[test]
fn facts_survive_their_json() {
    let error =
        Fact::RunFailed { code: Code::NotFound, error: "x".into(), usage: Usage::default() };
    for fact in [
        Fact::RunStarted(with_schema()),
        calls(&["search"]),
        returns(1, 0, json!({"hits": [9_007_199_254_740_993_u64]})),
        says("Yes."),
        Fact::AnswerRefused { flaw: "it is too large".into() },
        Fact::RunCompleted { output: json!({"tokens": 3}), usage: Usage::default() },
        error,
    ] {
        let text = serde_json::to_string(&fact).unwrap();
        assert_eq!(serde_json::from_str::<Fact>(&text).unwrap(), fact, "{text}");
        assert!(text.contains(r#""type":""#), "{text}");
    }
}

/// A world that answers the same to the same question, as the model and tool services do for a repeated key.
fn world(next: &Next, script: &[u8]) -> Vec<Fact> {
    match next {
        Next::Start => vec![Fact::RunStarted(started())],
        Next::CallModel(turn) => {
            let kind = script.get(*turn as usize - 1).copied().unwrap_or(0);
            let names = vec!["search"; usize::from(kind)];
            vec![if kind == 0 { says("Done.") } else { calls(&names) }]
        }
        Next::CallTools(calls) => {
            calls.iter().map(|call| returns(call.turn, call.index, json!(call.index))).collect()
        }
        Next::Finish(answer) => {
            let output = json!(answer.content);
            vec![Fact::RunCompleted { output, usage: Usage::default() }]
        }
        Next::Fail(code, error) => {
            vec![Fact::RunFailed { code: *code, error: error.clone(), usage: Usage::default() }]
        }
        Next::Done => vec![],
        other => panic!("nothing waits in this world: {other:?}"),
    }
}

proptest! {
    #[test]
    fn a_crash_after_any_append_leads_to_the_same_journal(
        script in prop::collection::vec(0_u8..4, 0..5),
        crashes in prop::collection::vec(any::<bool>(), 0..40),
    ) {
        let drive = |crashes: &[bool]| {
            let (mut journal, mut run) = (Vec::new(), Run::default());
            let mut crash = crashes.iter().copied();
            while run.next(at(1)) != Next::Done {
                for fact in world(&run.next(at(1)), &script) {
                    journal.push(fact.clone());
                    run.apply(fact, at(0));
                    if crash.next().unwrap_or_default() {
                        run = fold(journal.clone());
                        break;
                    }
                }
            }
            (journal, run.messages().to_vec())
        };
        prop_assert_eq!(drive(&crashes), drive(&[]));
    }

    #[test]
    fn the_order_in_which_tools_return_does_not_change_what_the_model_is_told(
        order in Just((0..6_u32).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let told = |order: &[u32]| {
            let begin = [Fact::RunStarted(started()), calls(&["search"; 6])];
            let results = order.iter().map(|index| returns(1, *index, json!(index)));
            fold(begin.into_iter().chain(results)).messages().to_vec()
        };
        prop_assert_eq!(told(&order), told(&[0, 1, 2, 3, 4, 5]));
    }
}
