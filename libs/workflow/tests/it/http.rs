//! `call: http` and `call: openapi`: what is asked for, and what secrets look like.

use muster_workflow::{Definition, Function, Input};
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document};

/// A document that declares the secrets `api` and `db-admin`.
fn with_secrets(tasks: &str) -> String {
    document(tasks).replacen("do:", "use: {secrets: [api, db-admin]}\ndo:", 1)
}

#[track_caller]
fn asked(driver: &Driver) -> &Value {
    let [(_, _, arguments)] = driver.calls.as_slice() else {
        panic!("{:?}: {:?}", driver.calls, driver.execution.error())
    };
    arguments
}

#[track_caller]
fn refused(text: &str, pointer: &str, part: &str) {
    let problems = Definition::parse(text).map(|_| ()).unwrap_err();
    let found = problems.0.iter().any(|p| p.pointer == pointer && p.message.contains(part));
    assert!(found, "{problems}");
}

#[test]
fn an_endpoint_is_filled_with_properties_of_the_input() {
    let tasks = "- pet: {call: http, with: {method: get, endpoint: 'https://pets/{kind}/{id}?ok={ok}&x={none}'}}";
    let driver = Driver::start(tasks, json!({"kind": "a b/ä", "id": 7, "ok": true}));
    assert_eq!(driver.calls[0].1, Function::Http);
    let uri = "https://pets/a%20b%2F%C3%A4/7?ok=true&x=";
    assert_eq!(*asked(&driver), json!({"method": "get", "endpoint": {"uri": uri}}));
    let error = Driver::start(tasks, json!({"kind": ["x"]}));
    assert!(error.error().r#type.ends_with("/expression"), "{}", error.error());
    assert!(error.error().detail.contains("{kind}"), "{}", error.error());
}

#[test]
fn an_expression_gives_the_whole_address_and_is_not_filled_again() {
    let driver = Driver::start(
        "
        - pet:
            call: http
            with:
              method: post
              endpoint: {uri: '${ \"https://pets/\\(.id)\" }'}
              headers: '${ .headers }'
              query: {page: '${ .page }'}
              body: {name: '${ .id }'}
              output: response
              redirect: true
        ",
        json!({"id": "{x}", "headers": {"Accept": "text/plain"}, "page": 2}),
    );
    let expected = json!({
        "method": "post", "endpoint": {"uri": "https://pets/{x}"}, "headers": {"Accept": "text/plain"},
        "query": {"page": 2}, "body": {"name": "{x}"}, "output": "response", "redirect": true,
    });
    assert_eq!(*asked(&driver), expected);
}

#[test]
fn what_expressions_compute_is_checked_before_anything_is_asked() {
    for (with, part) in [
        ("{method: '${ .n }', endpoint: 'https://a'}", "`method` of call: http must be a name"),
        ("{method: get, endpoint: '${ .n }'}", "`endpoint.uri` of call: http must be an address"),
        ("{method: get, endpoint: '${ \"file:///etc\" }'}", "must be an address"),
        ("{method: get, endpoint: 'https://a', headers: '${ .n }'}", "`headers` of call: http"),
        ("{method: get, endpoint: 'https://a', query: '${ [.n] }'}", "`query` of call: http"),
    ] {
        let driver = Driver::start(&format!("- a: {{call: http, with: {with}}}"), json!({"n": 1}));
        assert!(driver.error().detail.contains(part), "{}", driver.error());
        assert_eq!((driver.error().status, driver.calls.len()), (400, 0));
    }
}

#[test]
fn a_policy_is_inline_or_reusable_and_its_scheme_is_known() {
    let text = document(
        "
        - a:
            call: http
            with:
              method: get
              endpoint: {uri: 'https://a', authentication: {use: mine}}
              headers: {X-Auth: '${ \"\\($authorization.scheme) \\($authorization.parameter)\" }'}
            output: {as: '${ $authorization.scheme }'}
        ",
    );
    let text = text.replacen(
        "do:",
        "use: {authentications: {mine: {bearer: {token: '${ .token }'}}}}\ndo:",
        1,
    );
    let mut driver = Driver::start_document(&text, json!({"token": "t1"}));
    let arguments = asked(&driver);
    assert_eq!(arguments["endpoint"]["authentication"], json!({"bearer": {"token": "t1"}}));
    assert_eq!(arguments["headers"]["X-Auth"], "Bearer \u{FDD0}\u{FDD1}");
    driver.complete("/do/0/a", json!({}));
    assert_eq!(*driver.output(), json!("Bearer"));
}

#[test]
fn an_operation_is_asked_for_with_its_document() {
    let driver = Driver::start(
        "
        - find:
            call: openapi
            with:
              document: {endpoint: 'https://pets/{version}/swagger.json'}
              operationId: findPetsByStatus
              parameters: {status: '${ .status }'}
              authentication: {basic: {username: a, password: b}}
        ",
        json!({"version": "v2", "status": "sold"}),
    );
    let expected = json!({
        "document": {"endpoint": {"uri": "https://pets/v2/swagger.json"}},
        "operationId": "findPetsByStatus", "parameters": {"status": "sold"},
        "authentication": {"basic": {"username": "a", "password": "b"}},
    });
    assert_eq!((driver.calls[0].1, asked(&driver)), (Function::Openapi, &expected));
}

#[test]
fn what_cannot_be_called_is_refused_with_its_place() {
    let http = |with: &str| document(&format!("- a: {{call: http, with: {with}}}"));
    let at = |field: &str| format!("/do/0/a/with{field}");
    for (with, field, part) in [
        ("{method: fetch, endpoint: 'https://a'}", "/method", "`fetch` is no HTTP method"),
        (
            "{method: get, endpoint: 'https://a', query: {n: 1}}",
            "/query/n",
            "`n` in `query` is the number 1, but the DSL wants a text there",
        ),
        ("{method: get}", "/endpoint", "needs `endpoint`"),
        ("{method: get, endpoint: 'ftp://a'}", "/endpoint", "https:// or http://"),
        ("{method: get, endpoint: 'https://a/{id'}", "/endpoint", "without its partner"),
        ("{method: get, endpoint: 'https://a/{?id}'}", "/endpoint", "is not supported"),
        (
            "{method: get, endpoint: 'https://a', verify: no}",
            "/verify",
            "`verify` is not supported",
        ),
        ("{method: get, endpoint: 'https://a', output: text}", "/output", "raw, content, response"),
        ("{method: get, endpoint: 'https://a', redirect: 'yes'}", "/redirect", "true or false"),
        (
            "{method: get, endpoint: 'https://a', headers: [x]}",
            "/headers",
            "a map or an expression",
        ),
    ] {
        refused(&http(with), &at(field), part);
    }
}

#[test]
fn credentials_that_lack_something_are_refused_with_their_place() {
    let http = |with: &str| document(&format!("- a: {{call: http, with: {with}}}"));
    for (authentication, field, part) in [
        ("{use: x}", "/use", "`x` is not in use.authentications"),
        ("{basic: {username: x}}", "/basic", "needs `password`"),
        ("{basic: {use: x}}", "/basic/use", "`x` is not in use.secrets"),
        ("{kerberos: {}}", "/kerberos", "not supported"),
        (
            "{oauth2: {authority: 'https://b', grant: authorization_code, client: {id: x, secret: y}}}",
            "/oauth2/grant",
            "client_credentials",
        ),
        (
            "{oidc: {authority: 'https://b', grant: password, client: {id: x}}}",
            "/oidc",
            "this grant needs `username`",
        ),
    ] {
        let endpoint = format!("{{uri: 'https://a', authentication: {authentication}}}");
        let place = format!("/do/0/a/with/endpoint/authentication{field}");
        refused(&http(&format!("{{method: get, endpoint: {endpoint}}}")), &place, part);
    }
    let unused = http("{method: get, endpoint: 'https://a'}").replacen(
        "do:",
        "use: {authentications: {a: {bearer: {}}}}\ndo:",
        1,
    );
    refused(&unused, "/use/authentications/a/bearer", "needs `token`");
}

#[test]
fn a_secret_is_a_mark_wherever_it_goes() {
    let text = with_secrets(
        "
        - keep: {set: {token: '${ \"Bearer \" + $secrets.api }', id: '${ $secrets[\"db-admin\"].user.name }'}}
        - ask: {call: http, with: {method: get, endpoint: 'https://a/{id}', headers: {Authorization: '${ .token }'}}}
        ",
    );
    let driver = Driver::start_document(&text, json!({}));
    let arguments = asked(&driver);
    assert_eq!(arguments["headers"]["Authorization"], "Bearer \u{FDD0}api\u{FDD1}");
    let uri = "https://a/\u{FDD0}db-admin\u{FDD2}user\u{FDD2}name\u{FDD1}";
    assert_eq!(arguments["endpoint"]["uri"], uri);
    let references = definition(&text).references().secrets.clone();
    let names: Vec<_> = references.into_iter().collect();
    let pair = |name: &str, index: u8| (name.to_owned(), format!("/use/secrets/{index}"));
    assert_eq!(names, [pair("api", 0), pair("db-admin", 1)]);
}

#[test]
fn a_secret_is_named_and_declared() {
    let using =
        |expression: &str| with_secrets(&format!("- a: {{set: {{x: '${{ {expression} }}'}}}}"));
    refused(&using("$secrets.other"), "/do/0/a/set/x", "there is no secret \"other\"");
    refused(&using("$secrets | keys"), "/do/0/a/set/x", "write $secrets.name");
    refused(&using("$secrets[.name]"), "/do/0/a/set/x", "write $secrets.name");
    let document = document("- a: {set: {x: 1}}");
    let declaring =
        |names: &str| document.replacen("do:", &format!("use: {{secrets: {names}}}\ndo:"), 1);
    refused(&declaring("[../etc]"), "/use/secrets/0", "is no name of a secret");
    refused(&declaring("[a, a]"), "/use/secrets/1", "stands twice");
    refused(&declaring("{a: b}"), "/use/secrets", "must be a list");
}

#[test]
fn nothing_from_outside_becomes_a_secret() {
    let tasks = "- a: {call: http, with: {method: post, endpoint: 'https://a', body: '${ . }'}}";
    let text = with_secrets(tasks);
    let mark = "\u{FDD0}api\u{FDD1}";
    let driver = Driver::start_document(&text, json!({"x": mark, (mark): [mark]}));
    let clean = "\u{FFFD}api\u{FFFD}";
    assert_eq!(asked(&driver)["body"], json!({"x": clean, (clean): [clean]}));
    // Nor by being decoded or put together.
    for expression in [
        ".json | fromjson",
        ".codes | implode",
        ".base | @base64d",
        "\"\\(.half)api\\(.codes | implode)\"",
    ] {
        let tasks = format!("- a: {{set: {{x: '${{ {expression} }}'}}}}");
        let input = json!({
            "json": "\"\\ufdd0api\\ufdd1\"", "codes": [0xfdd0, 97, 112, 105, 0xfdd1],
            "base": "77eQYXBp77eR", "half": "\u{FDD0}",
        });
        let driver = Driver::start_document(&with_secrets(&tasks), input);
        let output = driver.output().to_string();
        assert!(output.contains("api") && !output.contains('\u{FDD0}'), "{expression}: {output}");
    }
    let mut driver = Driver::start_document(&text, json!({}));
    driver.input(&Input::Completed { task: "/do/0/a".into(), output: json!(mark) });
    assert_eq!(*driver.output(), json!(clean));
}

#[test]
fn a_secret_is_not_computed_with_and_goes_outside_only() {
    for (task, part) in [
        ("{set: {x: '${ $secrets.api | .[0:2] }'}}", "not computed with"),
        (
            "{set: {x: '${ $secrets.api | ascii_upcase | ltrimstr(\"x\") | .[1:] }'}}",
            "not computed with",
        ),
        (
            "{call: tool, with: {tool: echo, arguments: {value: '${ $secrets.api }'}}}",
            "call: tool hold a secret",
        ),
        (
            "{call: agent, with: {agent: a, input: '${ $secrets.api }'}}",
            "call: agent hold a secret",
        ),
        (
            "{run: {workflow: {namespace: a, name: b, version: latest, input: '${ [$secrets.api] }'}}}",
            "workflow to run hold a secret",
        ),
        (
            "{emit: {event: {with: {source: 'https://a', type: b, data: '${ $secrets.api }'}}}}",
            "event hold a secret",
        ),
    ] {
        let driver = Driver::start_document(&with_secrets(&format!("- a: {task}")), json!({}));
        assert!(driver.error().detail.contains(part), "{task}: {}", driver.error());
        assert!(driver.calls.is_empty());
    }
}
