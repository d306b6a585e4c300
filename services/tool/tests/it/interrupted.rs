//! A process that dies in the middle of a call.

use muster_contracts::Code;
use muster_testkit::eventually;
use serde_json::json;

use crate::server::Server;
use crate::{DEADLINE, World};

#[tokio::test]
async fn an_interrupted_call_is_repeated_only_where_its_effect_class_allows_it() {
    let server = Server::start().await;
    let mut world = World::allowing(&server.address).await;
    let post = |path: &str, idempotent: bool| json!({ "url": server.url(path), "method": "POST", "idempotent": idempotent });
    world.command("http_request", "once", post("/hang-once", false)).await;
    world.command("http_request", "repeatable", post("/hang-repeatable", true)).await;
    eventually(DEADLINE, "both calls are at the server", || {
        std::future::ready(server.asked().len() == 2)
    })
    .await;
    world.crash();
    world.serve().await;
    let ends = world.ends(2).await;
    let (code, text) = ends[0].result.clone().unwrap_err();
    assert_eq!((ends[0].key.as_str(), code.as_str()), ("once", "CONFLICT"));
    assert!(text.contains("interrupted") && text.contains("its effect class is once"), "{text}");
    assert_eq!(ends[1].result.as_ref().unwrap()["body"]["count"], 2);
    let asked = |path: &str| {
        server.asked().into_iter().filter(|asked| asked.path == path).collect::<Vec<_>>()
    };
    assert_eq!(asked("/hang-once").len(), 1);
    let keys: Vec<_> = asked("/hang-repeatable")
        .iter()
        .map(|asked| asked.headers["idempotency-key"].clone())
        .collect();
    assert_eq!(keys, ["repeatable", "repeatable"]);
    // Whoever asks again with the key gets the same answer.
    let again = world.call("http_request", "once", post("/hang-once", false)).await.unwrap_err();
    assert_eq!(again.code, Code::Conflict);
}
