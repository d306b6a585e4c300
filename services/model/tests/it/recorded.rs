//! A paid reply is bought once.

use std::time::Duration;

use futures::future::join_all;
use muster_contracts::llm::v1::CompleteRequest;
use muster_testkit::{Answer, eventually};

use crate::{World, ask, connect, request, serve};

#[tokio::test]
async fn fifty_requests_with_one_key_over_two_replicas_buy_one_reply() {
    let world = World::start().await;
    let _second = serve(&world.nats, world.model.base_url());
    world.model.respond_with(|_| Answer::text("one two three").pause(Duration::from_millis(20)));
    let request = request("k1");
    let replies = join_all((0..50).map(|_| world.ask(&request))).await;
    let replies: Vec<_> = replies.into_iter().map(Result::unwrap).collect();
    assert_eq!(world.model.requests().len(), 1);
    assert_eq!(replies.iter().filter(|reply| !reply.replayed).count(), 1);
    assert!(replies.iter().all(|reply| reply.message == replies[0].message));
}

#[tokio::test]
async fn a_reply_outlives_the_process_that_bought_it() {
    let mut world = World::start().await;
    world.model.push(Answer::text("bought"));
    let first = world.ask(&request("k1")).await.unwrap();
    world.service.take().unwrap().crash();
    let _service = serve(&world.nats, world.model.base_url());
    let second = ask(&connect(&world.nats).await, &request("k1")).await.unwrap();
    assert_eq!((first.replayed, second.replayed), (false, true));
    assert_eq!(first.message, second.message);
    assert_eq!(world.model.requests().len(), 1);
}

#[tokio::test]
async fn a_process_that_dies_while_it_buys_is_replaced() {
    let mut world = World::start().await;
    world.model.push(Answer::text("never heard").pause(Duration::from_secs(3_600)));
    world.model.push(Answer::text("heard"));
    let asking = tokio::spawn({
        let (bus, request) = (world.bus.clone(), request("k1"));
        async move { ask(&bus, &request).await }
    });
    eventually(Duration::from_secs(60), "the provider is asked", || {
        std::future::ready(!world.model.requests().is_empty())
    })
    .await;
    world.service.take().unwrap().crash();
    let _service = serve(&world.nats, world.model.base_url());
    let request = CompleteRequest { session: String::new(), ..request("k1") };
    let reply = ask(&world.bus, &request).await.unwrap();
    assert_eq!(reply.message.unwrap().content, "heard");
    asking.abort();
}
