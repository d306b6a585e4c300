//! The examples of the specification: each is either supported as a whole or refused for what is
//! not, by name.

use std::fs;
use std::path::Path;

use muster_workflow::Definition;

/// Examples that are refused; all others are supported.
const REFUSED: [&str; 13] = [
    "call-asyncapi-publish",
    "call-asyncapi-subscribe-consume-amount",
    "call-grpc",
    "run-container",
    "run-container-cleanup-always",
    "run-container-cleanup-eventually",
    "run-container-stdin-and-arguments",
    "run-container-with-name",
    "run-container-with-pull-policy",
    "run-return-all",
    "run-return-code",
    "run-return-none",
    "run-return-stderr",
];

#[test]
fn every_example_is_supported_or_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples");
    let mut refused = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        seen += 1;
        match Definition::parse(&fs::read_to_string(&path).unwrap()) {
            Ok(_) => {}
            Err(problems) => {
                for problem in &problems.0 {
                    assert!(problem.message.contains("supported"), "{name}: {problem}");
                    assert!(problem.pointer.starts_with('/'), "{name}: {problem}");
                }
                refused.push(name);
            }
        }
    }
    refused.sort();
    assert_eq!(refused, REFUSED);
    assert_eq!(seen, 66, "all examples of DSL 1.0.3 are here");
}
