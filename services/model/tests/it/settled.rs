//! What a call has cost counts once, whatever becomes of the writes of its account: a test plays the bucket's answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, stream::SubjectTransform};
use async_nats::{Client, HeaderMap, Message, Subscriber};
use futures::StreamExt;
use futures::future::join_all;
use muster_contracts::Code;
use muster_contracts::llm::v1::CompleteRequest;
use muster_contracts::model::v1::GetAllowanceRequest;
use muster_testkit::{Answer, NatsServer, eventually};
use serde_json::Value;

use crate::guarded::{COST, DEADLINE, Guarded, budget, small};

const STREAM: &str = "KV_BUDGETS";
const WRITES: &str = "$KV.BUDGETS.>";
const READS: &str = "$JS.API.STREAM.MSG.GET.KV_BUDGETS";
const ID: &str = "Nats-Msg-Id";
/// What a writer hears who cannot know what became of his write.
const UNSURE: [&str; 3] = [
    r#"{"error":{"code":503,"err_code":10008,"description":"temporarily"}}"#,
    r#"{"error":{"code":400,"err_code":10071,"description":"wrong last"}}"#,
    r#"{"error":{"code":400,"err_code":10071,"description":"wrong last"}}"#,
];
/// A lease that does not end while a test runs.
const LONG: (&str, &str) = ("MUSTER_RESERVATION_SECONDS", "600");

/// What becomes of a write.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// The writer hears what the stream says.
    Told,
    /// It is stored, and so is what somebody else writes behind it: the writer cannot know it.
    Overtaken,
    /// It is not stored, and the writer hears the same.
    Lost,
    /// It is stored, and the writer hears nothing.
    Unheard,
}

/// The bucket of the accounts, behind a test that passes on what is written and what the stream says of it.
struct Bucket {
    /// The writes that did not go well, whose writers have heard all they will.
    ended: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Bucket {
    async fn play(nats: &NatsServer, fates: impl FnMut(&Value) -> Fate + Send + 'static) -> Self {
        let player = nats.client("operator").await;
        let jetstream = jetstream::new(player.clone());
        let mut config = jetstream.get_stream(STREAM).await.unwrap().cached_info().config.clone();
        jetstream.delete_stream(STREAM).await.unwrap();
        config.subjects = vec!["kept.>".into()];
        let (source, destination) = ("kept.>".into(), WRITES.into());
        config.subject_transform = Some(SubjectTransform { source, destination });
        jetstream.create_stream(config).await.unwrap();
        let writes = player.subscribe(WRITES).await.unwrap();
        let mut asked = player.subscribe(READS).await.unwrap();
        // The server knows of both when it answers this.
        jetstream.get_stream(STREAM).await.unwrap();
        let (ended, reads) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let count = reads.clone();
        let counting = tokio::spawn(async move {
            while asked.next().await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let playing = Player { client: player, fates, ended: ended.clone() }.play(writes);
        Self { ended, reads, tasks: [counting, tokio::spawn(playing)] }
    }

    /// Waits until so many writes have not gone well.
    async fn ended(&self, writes: usize) {
        eventually(DEADLINE, "a write went wrong", || {
            std::future::ready(self.ended.load(Ordering::SeqCst) >= writes)
        })
        .await;
    }

    /// Waits until the accounts were read so many times.
    async fn read(&self, times: usize) {
        eventually(DEADLINE, "the account is read again", || {
            std::future::ready(self.reads.load(Ordering::SeqCst) >= times)
        })
        .await;
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

struct Player<F> {
    client: Client,
    fates: F,
    ended: Arc<AtomicUsize>,
}

impl<F: FnMut(&Value) -> Fate> Player<F> {
    async fn play(mut self, mut writes: Subscriber) {
        // How often whose writers were answered who cannot know; none who are never answered.
        let mut answered: BTreeMap<String, Option<usize>> = BTreeMap::new();
        while let Some(write) = writes.next().await {
            let headers = write.headers.clone().unwrap();
            let id = headers.get(ID).unwrap().to_string();
            if !answered.contains_key(&id) {
                match self.meet(&write, headers).await {
                    Fate::Told => continue,
                    Fate::Unheard => {
                        answered.insert(id.clone(), None);
                        self.ended.fetch_add(1, Ordering::SeqCst);
                    }
                    Fate::Overtaken | Fate::Lost => drop(answered.insert(id.clone(), Some(0))),
                }
            }
            let Some(Some(times)) = answered.get_mut(&id) else { continue };
            let text = *UNSURE.get(*times).or(UNSURE.last()).unwrap();
            *times += 1;
            answer(&self.client, &write, text.into()).await;
            self.ended.fetch_add(usize::from(*times == UNSURE.len()), Ordering::SeqCst);
        }
    }

    async fn meet(&mut self, write: &Message, headers: HeaderMap) -> Fate {
        let fate = (self.fates)(&serde_json::from_slice(&write.payload).unwrap());
        if fate != Fate::Lost {
            let said = store(&self.client, write, headers).await;
            match fate {
                Fate::Told => answer(&self.client, write, said).await,
                Fate::Overtaken => drop(store(&self.client, write, HeaderMap::new()).await),
                Fate::Lost | Fate::Unheard => {}
            }
        }
        fate
    }
}

async fn answer(client: &Client, write: &Message, text: Vec<u8>) {
    client.publish(write.reply.clone().unwrap(), text.into()).await.unwrap();
}

/// What the stream says of it.
async fn store(client: &Client, write: &Message, headers: HeaderMap) -> Vec<u8> {
    let subject = write.subject.replacen("$KV.BUDGETS", "kept", 1);
    let asked = client.request_with_headers(subject, headers, write.payload.clone());
    asked.await.unwrap().payload.into()
}

/// This becomes of the first write in which something is spent.
fn of_the_first_settlement(fate: Fate) -> impl FnMut(&Value) -> Fate + Send {
    let mut fates = Some(fate);
    move |account| {
        let spent = account["total"].as_u64().is_some_and(|total| total > 0);
        if spent { fates.take().unwrap_or(Fate::Told) } else { Fate::Told }
    }
}

async fn spent(world: &Guarded) -> (u64, u64) {
    let spending = world.spending("tenant", "acme").await;
    (spending.spent_nanos, spending.reserved_nanos)
}

async fn a_settlement_that_nobody_can_tell_of_counts_once(fate: Fate) {
    let world = Guarded::start().await;
    let _service = world.serve(&[LONG]).await;
    world.allow(budget("acme", 10 * COST)).await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    let bucket = Bucket::play(&world.nats, of_the_first_settlement(fate)).await;
    world.agent.request_within(&small("acme", "k1"), DEADLINE).await.unwrap();
    bucket.ended(1).await;
    // For the reservation, by the bus to see whose the last write is, and for the next try.
    bucket.read(3).await;
    assert_eq!(spent(&world).await, (COST, 0));
    world.agent.request_within(&small("acme", "k2"), DEADLINE).await.unwrap();
    world.spends("acme", 2 * COST).await;
}

#[tokio::test]
async fn a_settlement_that_was_written_and_overtaken_before_anybody_knew_counts_once() {
    a_settlement_that_nobody_can_tell_of_counts_once(Fate::Overtaken).await;
}

#[tokio::test]
async fn a_settlement_that_was_not_written_although_nobody_knew_counts_once() {
    a_settlement_that_nobody_can_tell_of_counts_once(Fate::Lost).await;
}

#[tokio::test]
async fn a_process_that_ends_between_a_settlement_and_its_acknowledgement_has_counted_it_once() {
    let world = Guarded::start().await;
    let service = world.serve(&[]).await;
    world.allow(budget("acme", 10 * COST)).await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    let bucket = Bucket::play(&world.nats, of_the_first_settlement(Fate::Unheard)).await;
    world.agent.request_within(&small("acme", "k1"), DEADLINE).await.unwrap();
    bucket.ended(1).await;
    service.crash();
    let _service = world.serve(&[]).await;
    assert_eq!(spent(&world).await, (COST, 0));
    let again = world.agent.request_within(&small("acme", "k1"), DEADLINE).await.unwrap();
    assert!(again.replayed, "it was recorded");
    world.agent.request_within(&small("acme", "k2"), DEADLINE).await.unwrap();
    world.spends("acme", 2 * COST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reply_counts_once_over_two_replicas_half_of_whose_writes_nobody_can_tell_of() {
    const CALLS: usize = 24;
    let world = Guarded::start().await;
    let first = world.serve(&[LONG]).await;
    world.allow(budget("acme", 100 * COST)).await;
    let second = world.serve(&[LONG]).await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    let mut writes = 0..;
    let bucket = Bucket::play(&world.nats, move |_| match writes.next().unwrap() {
        // At the end all goes well, so that there is an end.
        60.. => Fate::Told,
        write if write % 4 == 1 => Fate::Overtaken,
        write if write % 4 == 3 => Fate::Lost,
        _ => Fate::Told,
    })
    .await;
    let asked = (0..CALLS).map(|at| {
        let request =
            CompleteRequest { unrecorded: at % 2 == 0, ..small("acme", &format!("k{at}")) };
        let agent = world.agent.clone();
        async move {
            // What could not be reserved is asked for again, under the same key.
            loop {
                match agent.request_within(&request, DEADLINE).await {
                    Err(fault) if fault.code == Code::Unavailable => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    answer => return answer,
                }
            }
        }
    });
    let answers = tokio::time::timeout(2 * DEADLINE, join_all(asked)).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(world.model.requests().len(), CALLS, "nothing is paid twice");
    let all = (CALLS as u64 * COST, 0);
    eventually(DEADLINE, "everything is settled", || async {
        // Who looks may meet a write that goes wrong.
        let request = GetAllowanceRequest { kind: "tenant".into(), name: "acme".into() };
        let found = world.gateway.request_within(&request, DEADLINE).await;
        let spending = found.ok().and_then(|allowance| allowance.spending);
        spending.is_some_and(|found| (found.spent_nanos, found.reserved_nanos) == all)
    })
    .await;
    bucket.ended(1).await;
    // They end when they have written all that they had to write.
    assert!(first.stop().await && second.stop().await, "they end well");
    let _third = world.serve(&[LONG]).await;
    assert_eq!(spent(&world).await, all);
}
