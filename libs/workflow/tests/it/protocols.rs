//! `call: mcp` and `call: a2a`: what is asked for.

use muster_workflow::{Definition, Function};
use serde_json::{Value, json};

use crate::driver::{Driver, document};

#[track_caller]
fn asked(driver: &Driver) -> (Function, &Value) {
    let [(_, function, arguments)] = driver.calls.as_slice() else {
        panic!("{:?}: {:?}", driver.calls, driver.execution.error())
    };
    (*function, arguments)
}

#[track_caller]
pub(crate) fn refused(task: &str, field: &str, part: &str) {
    let problems = Definition::parse(&document(&format!("- a: {task}"))).map(|_| ()).unwrap_err();
    let pointer = format!("/do/0/a{field}");
    let found = problems.0.iter().any(|p| p.pointer == pointer && p.message.contains(part));
    assert!(found, "{problems}");
}

#[test]
fn a_method_of_an_mcp_server_is_asked_for() {
    let driver = Driver::start(
        "
        - a:
            call: mcp
            with:
              method: tools/call
              protocolVersion: '2025-11-25'
              parameters: {name: add, arguments: '${ . }'}
              timeout: {seconds: 2, milliseconds: 5}
              client: {name: me, version: '1'}
              transport:
                http:
                  endpoint: {uri: 'https://a/{x}', authentication: {bearer: {token: t}}}
                  headers: {X-Scheme: '${ $authorization.scheme }'}
        ",
        json!({"x": 1}),
    );
    let expected = json!({
        "method": "tools/call", "protocolVersion": "2025-11-25", "timeout": 2005,
        "parameters": {"name": "add", "arguments": {"x": 1}}, "client": {"name": "me", "version": "1"},
        "transport": {"http": {
            "endpoint": {"uri": "https://a/1", "authentication": {"bearer": {"token": "t"}}},
            "headers": {"X-Scheme": "Bearer"},
        }},
    });
    assert_eq!(asked(&driver), (Function::Mcp, &expected));
    let driver = Driver::start(
        "- a: {call: mcp, with: {method: tools/list, transport: {stdio: {command: npx, arguments: ['${ .x }'], environment: {A: '${ .y }'}}}}}",
        json!({"x": "files", "y": "b"}),
    );
    let stdio = json!({"command": "npx", "arguments": ["files"], "environment": {"A": "b"}});
    let expected = json!({"method": "tools/list", "transport": {"stdio": stdio}});
    assert_eq!(asked(&driver), (Function::Mcp, &expected));
}

#[test]
fn a_method_of_an_agent_is_asked_for() {
    let driver = Driver::start(
        "- a: {call: a2a, with: {method: message/send, agentCard: {endpoint: 'https://a/{x}'}, server: 'https://b', parameters: {message: {text: '${ .x }'}}}}",
        json!({"x": 1}),
    );
    let expected = json!({
        "method": "message/send", "parameters": {"message": {"text": 1}},
        "agentCard": {"endpoint": {"uri": "https://a/1"}}, "server": {"uri": "https://b"},
    });
    assert_eq!(asked(&driver), (Function::A2a, &expected));
}

#[test]
fn what_cannot_be_asked_for_is_refused_with_its_place() {
    let http = "transport: {http: {endpoint: 'https://a'}}";
    for (with, field, part) in [
        (format!("method: tools/dance, {http}"), "/method", "must be one of tools/list"),
        (http.to_owned(), "/method", "needs `method`"),
        ("method: tools/list".to_owned(), "/transport", "needs `transport`"),
        (
            format!("method: tools/list, protocolVersion: '2024-11-05', {http}"),
            "/protocolVersion",
            "must be one of 2025-03-26",
        ),
        (format!("method: tools/list, parameters: [x], {http}"), "/parameters", "a map or"),
        (format!("method: tools/list, timeout: soon, {http}"), "/timeout", "ISO 8601"),
        (
            format!("method: tools/list, timeout: '${{ .x }}', {http}"),
            "/timeout",
            "an expression is not supported",
        ),
        (format!("method: tools/list, client: {{name: x}}, {http}"), "/client/version", "missing"),
        ("method: tools/list, transport: {}".to_owned(), "/transport", "one of `http` or `stdio`"),
        (
            "method: tools/list, transport: {http: {endpoint: 'https://a'}, options: {a: b}}"
                .to_owned(),
            "/transport/options",
            "not supported",
        ),
        (
            "method: tools/list, transport: {http: {}}".to_owned(),
            "/transport/http/endpoint",
            "missing",
        ),
        (
            "method: tools/list, transport: {stdio: {arguments: [a]}}".to_owned(),
            "/transport/stdio/command",
            "missing",
        ),
        (
            "method: tools/list, transport: {stdio: {command: a, arguments: b}}".to_owned(),
            "/transport/stdio/arguments",
            "must be a list",
        ),
    ] {
        refused(&format!("{{call: mcp, with: {{{with}}}}}"), &format!("/with{field}"), part);
    }
    for (with, field, part) in [
        ("method: message/send", "", "needs `agentCard` or `server`"),
        ("method: message/shout, server: 'https://a'", "/method", "must be one of message/send"),
        ("method: tasks/get, server: 'ftp://a'", "/server", "https:// or http://"),
        ("method: tasks/get, agentCard: {}", "/agentCard/endpoint", "missing"),
        ("method: tasks/get, server: 'https://a', parameters: {}", "/parameters", "not allow"),
    ] {
        refused(&format!("{{call: a2a, with: {{{with}}}}}"), &format!("/with{field}"), part);
    }
}

#[test]
fn what_expressions_compute_is_checked_before_anything_is_asked() {
    for (call, part) in [
        (
            "{call: mcp, with: {method: tools/list, transport: {http: {endpoint: '${ .n }'}}}}",
            "`transport.http.endpoint.uri` of call: mcp must be an address",
        ),
        (
            "{call: mcp, with: {method: tools/list, transport: {stdio: {command: '${ .n }'}}}}",
            "`transport.stdio.command` of call: mcp must be a name",
        ),
        (
            "{call: a2a, with: {method: tasks/get, server: 'https://a', parameters: '${ .n }'}}",
            "`parameters` of call: a2a must be a map",
        ),
    ] {
        let driver = Driver::start(&format!("- a: {call}"), json!({"n": 1}));
        assert!(driver.error().detail.contains(part), "{}", driver.error());
        assert!(driver.calls.is_empty());
    }
}
