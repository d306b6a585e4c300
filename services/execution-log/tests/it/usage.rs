use muster_bus::MessageId;
use muster_contracts::Code;
use muster_contracts::agent::v1::{AgentExecutionCompleted, AgentExecutionFailed, Usage};

use crate::Platform;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_summed_in_all_and_by_agent() {
    let platform = Platform::start().await;
    platform.started("e1", "started").await;
    for (run, agent, input_tokens) in
        [("r1", "writer", 10), ("r2", "critic", 3), ("r3", "writer", 5)]
    {
        let event = AgentExecutionCompleted {
            execution_id: "e1".into(),
            task: "/do/0".into(),
            agent: agent.into(),
            run_id: run.into(),
            usage: Some(Usage {
                input_tokens,
                output_tokens: 1,
                saved_tokens: 100,
                ..Usage::default()
            }),
            ..AgentExecutionCompleted::default()
        };
        platform.bus.publish(&event, &MessageId::derived([run])).await.unwrap();
    }
    let failed = AgentExecutionFailed {
        execution_id: "e1".into(),
        task: "/do/0".into(),
        agent: "critic".into(),
        run_id: "r4".into(),
        error: "too many turns".into(),
        usage: Some(Usage { input_tokens: 4, ..Usage::default() }),
        ..AgentExecutionFailed::default()
    };
    platform.bus.publish(&failed, &MessageId::derived(["r4"])).await.unwrap();
    let timeline = platform.timeline("e1", 5).await;
    assert_eq!(timeline.get(1).unwrap().agent, "writer");

    let usage = platform.usage("e1").await.unwrap();
    let total = usage.total.unwrap();
    assert_eq!((total.input_tokens, total.output_tokens, total.saved_tokens), (22, 3, 300));
    let agents: Vec<_> = usage
        .agents
        .iter()
        .map(|agent| (agent.agent.as_str(), agent.runs, agent.usage.unwrap().input_tokens))
        .collect();
    assert_eq!(agents, [("critic", 2, 7), ("writer", 2, 15)]);
    assert_eq!(usage.events, 5);
    assert!(usage.duration_ms < 3_600_000);

    let fault = platform.usage("nobody").await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    assert!(fault.message.contains("\"nobody\""), "{fault}");
}
