//! A folder of definitions becomes what the platform has.

use muster_testkit::NatsServer;

use crate::{
    PATIENCE, WORKFLOW,
    program::{Muster, folder_with, up},
};

const TOOL: &str = "description: Doubles a number.\neffect: pure\n";
const MODEL: &str = "description: What is cheap.\ntargets:\n- {provider: offline}\n";
const AGENT: &str = "instructions: Double what you are given.\nmodel: cheap\ntools: [double]\nlimits: {turns: 4, cost_usd: 0.5}\ntags: [maths]\n";

#[tokio::test]
async fn a_folder_is_planned_applied_and_then_unchanged() {
    let nats = NatsServer::start().await;
    let (running, server) = up(&nats, "gateway,orchestration,agent,tool,model").await;
    let apply = async |files: &[(&str, &str)], more: &[&str]| {
        let folder = folder_with(files);
        let here = folder.path().display().to_string();
        Muster::run(&[&["apply", "-f", &here, "--server", &server], more].concat()).await
    };
    let files = [
        ("agents/doubler.yaml", AGENT),
        ("tools/double.yaml", TOOL),
        ("models/cheap.yaml", MODEL),
        ("workflow.yaml", WORKFLOW),
    ];
    // Everything is checked before anything is sent: the tool is good, the agent is not.
    let wrong = AGENT.replace("turns: 4", "turns: 400");
    let wrong = [("agents/doubler.yaml", wrong.as_str()), ("tools/double.yaml", TOOL)];
    apply(&wrong, &[]).await.failed(1, &["doubler.yaml:4:10: ", "`limits.turns` is 400"]);
    let unknown = AGENT.replace("tags:", "tag:");
    let unknown = [("agents/doubler.yaml", unknown.as_str())];
    apply(&unknown, &[]).await.failed(1, &["doubler.yaml:5:1: ", "unknown field `tag`"]);
    apply(&files, &["--plan"]).await.succeeded(&["4 to create", "nothing was done"]);
    apply(&files, &[]).await.succeeded(&[
        "+ model cheap",
        "+ tool double",
        "+ agent doubler",
        "+ workflow one 1.0.0",
        "4 created, 0 changed, 0 unchanged",
    ]);
    apply(&files, &[]).await.succeeded(&["0 created, 0 changed, 4 unchanged"]);
    let changed = AGENT.replace("turns: 4", "turns: 5");
    let mut files = files;
    files[0].1 = &changed;
    let plan = ["~ agent doubler", "-   turns: 4", "+   turns: 5", "1 to change, 3 unchanged"];
    let told = apply(&files, &["--plan"]).await;
    told.succeeded(&plan);
    for unsaid in ["digest", "tokens", "provider"] {
        assert!(!told.log.contains(unsaid), "{unsaid} is not in the file: {}", told.log);
    }
    apply(&files, &["--plan", "--json"])
        .await
        .succeeded(&["\"change\": \"change\"", "+   turns: 5"]);
    let other = WORKFLOW.replace("hello: world", "hello: moon");
    let other = [("workflow.yaml", other.as_str())];
    apply(&other, &[]).await.failed(1, &["workflow.yaml:", "registered with other contents"]);
    assert_eq!(running.terminate(PATIENCE).await.code(), Some(0), "{}", running.log());
}
