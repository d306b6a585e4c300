//! The examples of the specification: each is either supported as a whole or refused for what is
//! not, by name.

use std::fs;
use std::path::Path;

use muster_workflow::Definition;

/// Examples that are supported.
const SUPPORTED: [&str; 5] = [
    "raise-inline",
    "raise-reusable",
    "switch-then-string",
    "wait-duration-inline",
    "wait-duration-iso8601",
];

#[test]
fn every_example_is_supported_or_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples");
    let mut supported = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        seen += 1;
        match Definition::parse(&fs::read_to_string(&path).unwrap()) {
            Ok(_) => supported.push(name),
            Err(problems) => {
                for problem in &problems.0 {
                    assert!(problem.message.contains("supported"), "{name}: {problem}");
                    assert!(problem.pointer.starts_with('/'), "{name}: {problem}");
                }
            }
        }
    }
    supported.sort();
    assert_eq!(supported, SUPPORTED);
    assert_eq!(seen, 66, "all examples of DSL 1.0.3 are here");
}
