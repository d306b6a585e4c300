//! What the sources of the mission name is in the contract, with the settings that they name.
#![expect(clippy::panic, reason = "test helpers")]

use std::collections::{BTreeMap, BTreeSet};

use muster_contracts::permissions::{consumer_name, on_demand};
use muster_contracts::{
    Addressed, Bucket, CATALOGUE, Durable, Entry, Kind, Message, Retention, Storage, Stream,
    agent::v1::{AgentMessage, AgentStatus, AgentTaskAssigned, GetAgentStatusRequest},
    api::v1::TaskChanged,
    deliverable::v1::TeamDeliverable,
    facts::v1::FrameworkDetected,
    model::v1::KeyReply,
    subject::{covers, overlaps, pattern},
    workflow::v1::TimerFired,
};

fn entry(subject: &str) -> &'static Entry {
    CATALOGUE
        .iter()
        .find(|entry| entry.subject == subject)
        .unwrap_or_else(|| panic!("{subject} is not in the contract"))
}

/// `kind` E is an event, C a command, R a request, S a piece of a live stream.
fn check(subject: &str, kind: &str, stream: Option<Stream>) {
    let kind = match kind {
        "E" => Kind::Event,
        "C" => Kind::Command,
        "R" => Kind::Request,
        _ => Kind::Token,
    };
    let entry = CATALOGUE
        .iter()
        .find(|entry| entry.subject == subject && entry.kind == kind)
        .unwrap_or_else(|| panic!("{subject} is not in the contract as {kind:?}"));
    assert_eq!(entry.stream, stream, "{subject}");
    if let Some(stream) = stream {
        let kept = stream.subjects();
        assert!(kept.iter().any(|kept| covers(kept, &pattern(subject))), "{subject}: {kept:?}");
    }
    assert!(!entry.consumers.is_empty() || subject == "execution.log.created", "{subject}");
}

macro_rules! rows {
    ($($name:ident: $subject:literal $kind:literal $stream:expr;)+) => {$(
        #[test]
        fn $name() {
            check($subject, $kind, $stream);
        }
    )+};
}

/// The subjects that every version has to have, with the numbers of their requirements.
mod rows {
    use super::{Stream, check};

    const EXECUTIONS: Option<Stream> = Some(Stream::Executions);

    rows! {
        row_87: "workflow.execution.started" "E" EXECUTIONS;
        row_88: "workflow.execution.completed" "E" EXECUTIONS;
        row_89: "workflow.execution.failed" "E" EXECUTIONS;
        row_90: "agent.execution.requested" "C" EXECUTIONS;
        row_91: "agent.execution.started" "E" EXECUTIONS;
        row_92: "agent.execution.completed" "E" EXECUTIONS;
        row_93: "agent.token.streamed" "S" None;
        row_94: "tool.execution.requested" "C" EXECUTIONS;
        row_95: "tool.execution.started" "E" EXECUTIONS;
        row_96: "tool.execution.completed" "E" EXECUTIONS;
        row_97: "model.key.requested" "R" None;
        row_98: "model.key.retrieved" "E" EXECUTIONS;
        row_99: "model.config.requested" "R" None;
        row_100: "vector.search.requested" "R" None;
        row_101: "execution.log.created" "E" EXECUTIONS;
    }
}

const OTHERS: &[(&str, &str, Option<Stream>)] = &[
    ("timer.fired.{execution_id}", "E", Some(Stream::Executions)),
    ("workflow.command.start", "C", Some(Stream::Executions)),
    ("workflow.command.signal", "C", Some(Stream::Executions)),
    ("agent.{agent_id}.status", "E", Some(Stream::AgentPresence)),
    ("agent.{agent_id}.status", "R", Some(Stream::AgentPresence)),
    ("agent.{to_agent}.inbox", "E", Some(Stream::Agents)),
    ("agent.broadcast", "E", Some(Stream::Agents)),
    ("agent.{agent_id}.tasks", "C", Some(Stream::Agents)),
    ("agent.{agent_id}.task", "C", Some(Stream::Agents)),
    ("agent.{agent_id}.task.completed", "E", Some(Stream::Agents)),
    ("agent.{agent_id}.task.failed", "E", Some(Stream::Agents)),
    ("agent.{agent}.result", "E", Some(Stream::Agents)),
    ("llm.request.{provider}", "R", Some(Stream::LlmStreams)),
    ("llm.stream.{session}", "S", Some(Stream::LlmStreams)),
    ("tools.{name}", "R", None),
    ("sparc.template.{stage}", "R", Some(Stream::Sparc)),
    ("sparc.pseudocode", "R", Some(Stream::Sparc)),
    ("sparc.architecture", "R", Some(Stream::Sparc)),
    ("sparc.stats.recorded", "E", Some(Stream::Sparc)),
    ("sparc.optimization.published", "E", Some(Stream::Sparc)),
    ("facts.framework_detected.{name}", "E", Some(Stream::Facts)),
    ("facts.tech_stack.{repo}", "E", Some(Stream::Facts)),
    ("facts.tool_doc.{tool}", "E", Some(Stream::Facts)),
    ("code.generated", "E", Some(Stream::CodeEvents)),
    ("code.analyzed", "E", Some(Stream::CodeEvents)),
    ("code.indexed", "E", Some(Stream::CodeEvents)),
    ("code.analysis.requested", "C", Some(Stream::CodeEvents)),
    ("db.query", "R", None),
    ("db.execute", "R", None),
    ("db.changed.{table}.{op}", "E", Some(Stream::DbChanges)),
    ("database.health.check", "R", None),
    ("database.connection.status", "E", Some(Stream::Telemetry)),
    ("database.query.slow", "E", Some(Stream::Telemetry)),
    ("database.transaction.committed", "E", Some(Stream::Telemetry)),
    ("rag.documents.ingest.request", "C", Some(Stream::Rag)),
    ("rag.documents.ingested", "E", Some(Stream::Rag)),
    ("rag.documents.updated", "E", Some(Stream::Rag)),
    ("rag.documents.deleted", "E", Some(Stream::Rag)),
    ("rag.embeddings.generated", "E", Some(Stream::Rag)),
    ("rag.query.completed", "E", Some(Stream::Rag)),
    ("rag.cache.invalidate", "C", Some(Stream::Rag)),
    ("cache.hit", "E", Some(Stream::Telemetry)),
    ("cache.miss", "E", Some(Stream::Telemetry)),
    ("cache.invalidated", "E", Some(Stream::Telemetry)),
    ("component.cache.invalidate", "C", Some(Stream::Telemetry)),
    ("agent.cache.invalidate", "C", Some(Stream::Agents)),
    ("gateway.cache.invalidate", "C", Some(Stream::Telemetry)),
    ("gateway.llm.request", "E", Some(Stream::Telemetry)),
    ("gateway.llm.response", "E", Some(Stream::Telemetry)),
    ("gateway.rate_limit.warning", "E", Some(Stream::Telemetry)),
    ("gateway.rate_limit.exceeded", "E", Some(Stream::Telemetry)),
    ("gateway.budget.exceeded", "E", Some(Stream::Telemetry)),
    ("gateway.tokens.saved", "E", Some(Stream::Telemetry)),
    ("api.tasks.process", "C", Some(Stream::Tasks)),
    ("api.tasks.{task_id}", "E", Some(Stream::Tasks)),
    ("api.requests.received", "E", Some(Stream::Telemetry)),
    ("api.responses.sent", "E", Some(Stream::Telemetry)),
    ("auth.login.succeeded", "E", Some(Stream::Audit)),
    ("auth.login.failed", "E", Some(Stream::Audit)),
    ("auth.key.created", "E", Some(Stream::Audit)),
    ("auth.key.revoked", "E", Some(Stream::Audit)),
    ("observability.alerts", "E", Some(Stream::Telemetry)),
    ("observability.metrics.summary", "E", Some(Stream::Telemetry)),
    ("deliverables.{agent}.{type}.{feature}", "E", Some(Stream::Deliverables)),
    ("dlq.{stream}.{consumer}", "E", Some(Stream::Dlq)),
];

#[test]
fn every_other_subject_of_the_taxonomy_is_there() {
    for (subject, kind, stream) in OTHERS {
        check(subject, kind, *stream);
    }
    for word in ["cancel", "suspend", "resume", "fork", "retry"] {
        check(&format!("workflow.command.{word}"), "R", None);
    }
    for word in ["cancelled", "suspended", "resumed", "waiting", "forked"] {
        check(&format!("workflow.execution.{word}"), "E", Some(Stream::Executions));
    }
    for name in [
        "ai_requests",
        "ai_results",
        "embedding_requests",
        "embedding_results",
        "agent_messages",
        "agent_responses",
        "centralcloud_updates",
    ] {
        check(&format!("queue.{name}"), "C", Some(Stream::Queues));
    }
}

#[test]
fn streams_have_the_limits_that_the_sources_name() {
    const DAY: u64 = 86_400;
    let table = [
        (Stream::Facts, "facts.>", 30 * DAY, Storage::File),
        (Stream::Sparc, "sparc.>", 7 * DAY, Storage::File),
        (Stream::CodeEvents, "code.>", DAY, Storage::Memory),
        (Stream::LlmStreams, "llm.>", 3600, Storage::Memory),
        (Stream::DbChanges, "db.changed.>", 7 * DAY, Storage::File),
        (Stream::Rag, "rag.>", 7 * DAY, Storage::File),
        (Stream::Audit, "auth.>", 90 * DAY, Storage::File),
        (Stream::Tasks, "api.tasks.*", 7 * DAY, Storage::File),
    ];
    for (stream, subject, age, storage) in table {
        let settings = stream.settings();
        assert_eq!(stream.subjects(), [subject], "{}", stream.name());
        assert_eq!((settings.max_age_s, settings.storage), (age, storage), "{}", stream.name());
    }
    let agents = Stream::Agents.settings();
    assert_eq!((agents.max_age_s, agents.storage), (DAY, Storage::Memory));
    let sources = [(Stream::Executions, "agent.>"), (Stream::AgentPresence, "agent.>")];
    assert_eq!(agents.sources, sources, "with them a reader of agent.> sees everything");
    assert_eq!(Stream::Queues.settings().retention, Retention::WorkQueue);
    for stream in Stream::ALL {
        assert!(stream.settings().duplicate_window_s >= 120, "{}", stream.name());
    }
}

#[test]
fn each_member_of_the_example_team_has_a_stream_of_its_own() {
    let team = [
        ("cynthia", "agog_features_research"),
        ("sylvia", "agog_features_critique"),
        ("roy", "agog_features_backend"),
        ("jen", "agog_features_frontend"),
        ("billy", "agog_features_qa"),
        ("priya", "agog_features_statistics"),
    ];
    let streams: Vec<&str> = TeamDeliverable::STREAMS.iter().map(|stream| stream.name()).collect();
    assert_eq!(streams, team.map(|(_, stream)| stream));
    let later: Vec<&str> = Stream::ALL
        .iter()
        .filter(|stream| on_demand(**stream))
        .map(|stream| stream.name())
        .collect();
    assert_eq!(later, team.map(|(_, stream)| stream), "no other platform makes room for them");
    for (agent, stream) in team {
        let found = entry(&format!("agog.deliverables.{agent}.{{type}}.{{feature}}"));
        let settings = found.stream.unwrap().settings();
        assert_eq!(found.stream.unwrap().name(), stream);
        assert_eq!(found.stream.unwrap().subjects(), [format!("agog.deliverables.{agent}.>")]);
        assert_eq!((settings.max_messages, settings.max_bytes), (10_000, 1 << 30));
        assert_eq!((settings.max_age_s, settings.max_message_bytes), (7 * 86_400, 10 << 20));
        assert_eq!((settings.storage, settings.duplicate_window_s), (Storage::File, 120));
    }
    let mut report = TeamDeliverable {
        agent: "roy".into(),
        r#type: "report".into(),
        feature: "login".into(),
        ..Default::default()
    };
    assert_eq!(report.subject().unwrap(), "agog.deliverables.roy.report.login");
    report.agent = "nobody".into();
    let error = report.subject().unwrap_err().to_string();
    assert!(error.contains("\"nobody\"") && error.contains("cynthia, sylvia"), "{error}");
}

#[test]
fn streams_that_do_not_acknowledge_are_those_that_record_requests_or_lose_on_purpose() {
    let silent: Vec<&str> = Stream::ALL
        .iter()
        .filter(|stream| stream.settings().no_ack)
        .map(|stream| stream.name())
        .collect();
    assert_eq!(silent, ["LLM_STREAMS", "AGENT_PRESENCE", "SPARC", "TELEMETRY"]);
}

#[test]
fn ill_formed_and_reserved_ids_are_refused_with_what_would_be_right() {
    let status = |agent_id: &str| AgentStatus { agent_id: agent_id.into(), ..Default::default() };
    for good in ["a", "agent-7", "0_x", &"a".repeat(63)] {
        assert_eq!(status(good).subject().unwrap(), format!("agent.{good}.status"));
    }
    for bad in ["", "A", "-a", "_a", "a.b", "a b", "*", ">", "é", &"a".repeat(64)] {
        let error = status(bad).subject().unwrap_err().to_string();
        assert!(error.contains("an id has 1 to 63"), "{bad:?}: {error}");
    }
    for reserved in ["execution", "broadcast", "cache", "definition", "token"] {
        let error = status(reserved).subject().unwrap_err().to_string();
        assert!(error.contains("fixed word"), "{reserved}: {error}");
        let question = GetAgentStatusRequest { agent_id: reserved.into() };
        assert!(question.subject().is_err(), "{reserved}");
        let letter = AgentMessage { to_agent: reserved.into(), ..Default::default() };
        assert!(letter.subject().is_err(), "{reserved}");
    }
}

#[test]
fn a_token_cannot_make_the_subject_that_of_another_message() {
    let task = |id: &str| TaskChanged { task_id: id.into(), ..Default::default() };
    assert_eq!(task("t1").subject().unwrap(), "api.tasks.t1");
    assert!(task("process").subject().is_err(), "that is work, not how a task fares");
    let timer = |id: &str| TimerFired {
        execution_id: id.into(),
        timer_id: "t".into(),
        ..Default::default()
    };
    assert!(muster_contracts::Timer::schedule(&timer("e1")).is_ok());
    assert!(muster_contracts::Timer::schedule(&timer("fired")).is_err());
    // Elsewhere the word means nothing.
    let fact = FrameworkDetected { name: "process".into(), ..Default::default() };
    assert_eq!(fact.subject().unwrap(), "facts.framework_detected.process");
}

#[test]
fn an_alias_is_read_as_the_subject_itself() {
    assert_eq!(AgentTaskAssigned::SUBJECT, "agent.{agent_id}.tasks");
    assert_eq!(
        muster_contracts::subject::patterns::<AgentTaskAssigned>(),
        ["agent.*.tasks", "agent.*.task"]
    );
    let mut task = AgentTaskAssigned::default();
    task.take_from_subject("agent.roy.task");
    assert_eq!(task.agent_id, "roy");
}

#[test]
fn what_is_secret_by_nature_is_sealed() {
    assert_eq!(KeyReply::SEALED, ["key"]);
    assert_eq!(AgentMessage::SEALED, ["content"]);
    assert!(AgentStatus::SEALED.is_empty());
}

#[test]
fn buckets_have_their_ages_and_their_writers() {
    let age = |bucket: Bucket| bucket.settings().max_age_s;
    assert_eq!((age(Bucket::Registry), age(Bucket::Config), age(Bucket::Keys)), (0, 0, 0));
    assert_eq!((age(Bucket::Idempotency), age(Bucket::Results)), (86_400, 86_400));
    assert_eq!(Bucket::Keys.settings().writers, ["model"]);
    assert_eq!(Bucket::Keys.settings().readers, ["model"]);
}

#[test]
fn what_the_broker_sends_again_is_what_its_stream_says() {
    let again: Vec<&Entry> = CATALOGUE.iter().filter(|entry| entry.producers.is_empty()).collect();
    let said: Vec<&str> = Stream::ALL
        .iter()
        .filter_map(|stream| stream.settings().republish.map(|(_, destination)| destination))
        .collect();
    assert_eq!(again.iter().map(|entry| entry.subject).collect::<Vec<_>>(), said);
}

#[test]
fn no_two_consumers_of_a_service_have_one_name() {
    let mut names = BTreeMap::new();
    for entry in CATALOGUE.iter().filter(|entry| entry.kind != Kind::Request) {
        let Some(stream) = entry.stream else { continue };
        for service in entry.consumers {
            let name = (stream, consumer_name(service, entry.message));
            let other = names.insert(name.clone(), entry.message).unwrap_or(entry.message);
            assert_eq!(other, entry.message, "{name:?}");
        }
    }
}

#[test]
fn a_subject_means_one_message_but_where_the_sources_say_otherwise() {
    let mut shared = BTreeSet::new();
    for (place, a) in CATALOGUE.iter().enumerate() {
        for b in CATALOGUE.iter().skip(place + 1) {
            if a.message != b.message && overlaps(&pattern(a.subject), &pattern(b.subject)) {
                shared.insert((a.subject, b.subject));
            }
        }
    }
    let expected = [
        ("agent.{agent_id}.status", "agent.{agent_id}.status"),
        ("api.tasks.process", "api.tasks.{task_id}"),
    ];
    assert_eq!(shared, BTreeSet::from(expected));
}

#[test]
fn messages_of_several_streams_are_acknowledged_by_all_or_by_none() {
    for stream in TeamDeliverable::STREAMS {
        assert_eq!(stream.settings().no_ack, TeamDeliverable::STREAM.settings().no_ack);
    }
}

#[test]
fn subjects_are_two_to_five_words_of_lower_case() {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    for entry in CATALOGUE {
        let tokens: Vec<&str> = entry.subject.split('.').collect();
        assert!((2..=5).contains(&tokens.len()), "{}", entry.subject);
        for token in tokens {
            let word = token.trim_start_matches('{').trim_end_matches('}');
            assert!(is_word(word), "{}: {token}", entry.subject);
        }
    }
}
