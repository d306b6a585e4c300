//! `call: http`: what is sent, what comes back, and who is let in.

use futures::StreamExt;
use muster_bus::{After, MessageId};
use muster_contracts::tool::v1::{
    ToolExecutionCompleted, ToolExecutionFailed, ToolExecutionRequested,
};
use muster_contracts::{Addressed, Code, JsonObject, Message, Stream, subject};
use muster_testkit::{WebServer, eventually};
use serde_json::{Value, json};

use crate::{DEADLINE, World};

/// What a task raises: the name of a standard type, the status, the detail.
pub(crate) type Raised = (String, u64, String);

impl World {
    /// A call of the workflow language, whose workflow declares the secrets `api`, `db`, `login` and `absent`.
    pub(crate) async fn outward(&self, function: &str, arguments: Value) -> Result<Value, Raised> {
        let key = MessageId::random().as_str().to_owned();
        self.outward_as(&key, function, arguments).await
    }

    pub(crate) async fn outward_as(
        &self,
        key: &str,
        function: &str,
        arguments: Value,
    ) -> Result<Value, Raised> {
        let command = ToolExecutionRequested {
            execution_id: "e1".into(),
            task: format!("/do/{key}"),
            tool: format!("call:{function}"),
            arguments: Some(JsonObject::wrap(arguments)),
            idempotency_key: key.into(),
            secrets: ["api", "db", "login", "absent"].map(str::to_owned).into(),
        };
        self.bus.publish(&command, &MessageId::random()).await.unwrap();
        let patterns = vec![
            subject::pattern(ToolExecutionCompleted::SUBJECT),
            subject::pattern(ToolExecutionFailed::SUBJECT),
        ];
        let mut events = Box::pin(self.bus.follow(Stream::Executions, patterns, After(0)));
        loop {
            let event = tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap();
            if event.message_type == ToolExecutionCompleted::NAME {
                let end = event.decode::<ToolExecutionCompleted>().unwrap();
                if end.idempotency_key == key {
                    return Ok(end.result.unwrap_or_default().0);
                }
            } else {
                let end = event.decode::<ToolExecutionFailed>().unwrap();
                if end.idempotency_key == key {
                    let problem = end.problem.map(JsonObject::into_value).unwrap_or_default();
                    let kind = problem["type"].as_str().unwrap_or(&end.code).to_owned();
                    return Err((kind, problem["status"].as_u64().unwrap_or_default(), end.error));
                }
            }
        }
    }
}

pub(crate) fn get(uri: String) -> Value {
    json!({ "method": "get", "endpoint": { "uri": uri } })
}

fn with(uri: String, field: &str, value: Value) -> Value {
    let mut arguments = get(uri);
    arguments[field] = value;
    arguments
}

fn authorized(uri: String, policy: Value) -> Value {
    json!({ "method": "get", "endpoint": { "uri": uri, "authentication": policy } })
}

async fn world() -> (WebServer, World) {
    let server = WebServer::start().await;
    let world = World::allowing(server.address()).await;
    (server, world)
}

#[tokio::test]
async fn a_request_is_what_the_task_says() {
    let (server, world) = world().await;
    let arguments = json!({
        "method": "Post", "endpoint": { "uri": server.url("/anything/a%20b?x=1") },
        "headers": { "X-Tone": "low", "X-Count": 7 },
        "query": { "tags": ["a", "b c"], "n": 2, "none": null },
        "body": { "pet": { "id": 1 } },
    });
    let key = "e1/do/0";
    let answer = world.outward_as(key, "http", arguments).await.unwrap();
    assert_eq!((&answer["method"], &answer["json"]["pet"]["id"]), (&json!("POST"), &json!(1)));
    let asked = &server.asked()[0];
    assert_eq!(asked.path, "/anything/a%20b");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut query = asked.query.clone();
    query.sort();
    assert_eq!(query, [pair("n", "2"), pair("tags", "a"), pair("tags", "b c"), pair("x", "1")]);
    assert_eq!((asked.headers["x-tone"].as_str(), asked.headers["x-count"].as_str()), ("low", "7"));
    assert_eq!(asked.headers["content-type"], "application/json");
    assert_eq!(asked.headers["idempotency-key"], key);
    // A form, a text, and nothing.
    let form = json!({ "method": "put", "endpoint": { "uri": server.url("/put") }, "headers": { "Content-Type": "application/x-www-form-urlencoded" }, "body": { "a": "b&c", "d": [1, 2] } });
    world.outward("http", form).await.unwrap();
    world.outward("http", with(server.url("/anything"), "body", json!("plain"))).await.unwrap();
    world.outward("http", get(server.url("/get"))).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[1].body, "a=b%26c&d=1&d=2");
    assert_eq!(
        (asked[2].body.as_str(), asked[2].headers["content-type"].as_str()),
        ("plain", "text/plain; charset=utf-8")
    );
    assert!(asked[3].body.is_empty() && !asked[3].headers.contains_key("idempotency-key"));
}

#[tokio::test]
async fn an_answer_comes_as_content_response_or_raw() {
    let (server, world) = world().await;
    let of = async |path: &str| world.outward("http", get(server.url(path))).await.unwrap();
    assert_eq!(of("/json").await["slideshow"]["title"], "Sample Slide Show");
    assert_eq!(of("/html").await, "<h1>Herman Melville</h1>");
    assert_eq!(of("/text").await, "plain");
    assert_eq!(of("/bytes/3").await, "////");
    assert_eq!(of("/status/204").await, Value::Null);
    let raw = world.outward("http", with(server.url("/text"), "output", json!("raw"))).await;
    assert_eq!(raw.unwrap(), "cGxhaW4=");
    let mut arguments = with(server.url("/v2/pet/1"), "output", json!("response"));
    arguments["headers"] = json!({ "Authorization": "Bearer t", "X-Tone": "low" });
    let response = world.outward("http", arguments).await.unwrap();
    assert_eq!(
        (&response["statusCode"], &response["content"]["name"]),
        (&json!(200), &json!("Rex"))
    );
    assert_eq!(response["headers"]["content-type"], "application/json");
    let request = &response["request"];
    assert_eq!(
        (&request["method"], &request["uri"]),
        (&json!("get"), &json!(server.url("/v2/pet/1")))
    );
    assert_eq!(
        (&request["headers"]["authorization"], &request["headers"]["x-tone"]),
        (&json!("***"), &json!("low"))
    );
    let damaged = world.outward("http", get(server.url("/damaged-json"))).await.unwrap_err();
    assert_eq!((damaged.0.as_str(), damaged.1), ("communication", 502), "{damaged:?}");
}

#[tokio::test]
async fn a_status_that_is_no_success_is_a_communication_error_of_that_status() {
    let (server, world) = world().await;
    for (path, status) in [
        ("/v2/pet/getPetByName/Milou", 404),
        ("/status/503", 503),
        ("/status/401", 401),
        ("/status/304", 304),
        ("/redirect/1", 302),
    ] {
        let raised = world.outward("http", get(server.url(path))).await.unwrap_err();
        assert_eq!((raised.0.as_str(), raised.1), ("communication", status), "{raised:?}");
        assert!(raised.2.contains(&format!("answered {status}")), "{raised:?}");
    }
    // Each was asked once: what to do about it is the workflow's to say.
    assert_eq!(server.asked_at("/status/503").len(), 1);
    let gone = WebServer::start().await.url("/");
    let world = World::allowing(gone.trim_start_matches("http://").trim_end_matches('/')).await;
    let raised = world.outward("http", get(gone)).await.unwrap_err();
    assert_eq!((raised.0.as_str(), raised.1), ("communication", 503), "{raised:?}");
}

#[tokio::test]
async fn redirects_are_followed_where_the_task_says_and_checked_at_each_hop() {
    let (server, world) = world().await;
    let other = WebServer::start().await;
    let follow = |path: &str| with(server.url(path), "redirect", json!(true));
    let answer = world.outward("http", follow("/redirect/3")).await.unwrap();
    assert_eq!(answer["url"], server.url("/get"));
    assert_eq!(world.outward("http", follow("/status/304")).await.unwrap(), Value::Null);
    let raised = world.outward("http", follow("/redirect/9")).await.unwrap_err();
    assert!(raised.2.contains("more than 5 times"), "{raised:?}");
    for target in [other.url("/get"), "http://169.254.169.254/latest".to_owned()] {
        let to = format!("/redirect-to?url={target}");
        let raised = world.outward("http", follow(&to)).await.unwrap_err();
        assert_eq!(raised.0, "DENIED", "{raised:?}");
    }
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn requests_leave_only_for_what_the_operator_names_and_only_for_workflows() {
    let (server, world) = world().await;
    for uri in ["http://localhost:1/", "http://10.0.0.1/", "http://example.com/"] {
        let raised = world.outward("http", get(uri.to_owned())).await.unwrap_err();
        assert_eq!(raised.0, "DENIED", "{raised:?}");
        assert!(raised.2.contains("MUSTER_HTTP_ALLOW"), "{raised:?}");
    }
    let fault = world.call("call:http", "", get(server.url("/get"))).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound, "{fault}");
    let large = world.outward("http", get(server.url("/bytes/1048577"))).await.unwrap_err();
    assert!(large.2.contains("larger than 1048576 bytes"), "{large:?}");
    let host = with(server.url("/get"), "headers", json!({ "Host": "evil" }));
    assert_eq!(world.outward("http", host).await.unwrap_err().0, "INVALID");
}

#[tokio::test]
async fn a_command_that_comes_twice_is_one_request() {
    let (server, world) = world().await;
    let arguments = json!({ "method": "post", "endpoint": { "uri": server.url("/post") } });
    for _ in 0..3 {
        world.outward_as("k1", "http", arguments.clone()).await.unwrap();
    }
    world.outward("http", get(server.url("/get"))).await.unwrap();
    assert_eq!(server.asked_at("/post").len(), 1);
}

#[tokio::test]
async fn every_scheme_of_authentication_lets_in() {
    let (server, world) = world().await;
    let user = json!({ "username": "ada", "password": "love:lace \"x\"" });
    let path = "/ada/love%3Alace%20%22x%22";
    for (place, policy) in [
        (format!("/basic-auth{path}"), json!({ "basic": user })),
        (format!("/digest-auth/auth{path}"), json!({ "digest": user })),
        (format!("/digest-auth/auth{path}/SHA-256"), json!({ "digest": user })),
        (format!("/digest-auth/auth{path}/MD5-sess"), json!({ "digest": user })),
        (format!("/digest-auth/none{path}?a=b"), json!({ "digest": user })),
        ("/bearer".to_owned(), json!({ "bearer": { "token": "t-1" } })),
    ] {
        let answer = world.outward("http", authorized(server.url(&place), policy.clone())).await;
        assert_eq!(answer.unwrap()["authenticated"], true, "{place}");
    }
    let wrong = json!({ "username": "ada", "password": "x" });
    for (place, policy) in [
        (format!("/basic-auth{path}"), json!({ "basic": wrong })),
        (format!("/digest-auth/auth{path}"), json!({ "digest": wrong })),
    ] {
        let raised =
            world.outward("http", authorized(server.url(&place), policy)).await.unwrap_err();
        assert_eq!((raised.0.as_str(), raised.1), ("communication", 401), "{raised:?}");
    }
    let unknown = authorized(server.url("/digest-auth/auth-int/a/b"), json!({ "digest": wrong }));
    let raised = world.outward("http", unknown).await.unwrap_err();
    assert_eq!((raised.0.as_str(), raised.1), ("authentication", 401), "{raised:?}");
    assert!(raised.2.contains("MD5 and SHA-256"), "{raised:?}");
}

#[tokio::test]
async fn what_a_request_is_authorized_with_can_be_said_in_it() {
    let (server, world) = world().await;
    let mut arguments = authorized(server.url("/post"), json!({ "bearer": { "token": "t-1" } }));
    arguments["method"] = json!("post");
    arguments["headers"] = json!({ "X-Auth": "Bearer \u{FDD0}\u{FDD1}" });
    arguments["body"] = json!({ "token": "\u{FDD0}\u{FDD1}" });
    let answer = world.outward("http", arguments).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(
        (asked.headers["x-auth"].as_str(), asked.body.as_str()),
        ("Bearer t-1", "{\"token\":\"t-1\"}")
    );
    // A server that says it again does not bring it into the journal.
    assert_eq!(answer["json"]["token"], "***");
}

#[tokio::test]
async fn a_cancelled_call_ends_at_once() {
    let (server, world) = world().await;
    let slow = json!({ "method": "post", "endpoint": { "uri": server.url("/delay/600") } });
    world.command("call:http", "k1", slow).await;
    eventually(DEADLINE, "it is asked", || async {
        if server.asked_at("/delay/600").is_empty() { Err("nobody asked") } else { Ok(()) }
    })
    .await;
    world.cancel("/do/k1").await;
    assert_eq!(world.cancelled().await.task, "/do/k1");
}

#[tokio::test]
async fn a_key_with_any_characters_is_sent() {
    let (server, world) = world().await;
    let arguments = json!({ "method": "put", "endpoint": { "uri": server.url("/put") } });
    world.outward_as("größe 1", "http", arguments).await.unwrap();
    assert_eq!(server.asked()[0].headers["idempotency-key"], "gr%C3%B6%C3%9Fe%201");
}

fn oauth(server: &WebServer, kind: &str, more: Value) -> Value {
    let mut properties = json!({
        "authority": server.url(""), "grant": "client_credentials",
        "client": { "id": "runtime", "secret": "hush" },
    });
    for (name, value) in more.as_object().unwrap() {
        properties[name] = value.clone();
    }
    authorized(server.url("/oauth2/whoami"), json!({ (kind): properties }))
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_it_is_refused() {
    let (server, world) = world().await;
    for _ in 0..3 {
        let answer = world.outward("http", oauth(&server, "oauth2", json!({}))).await.unwrap();
        assert_eq!(answer["authenticated"], true);
    }
    assert_eq!(server.asked_at("/oauth2/token").len(), 1);
    world.outward("http", get(server.url("/oauth2/forget"))).await.unwrap();
    let answer = world.outward("http", oauth(&server, "oauth2", json!({}))).await.unwrap();
    assert_eq!(answer["authenticated"], true);
    assert_eq!(server.asked_at("/oauth2/token").len(), 2);
    // One that is about to end is not kept.
    let short = json!({ "scopes": ["api", "expires_in:1"] });
    for _ in 0..2 {
        world.outward("http", oauth(&server, "oauth2", short.clone())).await.unwrap();
    }
    assert_eq!(server.asked_at("/oauth2/token").len(), 4);
    assert!(server.asked_at("/oauth2/token")[3].body.contains("scope=api+expires_in%3A1"));
}

#[tokio::test]
async fn every_grant_and_every_proof_of_the_client_gets_a_token() {
    let (server, world) = world().await;
    let client = |method: &str| json!({ "client": { "id": "runtime", "secret": "hush", "assertion": "a.b.c", "authentication": method } });
    for more in [
        client("client_secret_basic"),
        client("client_secret_jwt"),
        client("private_key_jwt"),
        json!({ "client": { "id": "runtime", "secret": "hush", "authentication": "client_secret_jwt" } }),
        json!({ "client": { "id": "public", "authentication": "none" } }),
        json!({ "endpoints": { "token": "/auth/token" }, "request": { "encoding": "application/json" }, "audiences": ["x"] }),
        json!({ "grant": "password", "username": "ada", "password": "lovelace" }),
        json!({ "grant": "urn:ietf:params:oauth:grant-type:token-exchange", "subject": { "token": "x", "type": "urn:y" } }),
        json!({ "issuers": ["https://other", server.url("")] }),
    ] {
        let answer = world.outward("http", oauth(&server, "oauth2", more.clone())).await;
        assert_eq!(answer.unwrap_or_else(|e| json!(e))["authenticated"], true, "{more}");
    }
    let realm = json!({ "authority": server.url("/realms/x") });
    world.outward("http", oauth(&server, "oidc", realm)).await.unwrap();
    assert_eq!(server.asked_at("/realms/x/token").len(), 1);
    for (more, part) in [
        (json!({ "client": { "id": "runtime", "secret": "wrong-secret" } }), "401 invalid_client"),
        (json!({ "grant": "password", "username": "ada", "password": "x" }), "400 invalid_grant"),
        (json!({ "issuers": ["https://other"] }), "must be of https://other"),
        (json!({ "endpoints": { "token": "/nope" } }), "gave no token"),
    ] {
        let raised = world.outward("http", oauth(&server, "oauth2", more)).await.unwrap_err();
        assert_eq!((raised.0.as_str(), raised.1), ("authentication", 401), "{raised:?}");
        assert!(raised.2.contains(part) && !raised.2.contains("wrong-secret"), "{raised:?}");
    }
    let nowhere = json!({ "authority": "http://10.0.0.1" });
    let raised = world.outward("http", oauth(&server, "oidc", nowhere)).await.unwrap_err();
    assert_eq!(raised.0, "DENIED", "{raised:?}");
}
