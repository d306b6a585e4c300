//! A TCP proxy that breaks on demand.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::or_fail;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Flow,
    Frozen,
    Cut,
}

/// Stands in front of a server and passes everything on until it is told to fail.
///
/// Dropping it closes its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free loopback port for the server at `target`: `host:port`, or an address such as
    /// `nats://127.0.0.1:4222` or `postgres://user:password@127.0.0.1:5432/name`.
    ///
    /// # Panics
    /// When `target` names no host and port, or no port is free.
    pub async fn start(target: &str) -> Self {
        or_fail(Self::try_start(target).await)
    }

    async fn try_start(target: &str) -> Result<Self> {
        let target = authority(target)
            .with_context(|| format!("{target:?} names no host and port"))?
            .to_owned();
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free loopback port")?;
        let address = listener.local_addr().context("a listener has an address")?;
        let (mode, watched) = watch::channel(Mode::Flow);
        let accepting = tokio::spawn(accept(listener, target, watched));
        Ok(Self { address, mode, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's address with host and port replaced by the proxy's.
    ///
    /// # Panics
    /// When `url` names no host and port.
    pub fn url(&self, url: &str) -> String {
        let real = authority(url).with_context(|| format!("{url:?} names no host and port"));
        url.replacen(or_fail(real), &self.address.to_string(), 1)
    }

    /// Breaks all connections and every new one, as a server that is gone.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Holds every byte back and leaves connections open, as a network that swallows packets.
    pub fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }

    /// Lets everything flow again: frozen connections go on, cut ones can be made anew.
    pub fn heal(&self) {
        self.mode.send_replace(Mode::Flow);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

/// `host:port` within an address.
fn authority(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next()?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).map(|_| host)
}

async fn accept(listener: TcpListener, target: String, mode: watch::Receiver<Mode>) {
    while let Ok((client, _)) = listener.accept().await {
        if *mode.borrow() != Mode::Cut {
            tokio::spawn(connection(client, target.clone(), mode.clone()));
        }
    }
}

async fn connection(client: TcpStream, target: String, mut mode: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(&target).await else { return };
    // A sender that is gone ends the wait as well: the proxy was dropped.
    let cut = {
        let mut mode = mode.clone();
        async move { drop(mode.wait_for(|mode| *mode == Mode::Cut).await) }
    };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let mut back = mode.clone();
    tokio::select! {
        () = pump(client_reads, server_writes, &mut mode) => {}
        () = pump(server_reads, client_writes, &mut back) => {}
        () = cut => {}
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mode: &mut watch::Receiver<Mode>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(size) = from.read(&mut buffer).await {
        let Some(read) = buffer.get(..size).filter(|read| !read.is_empty()) else { return };
        if mode.wait_for(|mode| *mode != Mode::Frozen).await.is_err()
            || to.write_all(read).await.is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::authority;

    #[test]
    fn host_and_port_are_found_in_any_address() {
        for (url, expected) in [
            ("127.0.0.1:4222", Some("127.0.0.1:4222")),
            ("nats://localhost:4222", Some("localhost:4222")),
            ("postgres://u:p@h:5432/name?a=b", Some("h:5432")),
            ("nats://localhost", None),
        ] {
            assert_eq!(authority(url), expected, "{url}");
        }
    }
}
