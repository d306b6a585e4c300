//! Many letters are found, replayed and removed; streams are read again.

use super::*;

#[tokio::test]
async fn a_thousand_letters_are_listed_by_pages_filtered_and_purged() {
    let nats = NatsServer::start().await;
    let (owner, reader) = (connect(&nats, "no-service").await, connect(&nats, "gateway").await);
    let publish = |n: u64| {
        let owner = owner.clone();
        let letter = DeadLetter {
            stream: "EXECUTIONS".into(),
            consumer: if n.is_multiple_of(2) { "tool-a" } else { "agent-b" }.into(),
            sequence: n,
            code: if n.is_multiple_of(10) { "UNAVAILABLE" } else { "INVALID" }.into(),
            headers: [("Muster-Execution".to_owned(), format!("e{}", n % 100))].into(),
            body: vec![b'x'; 200],
            first_at: now(Utc::now()),
            ..DeadLetter::default()
        };
        async move { owner.publish(&letter, &MessageId::random()).await.unwrap() }
    };
    futures::stream::iter(1..=1000).map(publish).buffered(64).collect::<Vec<_>>().await;
    let letters = reader.dead_letters();
    let (mut next, mut seen) = (Some(Range::ALL), Vec::new());
    while let Some(range) = next {
        let page = letters.find(&Filter::default(), range, 300).await.unwrap();
        seen.extend(page.letters.iter().map(|letter| letter.content.sequence));
        next = page.next;
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=1000).collect::<Vec<u64>>());

    let some = |text: &str| Some(text.to_owned());
    let count =
        async |filter: &Filter| letters.find(filter, Range::ALL, 5000).await.unwrap().letters.len();
    let consumer = Filter { consumer: some("agent-b"), ..Filter::default() };
    assert_eq!(count(&consumer).await, 500);
    let code = Filter { code: some("UNAVAILABLE"), ..Filter::default() };
    assert_eq!(count(&code).await, 100);
    let execution = Filter { execution_id: some("e7"), ..Filter::default() };
    assert_eq!(count(&execution).await, 10);
    assert_eq!(count(&Filter { until: Some(Utc::now()), ..Filter::default() }).await, 1000);
    assert_eq!(count(&Filter { since: Some(Utc::now()), ..Filter::default() }).await, 0);
    let wild = Filter { stream: some("*"), ..Filter::default() };
    let fault = letters.find(&wild, Range::ALL, 1);
    assert_eq!(fault.await.unwrap_err().code, Code::Invalid);

    assert_eq!(letters.purge_all(&consumer, Range::ALL).await.unwrap(), 500);
    assert_eq!(count(&Filter::default()).await, 500);
    let first = letters.list(1).await.unwrap().remove(0).0;
    letters.purge(first).await.unwrap();
    assert_eq!(letters.purge(first).await.unwrap_err().code, Code::NotFound);
    assert_eq!(count(&Filter::default()).await, 499);
}

#[tokio::test]
async fn what_is_no_letter_hides_no_letters_and_can_be_removed() {
    let nats = NatsServer::start().await;
    let (owner, reader) = (connect(&nats, "no-service").await, connect(&nats, "gateway").await);
    let letter = DeadLetter {
        stream: "EXECUTIONS".into(),
        consumer: "tool-a".into(),
        sequence: 1,
        code: "INVALID".into(),
        ..DeadLetter::default()
    };
    let raw = operator(&nats).await;
    raw.publish("dlq.EXECUTIONS.tool-a", "no JSON at all".into()).await.unwrap();
    raw.publish("dlq.EXECUTIONS.tool-a.more", "{}".into()).await.unwrap();
    raw.publish("dlq.EXECUTIONS.tool-a", "{}".into()).await.unwrap();
    raw.flush().await.unwrap();
    owner.publish(&letter, &id("1")).await.unwrap();
    let found = letters(&reader, 3).await;
    let (good, junk): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| found.content == letter);
    assert_eq!((good.len(), junk.len()), (1, 2));
    let fault = reader.dead_letters().replay(junk[1].sequence).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "its service does not run: {fault}");
    // No field at all is no letter either: a line of nothing but blanks tells nobody anything.
    let reason =
        "the letter itself cannot be read: muster.dead_letter.v1.DeadLetter needs `stream`";
    assert_eq!(
        (junk[1].content.reason.as_str(), junk[1].content.code.as_str()),
        (reason, "INVALID")
    );
    assert_eq!(junk[1].content.consumer, "tool-a");
    reader.dead_letters().purge(junk[1].sequence).await.unwrap();
    let junk = &junk[0];
    assert_eq!((junk.content.code.as_str(), junk.content.consumer.as_str()), ("INVALID", "tool-a"));
    assert!(junk.content.reason.starts_with("the letter itself cannot be read"), "{junk:?}");
    assert_eq!(reader.dead_letters().show(junk.sequence).await.unwrap(), *junk);
    let fault = reader.dead_letters().replay(junk.sequence).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "its service does not run: {fault}");
    reader.dead_letters().purge(junk.sequence).await.unwrap();
    assert_eq!(letters(&reader, 1).await[0].content, letter);
}

#[tokio::test]
async fn many_letters_are_replayed_at_a_pace_and_what_fails_is_told() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let sender = connect(&nats, "orchestration").await;
    let mended = Arc::new(AtomicBool::new(false));
    let handler = |mended: Arc<AtomicBool>, command: Delivery<ToolExecutionRequested>| async move {
        match mended.load(Ordering::SeqCst) && command.idempotency_key != "7" {
            true => Ok(()),
            false => Err(Fault::new(Code::Invalid, format!("bad {}", command.idempotency_key))),
        }
    };
    let _tool = serve(&tool, Routes::new(mended.clone()).on(handler));
    for n in 0..40 {
        sender.publish(&command(&n.to_string()), &id(&n.to_string())).await.unwrap();
    }
    letters(&reader, 40).await;
    mended.store(true, Ordering::SeqCst);
    let all = Filter::default();
    let pace = Pace { per_second: 1000, limit: 15, time: Duration::from_secs(60) };
    let letters = reader.dead_letters();
    let first = letters.replay_all(&all, Range::ALL, pace).await.unwrap();
    assert_eq!(first.handled + first.failed, 15);
    let rest = letters.replay_all(&all, first.next.unwrap(), Pace { limit: 1000, ..pace });
    let rest = rest.await.unwrap();
    assert_eq!((rest.next, rest.running), (None, 0));
    assert_eq!((first.handled + rest.handled, first.failed + rest.failed), (39, 1));
    let errors = [first.errors, rest.errors].concat();
    let left = letters.list(10).await.unwrap();
    assert_eq!(errors, [(left[0].0, "INVALID: bad 7".to_owned())]);
    assert_eq!(left.len(), 1);

    // No time at all: nothing begins, and what is left is told.
    let pace = Pace { per_second: 1, limit: 10, time: Duration::ZERO };
    let none = letters.replay_all(&all, Range::ALL, pace).await.unwrap();
    assert_eq!((none.handled, none.failed), (0, 0));
    assert_eq!(none.next.unwrap().first, left[0].0);
}

#[tokio::test]
async fn a_stream_is_read_again_from_a_sequence_or_a_time_up_to_its_end() {
    let nats = NatsServer::start().await;
    let (tool, log) = (connect(&nats, "tool").await, connect(&nats, "orchestration").await);
    for n in 0..10 {
        log.publish(&command(&n.to_string()), &id(&n.to_string())).await.unwrap();
    }
    let middle = Utc::now();
    for n in 10..20 {
        log.publish(&command(&n.to_string()), &id(&n.to_string())).await.unwrap();
    }
    let dependency = Dependency::default();
    dependency.mend();
    let _tool = serve(&tool, dependency.routes(BY_HANDLER));
    let reader = connect(&nats, "no-service").await;
    let read = async |from: Start, pattern: &str| {
        let found = reader.replay(Stream::Executions, from, vec![pattern.to_owned()]);
        let found: Vec<_> = found.try_collect().await.unwrap();
        found
            .iter()
            .map(|message| message.decode::<ToolExecutionRequested>().unwrap().idempotency_key)
            .collect::<Vec<_>>()
    };
    let numbers = |range: std::ops::Range<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(read(Start::Sequence(1), "tool.>").await, numbers(0..20));
    assert_eq!(read(Start::Sequence(15), ">").await, numbers(14..20));
    assert_eq!(read(Start::Time(middle), "tool.execution.requested").await, numbers(10..20));
    assert_eq!(read(Start::Now, ">").await, numbers(0..0));
    assert_eq!(read(Start::Sequence(1), "agent.>").await, numbers(0..0));
    assert_eq!(read(Start::Sequence(1000), ">").await, numbers(0..0));
    eventually(Duration::from_secs(60), "each is handled once", || async {
        dependency.calls() == 20
    })
    .await;

    let tail = reader.tail(Stream::Executions, Start::Time(middle), vec![">".into()]);
    let mut tail = Box::pin(tail.await.unwrap());
    let mut sequences = Vec::new();
    for _ in 0..10 {
        sequences.push(tail.next().await.unwrap().sequence);
    }
    assert_eq!(sequences, (11..=20).collect::<Vec<u64>>());
    log.publish(&command("new"), &id("new")).await.unwrap();
    assert_eq!(tail.next().await.unwrap().sequence, 21);
}
