//! Who may connect, and whom a service trusts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use muster_bus::{Bus, Delivery, Filter, Login, Range, Routes, Settings};
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::{Code, Fault};
use muster_testkit::{NatsServer, eventually};
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;

use crate::{command, connect, connect_freely, serve};

const SOON: Duration = Duration::from_secs(60);

/// Waits until the connection knows why it is not let in.
async fn reason(bus: &Bus, word: &str) -> Fault {
    eventually(SOON, word, || async {
        let fault = bus.connected(Duration::from_millis(50)).await.unwrap_err();
        if fault.message.contains(word) { Ok(fault) } else { Err(fault) }
    })
    .await
}

#[tokio::test]
async fn a_wrong_password_is_told_with_the_user_and_by_readiness() {
    let nats = NatsServer::start().await;
    nats.expect_violations();
    let mut settings = nats.settings("agent");
    settings.login = Login::Password { user: "agent".into(), password: "guessed".into() };
    let bus = Bus::open(settings).await.unwrap();
    let fault = reason(&bus, "authorization violation").await;
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("\"agent\""), "{fault}");
    assert!(!fault.message.contains("guessed"), "{fault}");
    let fault = bus.ping().await.unwrap_err();
    assert!(fault.message.contains("authorization violation"), "{fault}");
}

#[tokio::test]
async fn a_service_without_a_login_is_told_which_settings_there_are() {
    let nats = NatsServer::start().await;
    nats.expect_violations();
    let bus = Bus::open(Settings::new("agent", nats.url())).await.unwrap();
    let fault = reason(&bus, "authorization violation").await;
    assert!(fault.message.contains("NATS_USER"), "{fault}");
}

#[tokio::test]
async fn what_is_not_granted_is_refused_and_costs_nobody_else_anything() {
    let nats = NatsServer::start().await;
    nats.expect_violations();
    let bus = connect(&nats, "vector").await;
    let fault = bus
        .request_within(
            &muster_contracts::agent::v1::ListAgentsRequest {},
            Duration::from_millis(300),
        )
        .await
        .unwrap_err();
    assert_eq!(fault.code, Code::Deadline);
    eventually(SOON, "the server names it", || async {
        nats.violations().iter().any(|line| line.contains("agent.definition.list"))
    })
    .await;
    assert!(bus.ping().await.is_ok());
}

#[tokio::test]
async fn a_service_is_known_by_its_nkey() {
    let (known, stranger) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let users = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", known.public_key());
    let nats = NatsServer::start_without_users(&users).await;
    nats.expect_violations();
    let folder = tempfile::tempdir().unwrap();
    let open = async |name: &str, pair: &nkeys::KeyPair| {
        let file = folder.path().join(name);
        let text = format!("# a user's seed\n{}\n", pair.seed().unwrap());
        std::fs::write(&file, text).unwrap();
        let mut settings = Settings::new("agent", nats.url());
        settings.login = Login::Nkey(file.display().to_string());
        Bus::open(settings).await.unwrap()
    };
    open("known", &known).await.connected(SOON).await.unwrap();
    let fault = reason(&open("stranger", &stranger).await, "authorization violation").await;
    assert!(fault.message.contains("stranger"), "{fault}");
}

/// An authority with the certificates of a server and of a client.
struct Authority {
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        for name in ["server", "client"] {
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let mut params = CertificateParams::new(names).unwrap();
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            std::fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A server with this authority's certificate; a mutual one asks clients for theirs.
    async fn server(&self, mutual: bool) -> NatsServer {
        let [certificate, key, ca] =
            ["server.pem", "server.key", "ca.pem"].map(|name| self.path(name));
        let verify =
            if mutual { format!(", ca_file: {ca:?}, verify: true") } else { String::new() };
        let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}{verify} }}");
        NatsServer::start_with(&tls).await
    }

    /// The settings that trust this authority.
    fn settings(&self, nats: &NatsServer) -> Settings {
        let mut settings = nats.settings("agent");
        settings.tls.ca = Some(self.path("ca.pem"));
        settings
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_of_a_trusted_authority_is_believed_and_no_other() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let nats = ours.server(false).await;
    Bus::open(ours.settings(&nats)).await.unwrap().connected(SOON).await.unwrap();
    let bus = Bus::open(theirs.settings(&nats)).await.unwrap();
    let fault = reason(&bus, "certificate").await;
    assert_eq!(fault.code, Code::Unavailable);
}

#[tokio::test]
async fn with_mutual_tls_both_sides_show_a_certificate() {
    let authority = Authority::new();
    let nats = authority.server(true).await;
    let mut settings = authority.settings(&nats);
    let without = Bus::open(settings.clone()).await.unwrap();
    settings.tls.certificate = Some((authority.path("client.pem"), authority.path("client.key")));
    let with = Bus::open(settings).await.unwrap();
    with.connected(SOON).await.unwrap();
    with.ready().await;
    // Why, it knows when it has tried.
    let _fault = reason(&without, "cannot be reached: ").await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_at_once_with_what_would_be_right() {
    let authority = Authority::new();
    let absent = Path::new("/nowhere/ca.pem").display().to_string();
    let (ca, key) = (authority.path("ca.pem"), authority.path("client.key"));
    let check = async |change: &dyn Fn(&mut Settings), words: &[&str]| {
        let mut settings = Settings::new("agent", "nats://127.0.0.1:1");
        change(&mut settings);
        let Err(fault) = Bus::open(settings).await else { panic!("opened, expected {words:?}") };
        assert_eq!(fault.code, Code::Invalid, "{fault}");
        for word in words {
            assert!(fault.message.contains(word), "no {word:?} in {fault}");
        }
    };
    check(&|s| s.tls.ca = Some(absent.clone()), &["NATS_TLS_CA", "/nowhere/ca.pem", "PEM"]).await;
    check(&|s| s.tls.ca = Some(key.clone()), &["NATS_TLS_CA", "client.key", "certificates"]).await;
    check(
        &|s| s.tls.certificate = Some((ca.clone(), ca.clone())),
        &["NATS_TLS_KEY", "ca.pem", "private key"],
    )
    .await;
    check(&|s| s.login = Login::Nkey(ca.clone()), &["NATS_NKEY", "ca.pem", "begins with SU"]).await;
    check(
        &|s| s.login = Login::Credentials(absent.clone()),
        &["NATS_CREDS", "/nowhere/ca.pem", "credentials"],
    )
    .await;
}

#[test]
fn a_login_is_the_services_own_or_the_one_that_all_share() {
    let login = |variables: &[(&'static str, &'static str)]| {
        Settings::from_variables("execution-log", |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
        })
        .map(|settings| settings.login)
    };
    let password = |user: &str, password: &str| Login::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    };
    let shared = [("NATS_USER", "me"), ("NATS_PASSWORD", "shared")];
    assert_eq!(login(&[]).unwrap(), Login::Nobody);
    assert_eq!(login(&shared).unwrap(), password("me", "shared"));
    let own = [shared[0], shared[1], ("NATS_PASSWORD_EXECUTION_LOG", "own")];
    assert_eq!(login(&own).unwrap(), password("execution-log", "own"));
    let two = [("NATS_NKEY", "/seed"), ("NATS_CREDS", "/creds")];
    let error = login(&two).unwrap_err().to_string();
    assert!(error.contains("/seed") && error.contains("one login only"), "{error}");
    assert!(!format!("{:?}", login(&shared).unwrap()).contains("shared"));
}

#[tokio::test]
async fn a_schedule_cannot_send_what_its_writer_may_not() {
    let nats = NatsServer::start().await;
    let service = connect(&nats, "tool").await;
    let ran = Arc::new(AtomicBool::new(false));
    async fn note(ran: Arc<AtomicBool>, _: Delivery<ToolExecutionRequested>) -> Result<(), Fault> {
        ran.store(true, Ordering::Relaxed);
        Ok(())
    }
    let _serving = serve(&service, Routes::new(ran.clone()).on(note));
    // The broker itself publishes it: whoever may write anything in the stream can name any subject of it.
    let stranger = nats.client("tool").await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Schedule", "@at 2020-01-01T00:00:00Z");
    headers.insert("Nats-Schedule-Target", "tool.execution.requested");
    let body = serde_json::to_vec(&command("forged")).unwrap();
    stranger.publish_with_headers("tool.execution.started", headers, body.into()).await.unwrap();
    let letters = connect_freely(&nats, "operator").await.dead_letters();
    let letter = eventually(SOON, "it is a dead letter", || async {
        letters.find(&Filter::default(), Range::ALL, 10).await.unwrap().letters.pop()
    })
    .await;
    let reason = format!("{:?}", letter);
    assert!(reason.contains("DENIED") && reason.contains("tool.execution.started"), "{reason}");
    assert!(!ran.load(Ordering::Relaxed));
}
