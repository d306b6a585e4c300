//! NATS' own text protocol, to send what no client library would.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection that reads only while it waits for an answer.
pub(crate) struct Raw {
    stream: BufReader<TcpStream>,
    asked: u64,
}

/// An answer: its headers as they came, and its body.
pub(crate) struct Answer {
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Raw {
    /// Connects with an address like `nats://user:password@host:port`.
    pub(crate) async fn connect(url: &str) -> Self {
        let (login, address) = url.split_once("://").unwrap().1.split_once('@').unwrap();
        let (user, password) = login.split_once(':').unwrap();
        let stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let mut raw = Self { stream, asked: 0 };
        let connect = json!({ "verbose": false, "headers": true, "no_responders": true, "user": user, "pass": password });
        raw.write(format!("CONNECT {connect}\r\nSUB _INBOX.raw.* 1\r\n").as_bytes()).await;
        raw
    }

    /// Publishes these bytes under these headers, whatever they are.
    pub(crate) async fn publish(
        &mut self,
        subject: &str,
        reply: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        let mut head = "NATS/1.0\r\n".to_owned();
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let (size, total) = (head.len(), head.len() + body.len());
        let mut frame = format!("HPUB {subject} {reply} {size} {total}\r\n{head}").into_bytes();
        frame.extend_from_slice(body);
        frame.extend_from_slice(b"\r\n");
        self.write(&frame).await;
    }

    /// The first answer that is no sign of life; none where it does not come in time.
    pub(crate) async fn request(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        patience: Duration,
    ) -> Option<Answer> {
        self.asked += 1;
        let inbox = format!("_INBOX.raw.{}", self.asked);
        self.publish(subject, &inbox, headers, body).await;
        timeout(patience, async {
            loop {
                let (to, answer) = self.read().await;
                // What comes late belongs to an earlier request.
                if to == inbox && !answer.headers.contains("Muster-Working") {
                    return answer;
                }
            }
        })
        .await
        .ok()
    }

    async fn read(&mut self) -> (String, Answer) {
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).await.unwrap();
            assert!(read > 0, "the server closed the connection");
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |word: &str| word.parse::<usize>().unwrap();
            match words.as_slice() {
                ["PING"] => self.write(b"PONG\r\n").await,
                ["-ERR", ..] => panic!("{line}"),
                ["MSG", to, .., total] => {
                    let (to, total) = ((*to).to_owned(), number(total));
                    return (to, self.message(0, total).await);
                }
                ["HMSG", to, .., head, total] => {
                    let (to, head, total) = ((*to).to_owned(), number(head), number(total));
                    return (to, self.message(head, total).await);
                }
                _ => {}
            }
        }
    }

    async fn message(&mut self, head: usize, total: usize) -> Answer {
        let mut bytes = vec![0; total + 2];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes.truncate(total);
        let body = bytes.split_off(head);
        Answer { headers: String::from_utf8_lossy(&bytes).into_owned(), body }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }
}
