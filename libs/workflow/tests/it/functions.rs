//! `use.functions`, catalogs, and schemas at an address.

use muster_workflow::{Definition, Effect, ErrorType, External, Function, Need};
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document};

const FUNCTIONS: &str = "
use:
  functions:
    greet:
      input: {schema: {document: {type: object, required: [name]}}}
      call: agent
      with: {agent: poet, prompt: '${ \"Greet \\(.name)\" }'}
      output: {as: .text}
    shout: {do: [{greeting: {call: greet, with: {name: '${ .who }'}}}, {loud: {set: '${ ascii_upcase }'}}]}
";

fn with_functions(tasks: &str) -> String {
    format!("{}{FUNCTIONS}", document(tasks))
}

fn problems(text: &str) -> String {
    Definition::parse(text).unwrap_err().to_string()
}

#[test]
fn a_function_gets_its_arguments_as_its_input() {
    let text = with_functions(
        "- hello: {call: greet, with: {name: '${ .user }'}, output: {as: {said: .}}}",
    );
    let text = text.replace("{said: .}", "'{said: .}'");
    let mut driver = Driver::start_document(&text, json!({"user": "Ada"}));
    let task = "/do/0/hello/use/functions/greet";
    assert_eq!(
        driver.calls,
        [(task.to_owned(), Function::Agent, json!({"agent": "poet", "prompt": "Greet Ada"}))]
    );
    driver.complete(task, json!({"text": "Hello, Ada"}));
    assert_eq!(*driver.output(), json!({"said": "Hello, Ada"}));
}

#[test]
fn functions_call_functions() {
    let mut driver =
        Driver::start_document(&with_functions("- a: {call: shout, with: {who: Bo}}"), json!(1));
    let called = driver.called();
    let [task] = called.as_slice() else { panic!("{called:?}") };
    assert_eq!(*task, "/do/0/a/use/functions/shout/do/0/greeting/use/functions/greet");
    let task = (*task).to_owned();
    driver.complete(&task, json!({"text": "hi bo"}));
    assert_eq!(*driver.output(), json!("HI BO"));
}

#[test]
fn a_function_without_arguments_gets_the_input_of_its_call() {
    let driver =
        Driver::start_document(&with_functions("- a: {call: greet}"), json!({"name": "Cy"}));
    assert_eq!(driver.calls[0].2["prompt"], json!("Greet Cy"));
}

#[test]
fn arguments_that_do_not_fit_the_functions_schema_fault_where_the_function_stands() {
    let driver =
        Driver::start_document(&with_functions("- a: {call: greet, with: {nom: Cy}}"), json!(1));
    assert_eq!(driver.error().r#type, ErrorType::Validation.uri());
    assert_eq!(driver.error().instance, "/use/functions/greet");
}

#[test]
fn a_function_sees_no_variables_of_its_caller() {
    let text = document("- a: {for: {in: '[1]'}, do: [{b: {call: f}}]}");
    let told =
        problems(&format!("{text}use: {{functions: {{f: {{set: {{x: '${{ $item }}'}}}}}}}}"));
    assert!(told.contains("/use/functions/f/set/x") && told.contains("$item"), "{told}");
}

#[test]
fn functions_that_call_themselves_or_hide_others_are_refused() {
    let refused = |functions: &str, expected: &str| {
        let told =
            problems(&format!("{}use: {{functions: {functions}}}", document("- a: {call: f}")));
        assert!(told.contains(expected), "{told}");
    };
    refused("{f: {call: g}, g: {call: f}}", "/use/functions/g/call: the function `f` calls itself");
    refused("{f: {set: {a: 1}}, http: {set: {a: 1}}}", "`http` is a function of the runtime");
    refused("{f: {set: {}}}", "/use/functions/f/set");
    refused("{f: {set: {a: 1}, then: f}}", "/use/functions/f/then: `f` is neither");
    refused("{g: {set: {a: 1}}}", "/do/0/a/call: `call: f` is not supported");
    let chain: Vec<String> = (0..12)
        .map(|n| format!("f{n}: {{call: f{}}}", n + 1))
        .chain(["f12: {set: {a: 1}}".to_owned()])
        .collect();
    refused(&format!("{{f: {{call: f0}}, {}}}", chain.join(", ")), "more than 10 deep");
}

const CATALOG: &str = "
use:
  catalogs:
    global: {endpoint: {uri: 'https://example.com/catalog/', authentication: {basic: {username: a, password: b}}}}
";

#[test]
fn functions_of_catalogs_are_fetched_once_and_pinned() {
    let text =
        format!("{}{CATALOG}", document("- a: {call: 'log:1.0.0@global', with: {message: hi}}"));
    let definition = definition(&text);
    let [external] = definition.externals() else { panic!("{:?}", definition.externals()) };
    assert_eq!(external.pointer, "/do/0/a/call");
    assert_eq!(external.need, Need::Function { name: "log:1.0.0@global".to_owned() });
    assert_eq!(external.uri, "https://example.com/catalog/functions/log/1.0.0/function.yaml");
    assert_eq!(external.authentication, Some(json!({"basic": {"username": "a", "password": "b"}})));

    let content = external.read("set: {logged: '${ .message }'}").unwrap();
    let mut document = definition.document().clone();
    external.pin(&mut document, content).unwrap();
    let pinned = Definition::from_json(document).unwrap();
    assert!(pinned.externals().is_empty());
    assert_ne!(pinned.digest(), definition.digest());
    let driver = Driver::start_document(&pinned.document().to_string(), Value::Null);
    assert_eq!(*driver.output(), json!({"logged": "hi"}));
}

#[test]
fn the_authentication_of_a_catalog_may_have_secrets_and_nothing_else() {
    let text = |token: &str| {
        format!(
            "{}use: {{secrets: [key], catalogs: {{c: {{endpoint: {{uri: 'https://example.com', authentication: {{bearer: {{token: '${{ {token} }}'}}}}}}}}}}}}",
            document("- a: {call: 'log:1.0.0@c'}")
        )
    };
    let definition = definition(&text("$secrets.key"));
    let token = &definition.externals()[0].authentication.as_ref().unwrap()["bearer"]["token"];
    assert!(token.as_str().unwrap().starts_with('\u{fdd0}'), "a mark: {token}");
    let told = problems(&text(".user.token"));
    assert!(told.contains("/use/catalogs/c/endpoint/authentication: it is used when"), "{told}");
}

#[test]
fn a_function_that_was_not_fetched_faults() {
    let text = document("- a: {call: 'https://example.com/f.yaml'}");
    let driver = Driver::start_document(&text, Value::Null);
    assert_eq!(driver.error().r#type, ErrorType::Configuration.uri());
}

#[test]
fn a_page_of_a_repository_is_read_as_its_file() {
    let text = format!("{}{CATALOG}", document("- a: {call: 'log:1.0.0@global'}"));
    let text = text.replace("https://example.com/catalog/", "https://github.com/o/catalog");
    let uri = definition(&text).externals()[0].uri.clone();
    let expected = "https://raw.githubusercontent.com/o/catalog/refs/heads/main/functions/log/1.0.0/function.yaml";
    assert_eq!(uri, expected);
}

#[test]
fn functions_of_the_default_catalog_are_registered_workflows() {
    let driver =
        Driver::start("- a: {call: 'prices:1.0.0@default', with: {n: '${ .n }'}}", json!({"n": 1}));
    let wanted = Effect::StartChild {
        task: "/do/0/a".to_owned(),
        namespace: String::new(),
        name: "prices".to_owned(),
        version: "1.0.0".to_owned(),
        input: json!({"n": 1}),
        wait: true,
    };
    assert!(driver.told.contains(&wanted), "{:?}", driver.told);
}

#[test]
fn catalogs_that_cannot_be_used_are_refused() {
    let refused = |call: &str, catalogs: &str, expected: &str| {
        let told = problems(&format!(
            "{}use: {{catalogs: {catalogs}}}",
            document(&format!("- a: {{call: '{call}'}}"))
        ));
        assert!(told.contains(expected), "{told}");
    };
    let global = "{global: {endpoint: 'https://example.com'}}";
    refused(
        "log:1.0.0@other",
        global,
        "/do/0/a/call: `other` is not in use.catalogs, which has global",
    );
    refused("log@global", global, "write name:version@catalog");
    refused("../../x:1.0.0@global", global, "may have letters, digits");
    refused(
        "log:1.0.0@global",
        "{global: {endpoint: 'ftp://x'}}",
        "must be an http or https address",
    );
    refused(
        "log:1.0.0@global",
        "{global: {endpoint: 'https://{host}/x'}}",
        "fetched when the workflow is registered",
    );
    refused(
        "log:1.0.0@global",
        "{global: {}}",
        "/use/catalogs/global/endpoint: `endpoint` is missing",
    );
}

#[test]
fn schemas_at_an_address_are_pinned_in_their_place() {
    let tasks = "
- a:
    input: {schema: {format: json, resource: {name: order, endpoint: 'https://example.com/order.json'}}}
    set: {ok: true}
";
    let parsed = definition(&document(tasks));
    let [external] = parsed.externals() else { panic!("{:?}", parsed.externals()) };
    assert_eq!(
        *external,
        External {
            pointer: "/do/0/a/input/schema".to_owned(),
            need: Need::Schema,
            uri: "https://example.com/order.json".to_owned(),
            authentication: None,
        }
    );
    let driver = Driver::start(tasks, json!({}));
    assert_eq!(driver.error().r#type, ErrorType::Validation.uri(), "nothing matches before");

    let mut document = parsed.document().clone();
    let schema = external.read("{\"type\": \"object\", \"required\": [\"id\"]}").unwrap();
    external.pin(&mut document, schema).unwrap();
    let text = document.to_string();
    assert_eq!(*Driver::start_document(&text, json!({"id": 1})).output(), json!({"ok": true}));
    let error = Driver::start_document(&text, json!({})).error().clone();
    assert_eq!((error.status, error.instance.as_str()), (400, "/do/0/a"));
    assert!(
        external.read("a: [").unwrap_err().to_string().contains("https://example.com/order.json")
    );
}
