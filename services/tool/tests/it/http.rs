//! Where HTTP requests may go and what comes back.

use muster_contracts::Code;
use serde_json::json;

use crate::World;
use crate::server::Server;

#[tokio::test]
async fn a_request_carries_method_headers_body_and_key() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let arguments = json!({
        "url": server.url("/a?b=c"), "method": "PUT", "body": { "x": 1 }, "headers": { "X-Tone": "low" },
    });
    let result = world.call("http_request", "k1", arguments).await.unwrap().result.unwrap().0;
    assert_eq!((&result["status"], &result["body"]["body"]), (&json!(200), &json!("{\"x\":1}")));
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.body.as_str()), ("PUT", "{\"x\":1}"));
    assert_eq!(asked.headers["x-tone"], "low");
    assert_eq!(asked.headers["idempotency-key"], "k1");
    assert_eq!(asked.headers["content-type"], "application/json");
    let text = world.result("http_request", json!({ "url": server.url("/text") })).await;
    assert_eq!(text["body"], "plain");
    let host = json!({ "url": server.url("/"), "headers": { "Host": "evil" } });
    assert_eq!(world.call("http_request", "", host).await.unwrap_err().code, Code::Invalid);
    let large =
        world.call("http_request", "", json!({ "url": server.url("/large") })).await.unwrap_err();
    assert!(large.message.contains("larger than 1048576 bytes"), "{large}");
}

#[tokio::test]
async fn requests_leave_only_for_what_the_operator_names() {
    let (server, other) = (Server::start().await, Server::start().await);
    // A host without port may not lead into the own network, by name or by address.
    let world =
        World::allowing(&format!("{},localhost,127.0.0.1,169.254.169.254", server.address)).await;
    for (url, part) in [
        (other.url("/"), "MUSTER_HTTP_ALLOW=\"127.0.0.1"),
        ("http://example.com/".to_owned(), "requests to example.com:80 are not allowed"),
        ("http://localhost/".to_owned(), "the address is not public"),
        ("http://127.0.0.1/".to_owned(), "the address is not public"),
        ("http://2130706433/".to_owned(), "the address is not public"),
        ("http://169.254.169.254/latest/meta-data".to_owned(), "the address is not public"),
        ("http://[::ffff:127.0.0.1]/".to_owned(), "not allowed"),
    ] {
        let fault = world.call("http_request", "", json!({ "url": url })).await.unwrap_err();
        assert_eq!(fault.code, Code::Denied, "{url}: {fault}");
        assert!(fault.message.contains(part), "{url}: {fault}");
    }
    assert!(other.asked().is_empty());
    let closed = World::start().await;
    let fault =
        closed.call("http_request", "", json!({ "url": server.url("/") })).await.unwrap_err();
    assert!(fault.message.contains("now empty"), "{fault}");
}

#[tokio::test]
async fn a_redirect_is_checked_like_the_request_itself() {
    let (server, other) = (Server::start().await, Server::start().await);
    let world = World::allowing(&format!("{},localhost", server.address)).await;
    let to = |target: &str| json!({ "url": server.url(&format!("/to?{target}")), "headers": { "Authorization": "hush" } });
    let result = world.result("http_request", to("/final")).await;
    assert_eq!(result["body"]["path"], "/final");
    for target in
        [other.url("/"), "http://169.254.169.254/".to_owned(), "http://localhost/".to_owned()]
    {
        let fault = world.call("http_request", "", to(&target)).await.unwrap_err();
        assert_eq!(fault.code, Code::Denied, "{target}: {fault}");
    }
    assert!(other.asked().is_empty());
    let fault = world.call("http_request", "", to("file:///etc/passwd")).await.unwrap_err();
    assert!(fault.message.contains("no http address"), "{fault}");
    let fault =
        world.call("http_request", "", json!({ "url": server.url("/to?/to?") })).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid, "{fault}");
}

#[tokio::test]
async fn what_belonged_to_one_server_is_not_sent_to_another() {
    let (server, other) = (Server::start().await, Server::start().await);
    let world = World::allowing(&format!("{},{}", server.address, other.address)).await;
    let url = server.url(&format!("/to?{}", other.url("/final")));
    let arguments = json!({ "url": url, "headers": { "Authorization": "hush" } });
    world.result("http_request", arguments).await;
    assert_eq!(server.asked()[0].headers["authorization"], "hush");
    assert!(!other.asked()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let gone = Server::start().await.address.clone();
    let world = World::allowing(&gone).await;
    let url = format!("http://{gone}/");
    let arguments = json!({ "url": url, "method": "POST" });
    let fault = world.call("http_request", "k1", arguments).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "{fault}");
}
