//! The README's first workflow, run as a newcomer would: its files, then its commands.

use std::path::Path;
use std::process::Command;

use crate::documents::patient;
use crate::platform::Platform;

/// The fenced blocks of a document: their language and text.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_workflow_of_the_readme_runs() {
    let readme = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("README.md"),
    )
    .unwrap();
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut script = "set -eu\n".to_owned();
    for (language, text) in blocks(&readme) {
        match (language, text.lines().next().unwrap_or_default()) {
            ("yaml", first) if first.starts_with("# file: ") => {
                std::fs::write(folder.path().join(&first[8..]), text).unwrap();
            }
            ("sh", _) => {
                script.push_str(&patient(text).replace("http://127.0.0.1:8080", &platform.http));
            }
            _ => {}
        }
    }
    let folder = folder.path().to_owned();
    let output = tokio::task::spawn_blocking(move || {
        Command::new("sh").arg("-c").arg(script).current_dir(folder).output().unwrap()
    })
    .await
    .unwrap();
    let (told, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{complained}");
    assert!(told.contains("\"words\":") && told.contains("event: done"), "{told}");
    let results = told.matches("\"output\":{\"summary\":\"").count();
    let shown = blocks(&readme).into_iter().find(|(language, _)| *language == "json").unwrap().1;
    let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
    assert!(
        told.contains(&shown["output"].to_string()),
        "the answer is the one that it shows: {told}"
    );
    assert!(results >= 3, "the result was waited for, streamed, and asked for: {told}");
}
