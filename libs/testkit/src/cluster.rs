//! Three nats-servers that are one cluster, and what can happen to them.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use muster_bus::Settings;

use crate::nats::ROOM;
use crate::{FaultProxy, dev, eventually, or_fail, signal, users};

const START: Duration = Duration::from_secs(90);
/// nats-server ends within 2 s of SIGTERM; the rest is for a busy machine.
const STOP: Duration = Duration::from_secs(60);
/// How long a node's monitor may take to answer: one that is paused never does.
const ANSWER: Duration = Duration::from_secs(2);

/// Three nats-servers with JetStream on loopback, with the users of the contract, 10 MB payloads, each with a store of its own in a temporary folder.
///
/// Every route between two nodes runs through a [`FaultProxy`], one for each direction, so that a link can be cut.
/// A test with a cluster runs on a multi-threaded runtime: the proxies live on it. Dropping the cluster kills the
/// servers and removes the stores, and fails the test where somebody tried what the contract does not grant.
#[derive(Debug)]
pub struct Cluster {
    dir: TempDir,
    nodes: Vec<Node>,
    /// By who connects and who listens.
    links: BTreeMap<(usize, usize), FaultProxy>,
}

#[derive(Debug)]
struct Node {
    clients: u16,
    monitor: u16,
    child: Mutex<Option<Child>>,
}

impl Cluster {
    /// The number of nodes; they are called by their index, from 0.
    pub const NODES: usize = 3;

    /// Starts the cluster and returns when it has a leader (some seconds).
    ///
    /// # Panics
    /// When nats-server is missing and cannot be fetched, or the nodes do not find each other within 90 s.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// As [`Cluster::start`], with further lines of nats-server's configuration for every node.
    ///
    /// # Panics
    /// As `start`; the message holds a server's own complaint about its configuration.
    pub async fn start_with(config: &str) -> Self {
        Self::start_without_users(&format!("{}{config}", users::conf())).await
    }

    /// As [`Cluster::start_with`], without the users of the contract: everybody may do everything, or what `config` says.
    ///
    /// # Panics
    /// As `start_with`.
    pub async fn start_without_users(config: &str) -> Self {
        let cluster = or_fail(Self::configure(config).await);
        for node in 0..Self::NODES {
            cluster.launch(node);
        }
        cluster.until_healthy(START).await;
        cluster
    }

    async fn configure(config: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("muster-cluster-")
            .tempdir()
            .context("cannot make a folder for the cluster")?;
        let ports = free_ports(Self::NODES * 3)?;
        let (clients, rest) = ports.split_at(Self::NODES);
        let (routes, monitors) = rest.split_at(Self::NODES);
        let mut links = BTreeMap::new();
        for from in 0..Self::NODES {
            for (to, port) in routes.iter().enumerate().filter(|(to, _)| *to != from) {
                links.insert((from, to), FaultProxy::start(&format!("127.0.0.1:{port}")).await);
            }
        }
        let mut nodes = Vec::new();
        for (node, ((clients, port), monitor)) in
            clients.iter().zip(routes).zip(monitors).enumerate()
        {
            let own = links.iter().filter(|((from, _), _)| *from == node);
            let routes: Vec<_> =
                own.map(|(_, proxy)| format!("\"nats-route://{}\"", proxy.address())).collect();
            let store = dir.path().join(format!("store-{node}"));
            // Nobody listens at the advertised port: a node that learnt the real one of another from the third
            // would go round a link that is cut.
            let text = format!(
                "server_name: \"node-{node}\"\nlisten: \"127.0.0.1:{clients}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
                 max_payload: 10MB\njetstream {{ store_dir: {store:?}\n{ROOM} }}\n\
                 cluster {{ name: muster, listen: \"127.0.0.1:{port}\", advertise: \"127.0.0.1:1\", \
                 no_advertise: true, routes: [{}] }}\n{config}\n",
                routes.join(", ")
            );
            std::fs::write(dir.path().join(format!("node-{node}.conf")), text)
                .context("cannot write a node's configuration")?;
            nodes.push(Node { clients: *clients, monitor: *monitor, child: Mutex::default() });
        }
        Ok(Self { dir, nodes, links })
    }

    /// The addresses of all nodes, separated by commas, as `NATS_URL` has them.
    pub fn url(&self) -> String {
        (0..Self::NODES).map(|node| self.node_url(node)).collect::<Vec<_>>().join(",")
    }

    /// `nats://127.0.0.1:PORT` of one node; the same after a restart.
    pub fn node_url(&self, node: usize) -> String {
        format!("nats://127.0.0.1:{}", self.node(node).clients)
    }

    /// The settings by which a service connects to any node, as its own user, with streams of three replicas. A name
    /// that the contract does not know connects as the operator, who may do everything.
    pub fn settings(&self, service: &str) -> Settings {
        Settings { replicas: Self::NODES, ..users::settings(service, &self.url()) }
    }

    /// As [`Cluster::settings`], for one node only.
    pub fn settings_at(&self, node: usize, service: &str) -> Settings {
        Settings { replicas: Self::NODES, ..users::settings(service, &self.node_url(node)) }
    }

    /// The environment by which services connect to any node, each as its own user, with streams of three replicas.
    pub fn env(&self) -> Vec<(String, String)> {
        users::env(&self.url(), &[("NATS_STREAM_REPLICAS", &Self::NODES.to_string())])
    }

    /// A client that is not the bus: a user's, or the operator's.
    ///
    /// # Panics
    /// When no node lets it in.
    pub async fn client(&self, user: &str) -> async_nats::Client {
        users::client(user, &self.url()).await
    }

    /// What a node has logged so far, over all its starts.
    pub fn log(&self, node: usize) -> String {
        std::fs::read_to_string(self.log_path(node)).unwrap_or_default()
    }

    /// Ends a node at once, as `kill -9` does. Nothing happens when it does not run.
    pub fn kill(&self, node: usize) {
        if let Some(child) = self.child(node).take() {
            end(child);
        }
    }

    /// Asks a node to stop (`SIGTERM`): it hands its leaderships over. Returns when it has ended.
    ///
    /// # Panics
    /// When it still runs after 30 s.
    pub async fn stop(&self, node: usize) {
        if let Some(child) = self.child(node).as_ref() {
            signal::send("TERM", child.id());
        }
        eventually(STOP, "the node ends", || async {
            let mut child = self.child(node);
            let ended = match child.as_mut() {
                Some(running) => running.try_wait().is_ok_and(|status| status.is_some()),
                None => true,
            };
            if ended {
                *child = None;
            }
            ended
        })
        .await;
    }

    /// Starts a node again on its ports and store; a running one is killed first. Returns at once: see
    /// [`Cluster::until_healthy`].
    ///
    /// # Panics
    /// When nats-server cannot be started.
    pub fn restart(&self, node: usize) {
        self.kill(node);
        self.launch(node);
    }

    /// Stops a node's clock (`SIGSTOP`): connections stay open and nothing answers.
    pub fn pause(&self, node: usize) {
        self.signal(node, "STOP");
    }

    /// Lets a paused node go on (`SIGCONT`).
    pub fn resume(&self, node: usize) {
        self.signal(node, "CONT");
    }

    /// Breaks the network between two nodes, in both directions; clients still reach both.
    pub fn cut(&self, one: usize, other: usize) {
        self.both_ways(one, other, FaultProxy::cut);
    }

    /// Lets the network between two nodes swallow everything: the connections stay open and nothing arrives.
    pub fn freeze(&self, one: usize, other: usize) {
        self.both_ways(one, other, FaultProxy::freeze);
    }

    /// Mends the network between two nodes.
    pub fn heal(&self, one: usize, other: usize) {
        self.both_ways(one, other, FaultProxy::heal);
    }

    /// The node that leads a stream, as a majority sees it; none while they elect one.
    pub async fn leader(&self, stream: &str) -> Option<usize> {
        let mut votes = [0; Self::NODES];
        for node in 0..Self::NODES {
            let found = self.ask(node, "/jsz?accounts=1&streams=1").await;
            let leader = found.ok().and_then(|body| leader_in(&body, stream));
            if let Some(count) = leader.and_then(|leader| votes.get_mut(leader)) {
                *count += 1;
            }
        }
        votes.iter().position(|count| *count > Self::NODES / 2)
    }

    /// Waits until a stream has a leader.
    ///
    /// # Panics
    /// When it has none at the deadline.
    pub async fn until_led(&self, stream: &str, deadline: Duration) -> usize {
        eventually(deadline, &format!("{stream} has a leader"), || self.leader(stream)).await
    }

    /// Whether a node says that it is there and has caught up with all streams and consumers.
    pub async fn is_healthy(&self, node: usize) -> bool {
        self.ask(node, "/healthz").await.is_ok()
    }

    /// Waits until every node holds as many messages of a stream as the others, up to the same last one.
    ///
    /// # Panics
    /// When they differ at the deadline; the message holds what each has.
    pub async fn until_agreed(&self, stream: &str, deadline: Duration) {
        eventually(deadline, &format!("all nodes have the same {stream}"), || async {
            let mut held = Vec::new();
            for node in 0..Self::NODES {
                let body = self.ask(node, "/jsz?accounts=1&streams=1").await.unwrap_or_default();
                held.push(detail(&body, stream).and_then(|detail| {
                    let state = detail.get("state")?;
                    Some((state.get("messages")?.as_u64()?, state.get("last_seq")?.as_u64()?))
                }));
            }
            let first = held.first().copied().flatten();
            let same = first.is_some() && held.iter().all(|other| *other == first);
            if same { Ok(()) } else { Err(held) }
        })
        .await;
    }

    /// Waits until every node says that it is there and has caught up with all streams and consumers.
    ///
    /// # Panics
    /// When one does not at the deadline; the message holds its own words.
    pub async fn until_healthy(&self, deadline: Duration) {
        for node in 0..Self::NODES {
            eventually(deadline, &format!("node {node} is healthy"), || async {
                let ended = self.child(node).as_mut().and_then(|child| child.try_wait().ok()?);
                assert!(ended.is_none(), "node {node} ended with {ended:?}: {}", self.log(node));
                self.ask(node, "/healthz").await.map(drop)
            })
            .await;
        }
    }

    fn both_ways(&self, one: usize, other: usize, act: impl Fn(&FaultProxy)) {
        for way in [(one, other), (other, one)] {
            let link = self.links.get(&way);
            act(or_fail(
                link.with_context(|| format!("there is no link between {one} and {other}")),
            ));
        }
    }

    fn signal(&self, node: usize, name: &str) {
        if let Some(child) = self.child(node).as_ref() {
            signal::send(name, child.id());
        }
    }

    fn launch(&self, node: usize) {
        *self.child(node) = Some(or_fail(self.spawn(node)));
    }

    fn spawn(&self, node: usize) -> Result<Child> {
        let program = dev::nats_server()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(node))
            .context("cannot open a node's log")?;
        Command::new(&program)
            .arg("-c")
            .arg(self.dir.path().join(format!("node-{node}.conf")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))
    }

    /// Asks a node's monitor. An error where it does not answer 200 in time.
    async fn ask(&self, node: usize, path: &str) -> Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.node(node).monitor));
        let answer = timeout(ANSWER, async {
            let mut stream = TcpStream::connect(address).await?;
            let question = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
            stream.write_all(question.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        });
        let answer = answer.await.with_context(|| format!("node {node} is silent"))??;
        let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
        if !head.lines().next().is_some_and(|status| status.contains(" 200 ")) {
            bail!("{path} of node {node}: {body}");
        }
        Ok(body.to_owned())
    }

    fn log_path(&self, node: usize) -> std::path::PathBuf {
        Path::new(self.dir.path()).join(format!("log-{node}"))
    }

    fn child(&self, node: usize) -> MutexGuard<'_, Option<Child>> {
        self.node(node).child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self, node: usize) -> &Node {
        let found = self.nodes.get(node);
        or_fail(found.with_context(|| format!("node {node} is not one of 0, 1, 2")))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 0..self.nodes.len() {
            self.kill(node);
            users::forbid_violations(&self.log(node));
        }
    }
}

fn end(mut child: Child) {
    // SIGKILL also ends a paused process. Both calls fail only where it has ended already.
    drop(child.kill());
    drop(child.wait());
}

/// The leader of a stream in a node's `/jsz`.
fn leader_in(body: &str, stream: &str) -> Option<usize> {
    let found = detail(body, stream)?;
    found.pointer("/cluster/leader")?.as_str()?.strip_prefix("node-")?.parse().ok()
}

/// What a node's `/jsz` says of a stream.
fn detail(body: &str, stream: &str) -> Option<Value> {
    let state: Value = serde_json::from_str(body).ok()?;
    let accounts = state.get("account_details")?.as_array()?.iter();
    let mut streams =
        accounts.filter_map(|account| account.get("stream_detail")?.as_array()).flatten();
    streams.find(|found| found.get("name").is_some_and(|name| name == stream)).cloned()
}

/// Ports below those that the system gives to outgoing connections: a node that is down finds its own free again.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let mut held = Vec::new();
    for _ in 0..1000 {
        if held.len() == count {
            break;
        }
        let random = uuid::Uuid::now_v7().as_u128() % 20_000;
        let port = 12_000 + u16::try_from(random).context("below 20,000")?;
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    if held.len() < count {
        bail!("no {count} free loopback ports between 12000 and 32000");
    }
    // All are held until the last is found, so that none comes twice.
    held.iter()
        .map(|port| Ok(port.local_addr().context("a listener has an address")?.port()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::leader_in;

    #[test]
    fn the_leader_of_a_stream_is_found_in_what_a_node_says() {
        let body = r#"{"account_details":[{"name":"$G","stream_detail":[
            {"name":"A","cluster":{"leader":"node-2"}},{"name":"B","cluster":{}}]}]}"#;
        assert_eq!(leader_in(body, "A"), Some(2));
        assert_eq!(leader_in(body, "B"), None);
        assert_eq!(leader_in("{}", "A"), None);
    }
}
