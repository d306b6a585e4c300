//! A document and what it is known by.

use muster_workflow::Definition;
use serde_json::json;

const TEXT: &str = "
document: {dsl: '1.0.3', namespace: tests, name: example, version: '1.2.0'}
do:
  - first: {set: {a: 1, b: [x, null, true, 1.5]}}
";

#[test]
fn a_document_is_known_by_its_names_and_its_digest() {
    let definition = Definition::parse(TEXT).unwrap();
    assert_eq!(definition.namespace(), "tests");
    assert_eq!(definition.name(), "example");
    assert_eq!(definition.version(), "1.2.0");
    assert_eq!(definition.document()["do"][0]["first"]["set"]["b"], json!(["x", null, true, 1.5]));
    assert_eq!(
        definition.digest(),
        "9e61cda27c1f815a5b617a1ab18a9cb0abc4976edb2ed49196f3e3e35340b475"
    );
}

#[test]
fn layout_and_order_of_keys_do_not_change_the_digest() {
    let digest = |text: &str| Definition::parse(text).unwrap().digest().to_owned();
    let json = "{\"do\": [{\"first\": {\"set\": {\"b\": [\"x\", null, true, 1.5], \"a\": 1}}}],
        \"document\": {\"version\": \"1.2.0\", \"name\": \"example\", \"namespace\": \"tests\", \"dsl\": \"1.0.3\"}}";
    assert_eq!(digest(json), digest(TEXT));
    let value = serde_json::from_str(json).unwrap();
    assert_eq!(Definition::from_json(value).unwrap().digest(), digest(TEXT));
    assert_ne!(digest(&TEXT.replace("a: 1", "a: 2")), digest(TEXT));
}

#[test]
fn aliases_are_unfolded() {
    let text = TEXT.replace("{a: 1,", "{a: &one {n: 1}, c: *one,");
    let definition = Definition::parse(&text).unwrap();
    assert_eq!(definition.document()["do"][0]["first"]["set"]["c"], json!({"n": 1}));
}
