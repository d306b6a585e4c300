//! A dead letter is handled again, once, by its own consumer.

use super::*;

#[tokio::test]
async fn a_mended_message_is_handled_under_its_original_id_by_its_consumer_alone() {
    let nats = NatsServer::start().await;
    let tool = connect(&nats, "tool").await;
    // No second service has a consumer of it.
    let another = Bus::open(nats.operator("another")).await.unwrap();
    let (sender, reader) = (connect(&nats, "orchestration").await, connect(&nats, "gateway").await);
    let (dependency, other) = (Dependency::default(), Dependency::default());
    other.mend();
    let _tool = serve(&tool, dependency.routes(Idempotency::Bus));
    let _another = serve(&another, other.routes(Idempotency::Bus));
    sender.publish(&command("k"), &id("k")).await.unwrap();
    let letter = letters(&reader, 1).await.remove(0);
    assert_eq!(letter.content.service, "tool");
    assert_eq!(letter.message_type(), "muster.tool.v1.ToolExecutionRequested");
    assert_eq!(letter.execution_id(), "e1");
    assert_eq!(reader.dead_letters().show(letter.sequence).await.unwrap(), letter);
    let original = reader.dead_letters().original(&letter.content).await;
    assert_eq!(original.decode::<ToolExecutionRequested>().unwrap(), command("k"));

    dependency.mend();
    eventually(Duration::from_secs(60), "the other consumer has handled it", || async {
        other.calls() == 1
    })
    .await;
    let replayed = reader.dead_letters().replay(letter.sequence).await.unwrap();
    assert_eq!(replayed, Replayed::Handled);
    assert_eq!(*dependency.handled.lock().unwrap(), [(id("k").as_str().to_owned(), 2)]);
    assert_eq!(other.calls(), 1, "it is nothing to the other consumer");
    none_is_left(&reader).await;
    let gone = reader.dead_letters().replay(letter.sequence).await.unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
    assert!(gone.message.contains("it was replayed or purged, or never was"), "{gone}");
}

#[tokio::test]
async fn a_replay_that_fails_leaves_one_letter_with_the_new_reason() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let sender = connect(&nats, "orchestration").await;
    let dependency = Dependency::default();
    let _tool = serve(&tool, dependency.routes(Idempotency::Bus));
    sender.publish(&command("k"), &id("k")).await.unwrap();
    let first = letters(&reader, 1).await.remove(0);
    let replayed = reader.dead_letters().replay(first.sequence).await.unwrap();
    let Replayed::Failed { sequence, code, reason } = replayed else { panic!("{replayed:?}") };
    assert_eq!(
        (code.as_str(), reason.as_str()),
        ("NOT_FOUND", "the table \"orders\" is not there")
    );
    let second = letters(&reader, 1).await.remove(0);
    assert_eq!(second.sequence, sequence);
    assert_eq!((second.content.deliveries, second.content.replaces), (2, first.sequence));
    assert_eq!(second.content.body, first.content.body);
    assert_eq!(second.content.first_at, first.content.first_at);
    dependency.mend();
    assert_eq!(reader.dead_letters().replay(sequence).await.unwrap(), Replayed::Handled);
    none_is_left(&reader).await;
}

#[tokio::test]
async fn two_who_replay_the_same_letter_at_once_make_one_effect() {
    for idempotency in [Idempotency::Bus, BY_HANDLER] {
        let nats = NatsServer::start().await;
        let (one, other) = (connect(&nats, "tool").await, connect(&nats, "tool").await);
        let (reader, second) = (connect(&nats, "gateway").await, connect(&nats, "gateway").await);
        let dependency = Dependency::default();
        let _one = serve(&one, dependency.routes(idempotency));
        let _other = serve(&other, dependency.routes(idempotency));
        let sender = connect(&nats, "orchestration").await;
        sender.publish(&command("k"), &id("k")).await.unwrap();
        let letter = letters(&reader, 1).await.remove(0);
        dependency.mend();
        let tries = (0..10).map(|n| {
            let letters = if n % 2 == 0 { &reader } else { &second }.dead_letters();
            async move { letters.replay(letter.sequence).await }
        });
        let results = futures::future::join_all(tries).await;
        assert!(results.contains(&Ok(Replayed::Handled)));
        for fault in results.into_iter().filter_map(Result::err) {
            assert!(matches!(fault.code, Code::Conflict | Code::NotFound), "{fault}");
        }
        assert_eq!(dependency.handled.lock().unwrap().len(), 1, "{idempotency:?}");
        none_is_left(&reader).await;
    }
}

#[tokio::test]
async fn a_message_that_was_handled_meanwhile_is_not_handled_again() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let dependency = Dependency::default();
    let _tool = serve(&tool, dependency.routes(Idempotency::Bus));
    let raw = operator(&nats).await;
    let send = || async {
        // Without Nats-Msg-Id: the stream takes the second one too.
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("ce-id", "one-id");
        let body = serde_json::to_vec(&command("k")).unwrap();
        raw.publish_with_headers("tool.execution.requested", headers, body.into()).await.unwrap();
    };
    send().await;
    let letter = letters(&reader, 1).await.remove(0);
    dependency.mend();
    send().await;
    eventually(Duration::from_secs(60), "the second message is handled", || async {
        dependency.handled.lock().unwrap().len() == 1
    })
    .await;
    assert_eq!(reader.dead_letters().replay(letter.sequence).await.unwrap(), Replayed::Handled);
    assert_eq!(dependency.handled.lock().unwrap().len(), 1);
    none_is_left(&reader).await;
}

#[tokio::test]
async fn a_crash_while_a_letter_is_replayed_leaves_it() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let sender = connect(&nats, "orchestration").await;
    let dependency = Dependency::default();
    let (guard, task) = serve(&tool, dependency.routes(Idempotency::Bus));
    sender.publish(&command("k"), &id("k")).await.unwrap();
    let letter = letters(&reader, 1).await.remove(0);
    drop(guard);
    task.await.unwrap().unwrap();

    let began = Arc::new(AtomicU32::new(0));
    let hangs = Routes::new(began.clone()).on(
        |began: Arc<AtomicU32>, _: Delivery<ToolExecutionRequested>| async move {
            began.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<(), Fault>>().await
        },
    );
    let crashing = connect(&nats, "tool").await;
    let (_guard, task) = serve(&crashing, hangs);
    let replay = tokio::spawn({
        let letters = reader.dead_letters();
        async move { letters.replay(letter.sequence).await }
    });
    eventually(Duration::from_secs(60), "the replay has begun", || async {
        if replay.is_finished() {
            panic!("the replay ended before it began");
        }
        began.load(Ordering::SeqCst) == 1
    })
    .await;
    task.abort();
    drop(crashing);
    let fault = replay.await.unwrap().unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "{fault}");
    assert_eq!(letters(&reader, 1).await[0], letter);

    let again = connect(&nats, "tool").await;
    dependency.mend();
    let _again = serve(&again, dependency.routes(Idempotency::Bus));
    let replayed = eventually(Duration::from_secs(60), "a replay that is answered", || async {
        reader.dead_letters().replay(letter.sequence).await.ok()
    });
    assert_eq!(replayed.await, Replayed::Handled);
    assert_eq!(dependency.handled.lock().unwrap().len(), 1);
    none_is_left(&reader).await;
}

#[tokio::test]
async fn a_large_message_is_replayed_from_where_its_body_lies() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let sender = connect(&nats, "orchestration").await;
    let (mended, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let handler = |(mended, seen): (Arc<AtomicBool>, Arc<Mutex<Vec<_>>>),
                   command: Delivery<ToolExecutionRequested>| async move {
        if !mended.load(Ordering::SeqCst) {
            return Err(Fault::new(Code::Invalid, "not yet"));
        }
        seen.lock().unwrap().push(command.message);
        Ok(())
    };
    let _tool = serve(&tool, Routes::new((mended.clone(), seen.clone())).on(handler));
    // One is compressed, one lies in the object store: random digits shrink by half only.
    let digits: String = std::iter::repeat_with(|| char::from(b'0' + rand::random::<u8>() % 10))
        .take(3 << 20)
        .collect();
    let mut sent = Vec::new();
    for (key, text) in [("prose", "once upon a time ".repeat(5000)), ("digits", digits)] {
        let arguments = Some(JsonObject::wrap(json!({ "text": text })));
        let message = ToolExecutionRequested { arguments, ..command(key) };
        sender.publish(&message, &id(key)).await.unwrap();
        sent.push(message);
    }
    let letters = letters(&reader, 2).await;
    let headers = |name: &str| {
        letters.iter().filter(|letter| letter.content.headers.contains_key(name)).count()
    };
    assert_eq!((headers("Content-Encoding"), headers("Muster-Claim")), (2, 1));
    mended.store(true, Ordering::SeqCst);
    for letter in &letters {
        let replayed = reader.dead_letters().replay(letter.sequence).await.unwrap();
        assert_eq!(replayed, Replayed::Handled);
    }
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort_by_key(|message| message.idempotency_key != "prose");
    assert!(seen == sent, "a message is not what was sent");
}

#[tokio::test]
async fn a_letter_that_nobody_can_replay_says_why() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let owner = connect(&nats, "no-service").await;
    let letter = |consumer: &str| DeadLetter {
        stream: "EXECUTIONS".into(),
        consumer: consumer.into(),
        sequence: 1,
        subject: "tool.execution.requested".into(),
        ..DeadLetter::default()
    };
    let away = owner.publish(&letter("tool-old"), &id("1")).await.unwrap().sequence;
    let odd = owner.publish(&letter("stranger"), &id("2")).await.unwrap().sequence;
    let check = async |sequence: u64, code: Code, text: &str| {
        let fault = reader.dead_letters().replay(sequence).await.unwrap_err();
        assert_eq!(fault.code, code, "{fault}");
        assert!(fault.message.contains(text), "{fault}");
    };
    check(away, Code::Unavailable, "nobody serves dead_letter.replay.tool").await;
    check(odd, Code::NotFound, "the consumer \"stranger\" is not one of a service").await;
    check(99, Code::NotFound, "there is no dead letter 99").await;
    let _tool = serve(&tool, Dependency::default().routes(Idempotency::Bus));
    eventually(Duration::from_secs(60), "the service answers", || async {
        let fault = reader.dead_letters().replay(away).await.unwrap_err();
        (fault.code == Code::NotFound).then(|| {
            assert!(
                fault
                    .message
                    .contains("tool has no consumer \"tool-old\" of the stream \"EXECUTIONS\""),
                "{fault}"
            );
        })
    })
    .await;
    assert_eq!(reader.dead_letters().list(10).await.unwrap().len(), 2);
}
