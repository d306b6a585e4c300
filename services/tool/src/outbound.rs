//! Requests to servers outside: where they may go, by which redirects, and how much they may answer.

mod guard;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};

use self::guard::{Guard, Lookup};
use crate::config::Config;
use crate::domain::egress::{Egress, Reach};
use crate::error::Error;

/// The most redirects of one request.
pub(crate) const MAX_REDIRECTS: usize = 5;
/// The largest answer, in bytes.
pub(crate) const MAX_BODY: usize = 1 << 20;
/// Headers that belong to the connection, not to the caller.
const RESERVED: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "keep-alive",
];

/// The way to servers outside. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbound {
    egress: Egress,
    /// One for each reach: whatever a name resolves to, each connects to nothing else. Connections that are kept open are of one reach.
    clients: Arc<HashMap<Reach, Client>>,
}

/// A request that may be sent again to where a redirect points.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) url: Url,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// Whether a second sending may do something a second time.
    pub(crate) once: bool,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Outbound {
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        Self::resolving(config, &guard::system())
    }

    fn resolving(config: &Config, lookup: &Lookup) -> anyhow::Result<Self> {
        // Installed already where another service of this process did so; then this changes nothing.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = |reach| {
            let client = Client::builder()
                .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(Duration::from_secs(10).min(config.timeout))
                // A proxy would resolve names itself, past the checks.
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .dns_resolver(Guard { reach, lookup: Arc::clone(lookup) })
                .build();
            Ok((reach, client.context("the HTTP client cannot be built")?))
        };
        let clients: anyhow::Result<_> = config.egress.reaches().into_iter().map(client).collect();
        Ok(Self { egress: config.egress.clone(), clients: Arc::new(clients?) })
    }

    /// Sends the request, to here and no further.
    pub(crate) async fn send(&self, question: &Question) -> Result<Response, Error> {
        let client = self.client(&question.url)?;
        let mut request = client
            .request(question.method.clone(), question.url.clone())
            .headers(question.headers.clone());
        if let Some(body) = &question.body {
            request = request.body(body.clone());
        }
        request.send().await.map_err(|error| question.lost(&error))
    }

    /// Sends the request and those that redirects ask for, and reads the answer of the last.
    pub(crate) async fn follow(&self, mut question: Question) -> Result<(Question, Answer), Error> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&question).await?;
            match question.redirected(response.status(), response.headers())? {
                Some(next) => question = next,
                None => {
                    let answer = question.read(response, MAX_BODY).await?;
                    return Ok((question, answer));
                }
            }
        }
        Err(Error::Invalid(format!("{} redirects more than {MAX_REDIRECTS} times", question.url)))
    }

    /// The client that may reach this URL.
    fn client(&self, url: &Url) -> Result<&Client, Error> {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(Error::Invalid(format!("url is {url}, but must have a host")));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let reach = self.egress.check(host, port).map_err(Error::Denied)?;
        // A literal address is not resolved, so the resolver cannot refuse it.
        if host.parse().is_ok_and(|address| !reach.has(address)) {
            return Err(Error::Denied(guard::refusal(reach, host, host, Some(port))));
        }
        let client = self.clients.get(&reach);
        client.ok_or_else(|| anyhow::anyhow!("no client reaches {url}").into())
    }
}

impl Question {
    /// A request without a body that may be repeated.
    pub(crate) fn get(url: Url) -> Self {
        Self { url, method: Method::GET, headers: HeaderMap::new(), body: None, once: false }
    }

    /// The request that a redirect asks for.
    pub(crate) fn redirected(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, Error> {
        let again = matches!(
            status,
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let Some(location) = headers.get(LOCATION).filter(|_| again) else {
            return Ok(None);
        };
        let url = location.to_str().ok().and_then(|location| self.url.join(location).ok());
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| {
            Error::Invalid(format!(
                "{} redirects to {location:?}, which is no http address",
                self.url
            ))
        })?;
        let keeps =
            matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
                || matches!(self.method, Method::GET | Method::HEAD);
        let mut headers = self.headers.clone();
        if !keeps {
            headers.remove(CONTENT_TYPE);
        }
        // What the caller meant for one server is not for another.
        if url.origin() != self.url.origin() {
            headers.clear();
        }
        Ok(Some(Self {
            url,
            method: if keeps { self.method.clone() } else { Method::GET },
            headers,
            body: self.body.clone().filter(|_| keeps),
            once: self.once,
        }))
    }

    /// Reads an answer of at most `limit` bytes.
    pub(crate) async fn read(&self, response: Response, limit: usize) -> Result<Answer, Error> {
        self.read_until(response, limit, |_| false).await
    }

    /// Reads an answer of at most `limit` bytes, to its end or until a part of it is enough.
    pub(crate) async fn read_until(
        &self,
        mut response: Response,
        limit: usize,
        mut is_enough: impl FnMut(&[u8]) -> bool,
    ) -> Result<Answer, Error> {
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(|error| self.lost(&error))? {
            if body.len() + bytes.len() > limit {
                let url = response.url();
                return Err(Error::Invalid(format!(
                    "the answer of {url} is larger than {limit} bytes"
                )));
            }
            body.extend_from_slice(&bytes);
            if is_enough(&bytes) {
                break;
            }
        }
        Ok(Answer { status: response.status(), headers: response.headers().clone(), body })
    }

    /// What a broken connection means: nothing where it was never open, else it depends on whether the request may be repeated.
    fn lost(&self, error: &reqwest::Error) -> Error {
        let mut text = format!("{} {}", self.method, self.url);
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            if let Some(refused) = inner.downcast_ref::<guard::Refused>() {
                return Error::Denied(refused.to_string());
            }
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        if self.once && !error.is_connect() && !error.is_builder() {
            return Error::Interrupted(format!("the connection broke before the answer: {text}"));
        }
        Error::unavailable(text)
    }
}

/// A header that a caller may set.
pub(crate) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Error> {
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) || lower.starts_with("proxy-") {
        return Err(Error::Invalid(format!(
            "the header {name:?} belongs to the connection and cannot be set"
        )));
    }
    // The value may be a secret: the error does not repeat it.
    HeaderName::from_bytes(lower.as_bytes()).ok().zip(HeaderValue::from_str(value).ok()).ok_or_else(
        || Error::Invalid(format!("the header {name:?} has characters that a header cannot have")),
    )
}

/// A header's value as text; what is not UTF-8 is replaced.
pub(crate) fn header_text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What happens to a request where the operator allows each of these hosts, but no port of theirs.
    fn refusal(url: &str, allow: &str) -> String {
        let config =
            Config::from_env(&[("MUSTER_HTTP_ALLOW", allow)].into_iter().collect()).unwrap();
        let outbound = Outbound::new(&config).unwrap();
        outbound.client(&Url::parse(url).unwrap()).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn a_private_address_is_refused_in_every_notation() {
        for (url, host) in [
            ("http://127.0.0.1/", "127.0.0.1"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://0x7f000001/", "127.0.0.1"),
            ("http://0177.0.0.1/", "127.0.0.1"),
            ("http://127.1/", "127.0.0.1"),
            ("http://0/", "0.0.0.0"),
            ("http://169.254.169.254/latest/meta-data", "169.254.169.254"),
            ("http://2852039166/", "169.254.169.254"),
            ("http://0xa9.0xfe.0xa9.0xfe/", "169.254.169.254"),
            ("http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/", "127.0.0.1"),
            ("http://10.0.0.1/", "10.0.0.1"),
            ("https://[::1]/", "::1"),
            ("http://[fd00:ec2::254]/", "fd00:ec2::254"),
            ("http://[fe80::1]/", "fe80::1"),
            ("http://[::ffff:169.254.169.254]/", "::ffff:a9fe:a9fe"),
            ("http://[::ffff:7f00:1]/", "::ffff:7f00:1"),
            ("http://[64:ff9b::7f00:1]/", "64:ff9b::7f00:1"),
        ] {
            // Not named at all, and named without a port.
            assert!(refusal(url, "api.example.com").contains("are not allowed"), "{url}");
            assert!(refusal(url, host).contains("the address is not public"), "{url}");
        }
        assert!(refusal("http://user@localhost:81/", "localhost").contains("localhost:81"));
    }

    /// Answers that a name gets, one after the other; how often it was asked for.
    fn scripted(answers: &'static [&'static [&'static str]]) -> (Lookup, Arc<AtomicUsize>) {
        let times = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&times);
        let lookup: Lookup = Arc::new(move |_host| {
            let answer = answers[asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
            let addresses = answer.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0));
            Box::pin(std::future::ready(Ok(addresses.collect())))
        });
        (lookup, times)
    }

    fn outbound(allow: &str, lookup: &Lookup) -> Outbound {
        let env = [("MUSTER_HTTP_ALLOW", allow)].into_iter().collect();
        Outbound::resolving(&Config::from_env(&env).unwrap(), lookup).unwrap()
    }

    /// Answers every request with these lines, each on a connection of its own.
    async fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // The head is in one packet: nothing else is sent.
                let mut head = [0; 4096];
                assert_ne!(stream.read(&mut head).await.unwrap(), 0);
                let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    async fn ask(outbound: &Outbound, url: &str) -> Result<StatusCode, Error> {
        let question = Question::get(Url::parse(url).unwrap());
        outbound.follow(question).await.map(|(_, answer)| answer.status)
    }

    /// Only the scripted resolver knows the names: what answers was connected by the address that was checked.
    #[tokio::test]
    async fn a_name_that_leads_elsewhere_the_second_time_is_refused() {
        let port = server("204 No Content").await.port();
        let rebound: &[&[&str]] =
            &[&["127.0.0.1"], &["169.254.169.254"], &["127.0.0.1", "0.0.0.0"]];
        let (lookup, times) = scripted(rebound);
        let outbound = outbound(&format!("orders.internal:{port}"), &lookup);
        let url = format!("http://orders.internal:{port}/");
        assert_eq!(ask(&outbound, &url).await.unwrap(), 204);
        assert_eq!(times.load(Ordering::SeqCst), 1);
        for address in ["169.254.169.254", "0.0.0.0"] {
            let error = ask(&outbound, &url).await.unwrap_err();
            assert!(matches!(&error, Error::Denied(text) if text.contains(address)), "{error}");
        }
        assert_eq!(times.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_public_name_leads_into_no_network_whatever_its_port() {
        let port = server("204 No Content").await.port();
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "0.0.0.0",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "fe80::1",
            "fd00:ec2::254",
        ] {
            let found: &'static [&'static [&'static str]] =
                Vec::leak(vec![&*Vec::leak(vec![address])]);
            let (lookup, _) = scripted(found);
            let allow = format!("api.example.com,api.example.com:{port}");
            let outbound = outbound(&allow, &lookup);
            for place in [String::new(), format!(":{port}")] {
                let url = format!("http://api.example.com{place}/");
                let error = ask(&outbound, &url).await.unwrap_err();
                assert!(
                    matches!(&error, Error::Denied(text) if text.contains("api.example.com:443=")),
                    "{address}: {error}"
                );
            }
        }
        // Unless the settings say where it is.
        let (lookup, _) = scripted(&[&["127.0.0.1"]]);
        let outbound = outbound(&format!("api.example.com:{port}=127.0.0.0/8"), &lookup);
        let url = format!("http://api.example.com:{port}/");
        assert_eq!(ask(&outbound, &url).await.unwrap(), 204);
    }

    #[tokio::test]
    async fn a_redirect_to_a_private_address_is_refused() {
        let to_metadata = server("302 Found\r\nlocation: http://169.254.169.254/latest").await;
        let to_name = server("302 Found\r\nlocation: http://hooks.example.com/").await;
        let (lookup, times) = scripted(&[&["10.0.0.1"]]);
        let allow = format!("{to_metadata},{to_name},hooks.example.com,169.254.169.254");
        let outbound = outbound(&allow, &lookup);
        for (from, asked) in [(to_metadata, 0), (to_name, 1)] {
            let error = ask(&outbound, &format!("http://{from}/")).await.unwrap_err();
            assert!(
                matches!(&error, Error::Denied(text) if text.contains("not public")),
                "{error}"
            );
            assert_eq!(times.load(Ordering::SeqCst), asked);
        }
    }
}
