use muster_contracts::Code;
use muster_contracts::template::v1::{
    DeleteTemplateRequest, ListTemplateVersionsRequest, ListTemplatesRequest, PutTemplateRequest,
    TemplateVersion,
};
use serde_json::json;

use crate::{DEADLINE, World, greeting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_stay_whatever_becomes_of_the_name() {
    let world = World::start().await;
    let first = world.put(greeting("Hello {{ who }}.")).await.unwrap();
    let again = world.put(greeting("Hello {{ who }}.")).await.unwrap();
    assert_eq!(first, again, "a version is written once");
    let second = world.put(greeting("Good day {{ who }}, {{ tone }}.")).await.unwrap();
    assert_ne!(first.digest, second.digest);

    assert_eq!(world.get("greeting", "").await.unwrap(), second);
    assert_eq!(world.get("greeting", &format!("sha256:{}", first.digest)).await.unwrap(), first);
    let old = world.render("greeting", &first.digest, json!({"who": "Ada"})).await.unwrap();
    assert_eq!((old.text.as_str(), old.version), ("Hello Ada.", first.digest.clone()));
    let new = world.render("greeting", "", json!({"who": "Ada"})).await.unwrap();
    assert_eq!((new.text.as_str(), new.tokens > 3), ("Good day Ada, kind.", true));

    let versions = ListTemplateVersionsRequest { name: "greeting".into() };
    let found = world.bus.request(&versions).await.unwrap().versions;
    let shown = |one: &TemplateVersion| (one.digest.clone(), one.latest);
    let all: Vec<_> = found.iter().map(shown).collect();
    assert_eq!(all, [(second.digest, true), (first.digest.clone(), false)]);

    // A check registers nothing.
    let definition = serde_json::from_value(greeting("Bye {{ who }}.")).unwrap();
    let check = PutTemplateRequest { definition: Some(definition), check_only: true };
    assert_eq!(world.bus.request(&check).await.unwrap().digest.len(), 64);
    assert_eq!(world.bus.request(&versions).await.unwrap().versions.len(), 2);

    let delete = DeleteTemplateRequest { name: "greeting".into() };
    world.bus.request(&delete).await.unwrap();
    let fault = world.get("greeting", "").await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    assert!(fault.message.contains("architecture, completion"), "{fault:?}");
    assert_eq!(world.bus.request(&delete).await.unwrap_err().code, Code::NotFound);
    assert_eq!(world.get("greeting", &first.digest).await.unwrap(), first);
    let left = world.bus.request(&versions).await.unwrap().versions;
    assert!(left.len() == 2 && left.iter().all(|one| !one.latest), "{left:?}");
    let fault = world.get("greeting", "abc").await.unwrap_err();
    assert!(fault.code == Code::NotFound && fault.message.contains(&first.digest), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loses_nothing_and_replicas_agree() {
    let mut world = World::start().await;
    let first = world.put(greeting("Hello {{ who }}.")).await.unwrap();
    world.service.take().unwrap().crash();
    world.serve().await;
    assert_eq!(world.get("greeting", "").await.unwrap(), first);

    let _second = world.replica();
    // Both answer, and both know at once what one of them registered.
    for number in 0..20 {
        let put = world.put(greeting(&format!("Hello {{{{ who }}}}, {number}."))).await.unwrap();
        assert_eq!(world.get("greeting", "").await.unwrap(), put);
        let text = world.render("greeting", "", json!({"who": "Ada"})).await.unwrap().text;
        assert_eq!(text, format!("Hello Ada, {number}."));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_with_what_would_be_right() {
    let world = World::start().await;
    world.put(greeting("Hello {{ who }}.")).await.unwrap();
    for (vars, part) in [
        (json!({}), "the variable \"who\" is missing; `vars` must have: who"),
        (json!({"who": "Ada", "age": 3}), "\"age\", but the template's variables are: tone, who"),
        (json!({"who": 3}), "/who: 3 is not of type"),
        (json!({"who": "Ada", "tone": "loud"}), "/tone"),
        (json!({"who": "a".repeat(200_000)}), "\"who\" has 200000 bytes, 131072 at most"),
    ] {
        let fault = world.render("greeting", "", vars).await.unwrap_err();
        assert!(fault.code == Code::Invalid && fault.message.contains(part), "{part}: {fault:?}");
    }
    for (change, part) in [
        (
            json!({"text": "{{ whom }}"}),
            "`text` uses the variable \"whom\", but the template's variables are: tone, who",
        ),
        (json!({"text": "\n{{ who | upper }}"}), "on line 2"),
        (json!({"text": "{% if who %}"}), "cannot be filled on line 1"),
        (json!({"text": " "}), "`text` is empty"),
        (json!({"text": "x".repeat(70_000)}), "`text` has 70000 bytes"),
        (json!({"name": "Greeting"}), "`name` is \"Greeting\""),
        (json!({"variables": {"type": "array"}}), "must be \"object\""),
        (
            json!({"variables": {"required": ["x"], "properties": {"who": {}}}}),
            "`variables.required` names the variable \"x\"",
        ),
        (json!({"variables": {"properties": {"who": {"type": "nope"}}}}), "no JSON Schema"),
        (
            json!({"variables": {"properties": {"who": {"type": "string", "default": 7}}}}),
            "the variable \"who\" has the default 7, which does not fit its own schema: /who: 7 is not of type",
        ),
        (json!({"variables": {"properties": {"who": {}, "loop": {}}}}), "\"loop\""),
    ] {
        let mut definition = greeting("Hello {{ who }}.");
        for (key, value) in change.as_object().unwrap() {
            definition[key] = value.clone();
        }
        let fault = world.put(definition).await.unwrap_err();
        assert!(fault.code == Code::Invalid && fault.message.contains(part), "{part}: {fault:?}");
    }
    let all = world.bus.request_within(&ListTemplatesRequest {}, DEADLINE).await.unwrap().templates;
    let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    let known =
        ["architecture", "completion", "greeting", "pseudocode", "refinement", "specification"];
    assert_eq!(names, known);
}
