//! The containers of docker-compose.yml as local processes: same programs, arguments and environment; only hosts,
//! ports and folders are those of this machine.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_testkit::{
    Database, Process, Program, eventually, free_port, nats_server_program, repository,
};
use tempfile::TempDir;

use super::compose::{Compose, Container};

/// As compose's health checks allow: 24 tries, one each 5 s.
const HEALTHY: Duration = Duration::from_secs(120);

pub(super) struct Topology {
    services: BTreeMap<String, Process>,
    rest_port: u16,
    nats_port: u16,
    database: Database,
    _nats: Process,
    _store: TempDir,
}

impl Topology {
    /// nats-server with the very configuration that compose mounts, and a fresh database.
    pub(super) async fn start_servers(compose: &Compose) -> Self {
        let store = tempfile::tempdir().unwrap();
        let (nats_port, monitor) = (free_port(), free_port());
        let config = std::fs::read_to_string(repository().join("deploy/nats/single.conf")).unwrap();
        let config = config
            .replace("0.0.0.0:4222", &format!("127.0.0.1:{nats_port}"))
            .replace("0.0.0.0:8222", &format!("127.0.0.1:{monitor}"))
            .replace("\"/data\"", &format!("{:?}", store.path().join("data")));
        let file = store.path().join("nats.conf");
        std::fs::write(&file, config).unwrap();
        let users = repository().join("deploy/nats/users.conf");
        std::fs::copy(users, store.path().join("users.conf")).unwrap();
        let program = Program::at(nats_server_program()).arg("-c").arg(file.to_str().unwrap());
        let nats = with_environment(program, &compose.nats.environment).spawn();
        let listening = || async { tokio::net::TcpStream::connect(("127.0.0.1", nats_port)).await };
        eventually(Duration::from_secs(60), "nats-server listens", listening).await;
        let database = Database::create().await;
        Self {
            services: BTreeMap::new(),
            rest_port: free_port(),
            nats_port,
            database,
            _nats: nats,
            _store: store,
        }
    }

    /// Starts a container's program and waits until its own health check says that it is healthy.
    pub(super) async fn start(&mut self, compose: &Compose, name: &str) {
        let container = &compose.services[name];
        let health_port = free_port();
        let environment = container
            .environment
            .iter()
            .map(|(key, value)| (key.clone(), self.local(value, health_port)));
        let mut program = Program::of_workspace("muster");
        for argument in &container.command {
            program = program.arg(argument);
        }
        let process = with_environment(program, &environment.collect()).spawn();
        let healthy = || async {
            assert!(process.is_running(), "{name} ended: {}", process.log());
            self.is_healthy(container, health_port).await
        };
        eventually(HEALTHY, &format!("{name} is healthy"), healthy).await;
        self.services.insert(name.to_owned(), process);
    }

    async fn is_healthy(&self, container: &Container, health_port: u16) -> bool {
        let [program, arguments @ ..] = container.health.as_slice() else { return false };
        assert_eq!(program, "/usr/local/bin/muster", "the image has no other program");
        let mut check = Program::of_workspace("muster");
        for argument in arguments {
            check = check.arg(self.local(argument, health_port));
        }
        check.spawn().wait(Duration::from_secs(60)).await.success()
    }

    /// A value of the environment with the hosts and ports of this machine.
    fn local(&self, value: &str, health_port: u16) -> String {
        if value.starts_with("postgres://") {
            return self.database.url().to_owned();
        }
        value
            .replace("nats://nats:4222", &format!("nats://127.0.0.1:{}", self.nats_port))
            .replace("0.0.0.0:8080", &self.rest())
            .replace("0.0.0.0:8081", &format!("127.0.0.1:{health_port}"))
            .replace("127.0.0.1:8081", &format!("127.0.0.1:{health_port}"))
    }

    /// Where the gateway serves REST.
    pub(super) fn rest(&self) -> String {
        format!("127.0.0.1:{}", self.rest_port)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = (&String, &Process)> {
        self.services.iter()
    }
}

fn with_environment(program: Program, environment: &BTreeMap<String, String>) -> Program {
    environment.iter().fold(program, |program, (name, value)| program.env(name, value))
}
