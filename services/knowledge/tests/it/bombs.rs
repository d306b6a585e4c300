use muster_contracts::Code;
use serde_json::{Value, json};

use crate::World;

fn template(text: &str) -> Value {
    let variables = json!({"properties": {"list": {"type": "array"}, "word": {}}});
    json!({"name": "bomb", "text": text, "variables": variables})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_that_would_take_for_ever_or_fill_the_memory_are_refused() {
    let world = World::start().await;
    // What doubles a text before it is written cannot be registered.
    for text in [
        "{% set a = 'xxxxxxxx' %}{% for i in list %}{% set a = a ~ a %}{% endfor %}{{ a }}",
        "{{ word * 1000000000 }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ word|tojson|tojson|tojson|tojson }}",
        "{% include 'bomb' %}",
        &"{% if word %}".repeat(5_000),
        &"{{".repeat(30_000),
    ] {
        let fault = world.put(template(text)).await.unwrap_err();
        assert_eq!(fault.code, Code::Invalid, "{text:.60}: {fault:?}");
        assert!(fault.message.len() < 1_000 && fault.message.contains("`text`"), "{fault:?}");
    }
    // What only becomes large with its values is told when it is filled.
    let nested = "{% for a in list %}{% for b in list %}{% for c in list %}{% endfor %}{% endfor %}{% endfor %}";
    let long: Vec<u32> = (0..20_000).collect();
    for (text, vars, part) in [
        (nested, json!({"list": long}), "more than 200000 steps"),
        (
            "{% for a in list %}{{ word }}{% endfor %}",
            json!({"list": long, "word": "w".repeat(100_000)}),
            "more than 262144 bytes",
        ),
        (
            &"{{ word }}".repeat(6_000),
            json!({"word": {"a": "w".repeat(100_000)}}),
            "more than 262144 bytes",
        ),
        (
            "{{ word }}",
            json!({"word": "w".repeat(8_000_000)}),
            "\"word\" has 8000000 bytes, 131072 at most",
        ),
        ("{{ word.a.b }}", json!({"word": {}}), "on line 1"),
    ] {
        world.put(template(text)).await.unwrap();
        let fault = world.render("bomb", "", vars).await.unwrap_err();
        assert!(fault.code == Code::Invalid && fault.message.contains(part), "{part}: {fault:?}");
    }
    // The values are no templates themselves.
    world
        .put(template("{{ word }}{% for item in list %}, {{ loop.index }}: {{ item }}{% endfor %}"))
        .await
        .unwrap();
    let vars = json!({"word": "{{ list }}", "list": [1.5, null, true, {"a": [18_446_744_073_709_551_615_u64]}, "é"]});
    let text = world.render("bomb", "", vars).await.unwrap().text;
    assert_eq!(text, "{{ list }}, 1: 1.5, 2: , 3: true, 4: {\"a\":[18446744073709551615]}, 5: é");
    assert_eq!(world.render("bomb", "", json!({})).await.unwrap().text, "");
}
