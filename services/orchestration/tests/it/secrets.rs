//! Secrets that a workflow declares.

use muster_contracts::Code;

use crate::{World, workflow};

#[tokio::test]
async fn a_workflow_with_secrets_is_refused_while_nobody_can_say_whether_they_are_there() {
    let world = World::new().await;
    let tasks = "\n- a: {set: {x: '${ $secrets.token }'}}\n";
    let source = workflow("w", tasks).replacen("do:", "use: {secrets: [token]}\ndo:", 1);
    let fault = world.put(&source).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "{fault}");
    assert!(
        fault.message.contains("only the tool service knows, which does not answer"),
        "{fault}"
    );
    // Without secrets nobody is asked.
    world.put(&workflow("w", "\n- a: {set: {x: 1}}\n")).await.unwrap();
}
