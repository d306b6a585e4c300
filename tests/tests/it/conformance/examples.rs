//! The specification's examples, each registered as a client would.

use std::path::Path;

use muster_testkit::WebServer;
use serde_json::{Value, json};

use crate::documents::{page, root};
use crate::platform::{Platform, read};

/// The secret that examples name.
const SECRET: &str = "mySecret";
/// The function of a public catalogue that an example calls, as this test's catalogue has it.
const FUNCTION: &str = "set: {logged: '${ .message }'}\n";
/// The document of the examples' channels, as this test's catalogue has it.
const CHANNELS: &str = "
asyncapi: 2.6.0
channels:
  /notifications: {subscribe: {operationId: getNotifications}}
";

/// The verdict that the page has for a file.
fn verdict(page: &str, file: &str) -> Option<String> {
    let row = page.lines().find(|line| line.starts_with(&format!("| `{file}` |")))?;
    row.split('|').nth(2).map(|cell| cell.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_registered_or_refused_as_the_page_says() {
    let web = WebServer::start().await;
    let secrets = tempfile::tempdir().unwrap();
    let secret = json!({"username": "a", "password": "b"});
    std::fs::write(secrets.path().join(SECRET), secret.to_string()).unwrap();
    let folder = secrets.path().display().to_string();
    let catalogue = catalogue().await;
    let allowed = format!("{},{catalogue}", web.address());
    let settings =
        [("MUSTER_HTTP_ALLOW", allowed.as_str()), ("MUSTER_SECRETS_DIR", folder.as_str())];
    let platform = Platform::start_with(&settings).await;
    // What another workflow runs is there before it.
    let child = json!({"document": {"dsl": "1.0.3", "namespace": "test", "name": "register-customer", "version": "0.1.0"},
        "do": [{"done": {"set": {"done": true}}}]});
    put(&platform, &child).await;
    let (page, mut wrong, mut seen) = (page("workflows.md"), Vec::new(), 0);
    let examples = root().join("libs/workflow/tests/examples");
    let mut files: Vec<_> =
        std::fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for (index, file) in files.iter().enumerate() {
        seen += 1;
        let text = web.redirected(&std::fs::read_to_string(file).unwrap());
        let text =
            text.replace("https://raw.githubusercontent.com", &format!("http://{catalogue}"));
        let text = text.replace("https://fake.com/docs", &format!("http://{catalogue}/docs"));
        if let Err(reason) = registered(&platform, &page, file, (index, &text)).await {
            wrong.push(reason);
        }
    }
    assert!(
        wrong.is_empty(),
        "of {seen} examples these are not as the page says:\n{}",
        wrong.join("\n")
    );
    assert_eq!(seen, 66, "all examples of DSL 1.0.3 are here");
}

/// A server that answers with the channels, and with the function whatever else it is asked for; its host and port.
async fn catalogue() -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new()
        .route("/docs/asyncapi.json", axum::routing::get(|| async { CHANNELS }))
        .fallback(|| async { FUNCTION });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address.to_string()
}

async fn registered(
    platform: &Platform,
    page: &str,
    file: &Path,
    (index, text): (usize, &str),
) -> Result<(), String> {
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let mut document: Value = serde_yaml_ng::from_str(text).unwrap();
    // Many of them have the same name.
    document["document"]["name"] = json!(format!("example-{index}"));
    let (status, answer) = put(platform, &document).await;
    let says = verdict(page, &name).ok_or_else(|| format!("{name} is not on the page"))?;
    match (says == "runs", status) {
        (true, 201) | (false, 400) => Ok(()),
        _ => Err(format!(
            "{name}: the page says `{says}`, the answer is {status} {}",
            answer["detail"]
        )),
    }
}

async fn put(platform: &Platform, document: &Value) -> (u16, Value) {
    let request = platform.client.put(platform.url("/v1/workflows")).json(document);
    let (status, answer) = read(request.send().await.unwrap()).await;
    (status.as_u16(), answer)
}
