use muster_testkit::WebServer;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One GET over a plain socket: the status line with headers, and the body.
async fn get(server: &WebServer, path: &str) -> (String, String) {
    let host = server.address();
    let mut socket = TcpStream::connect(host).await.unwrap();
    let head = format!("GET {path} HTTP/1.0\r\nhost: {host}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_web_server_stands_for_the_public_ones_and_remembers_what_it_was_asked() {
    let server = WebServer::start().await;
    let (head, _) = get(&server, "/status/418").await;
    assert!(head.contains("418"), "{head}");
    let (head, body) = get(&server, "/v2/pet/findByStatus?status=available").await;
    let pets: Vec<Value> = serde_json::from_str(&body).unwrap();
    assert!(head.contains("200") && pets.len() == 3, "{head} {body}");
    assert!(get(&server, "/v2/pet/getPetByName/Milou").await.0.contains("404"));
    let (_, body) = get(&server, "/v2/swagger.json").await;
    assert!(body.contains(server.address()), "{body}");
    for (count, status) in [(1, "503"), (2, "503"), (3, "200")] {
        assert!(get(&server, "/flaky/2").await.0.contains(status), "{count}");
    }
    assert_eq!(server.asked_at("/flaky/2").len(), 3);
    assert_eq!(server.asked()[1].query, [("status".to_owned(), "available".to_owned())]);
    let document = server.redirected("endpoint: https://petstore.swagger.io/v2/pet/{petId}");
    assert_eq!(document, format!("endpoint: {}", server.url("/v2/pet/{petId}")));
}
