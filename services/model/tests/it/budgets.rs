//! Budgets and limits: exact, over replicas and crashes.

use std::time::Duration;

use futures::future::join_all;
use muster_contracts::Code;
use muster_contracts::gateway::v1::{BudgetExceeded, LlmResponse, RateLimitExceeded};
use muster_contracts::llm::v1::{CompleteRequest, Parameters};
use muster_contracts::model::v1::{Allowance, ModelDefinition, ModelTarget, PutModelRequest};
use muster_testkit::{Answer, Breakage, eventually};

use crate::guarded::{COST, DEADLINE, Guarded, budget, small};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_at_once_over_two_replicas_spend_exactly_what_the_budget_has() {
    const CALLS: usize = 1_000;
    const PAID: u64 = 137;
    let world = Guarded::start().await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    // Leases are long here: a machine that is busy must not look like one that is gone.
    let settings = [("MUSTER_RESERVATION_SECONDS", "600")];
    let _first = world.serve(&settings).await;
    world.allow(budget("acme", PAID * COST + COST - 1)).await;
    let _second = world.serve(&settings).await;
    let asked = (0..CALLS).map(|at| {
        // Half of them as the gateway asks, without a record.
        let request =
            CompleteRequest { unrecorded: at % 2 == 0, ..small("acme", &format!("k{at}")) };
        let agent = world.agent.clone();
        async move { agent.request_within(&request, Duration::from_secs(120)).await }
    });
    let answers = join_all(asked).await;
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(refused.iter().all(|fault| fault.code == Code::Exhausted), "{:?}", refused.first());
    assert_eq!(answers.len() - refused.len(), PAID as usize);
    assert_eq!(world.model.requests().len(), PAID as usize);
    let told = &refused[0].message;
    assert!(told.contains("the budget of tenant/acme is $0.00137"), "{told}");
    world.spends("acme", PAID * COST).await;
    let events = world.told("gateway.budget.exceeded", CALLS - PAID as usize).await;
    let event: BudgetExceeded = events[0].decode().unwrap();
    assert_eq!((event.owner.as_str(), event.tenant.as_str()), ("tenant/acme", "acme"));
    assert!((event.wanted - 0.000_01).abs() < 1e-12, "{event:?}");
    // What is left is not enough for another one, and a reply that was paid is still there.
    let fault = world.agent.request_within(&small("acme", "more"), DEADLINE).await.unwrap_err();
    assert_eq!((fault.code, fault.retry_after_ms), (Code::Exhausted, None), "{fault}");
    assert_eq!(fault.details["spent_nanos"], PAID * COST);
    let paid = (0..CALLS).find(|at| at % 2 == 1 && answers[*at].is_ok());
    if let Some(at) = paid {
        let again = small("acme", &format!("k{at}"));
        assert!(world.agent.request_within(&again, DEADLINE).await.unwrap().replayed);
    }
    world.spends("acme", PAID * COST).await;
}

#[tokio::test]
async fn what_a_crashed_process_had_reserved_is_its_successors_or_free_again() {
    let world = Guarded::start().await;
    let service = world.serve(&[]).await;
    world.allow(budget("acme", COST)).await;
    world.model.push(Answer::text("never heard").pause(Duration::from_secs(3_600)));
    let first = CompleteRequest { unrecorded: true, ..small("acme", "k1") };
    let asking = tokio::spawn({
        let (agent, first) = (world.agent.clone(), first.clone());
        async move { agent.request_within(&first, DEADLINE).await }
    });
    eventually(DEADLINE, "the provider is asked", || {
        std::future::ready(!world.model.requests().is_empty())
    })
    .await;
    service.crash();
    asking.abort();
    let service = world.serve(&[("MUSTER_RESERVATION_SECONDS", "600")]).await;
    // A second try with the same key takes the reservation over: nothing else would fit the budget.
    world.model.push(Answer::text("heard").usage(3, 4).pause(Duration::from_millis(1)));
    assert_eq!(world.agent.request_within(&first, DEADLINE).await.unwrap().cost_nanos, 8_000);
    world.spends("acme", 8_000).await;
    // Without a second try it lapses.
    world.allow(budget("acme", 8_000 + COST)).await;
    assert!(service.stop().await);
    let service = world.serve(&[]).await;
    world.model.push(Answer::text("never heard").pause(Duration::from_secs(3_600)));
    let asking = tokio::spawn({
        let (agent, request) = (world.agent.clone(), small("acme", "k2"));
        async move { agent.request_within(&request, DEADLINE).await }
    });
    eventually(DEADLINE, "something is reserved", || async {
        world.spending("tenant", "acme").await.reserved_nanos == COST
    })
    .await;
    service.crash();
    asking.abort();
    let _service = world.serve(&[]).await;
    world.spends("acme", 8_000).await;
}

#[tokio::test]
async fn a_failed_call_costs_nothing_and_a_cancelled_stream_what_came_of_it() {
    let world = Guarded::start().await;
    let _service = world.serve(&[]).await;
    world.allow(budget("acme", 10 * COST)).await;
    world.model.push(Answer::failure(400.try_into().unwrap(), "no"));
    let fault = world.agent.request_within(&small("acme", "k1"), DEADLINE).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    world.spends("acme", 0).await;
    world.model.push(Answer::text("twelve chars").cut_after(4));
    world.agent.request_within(&small("acme", "k2"), DEADLINE).await.unwrap_err();
    eventually(DEADLINE, "what was streamed is charged", || async {
        let spending = world.spending("tenant", "acme").await;
        spending.spent_nanos > 0 && spending.reserved_nanos == 0
    })
    .await;
}

#[tokio::test]
async fn the_budget_of_an_execution_is_its_own_and_a_model_without_a_price_may_be_refused() {
    let world = Guarded::start().await;
    let _service = world.serve(&[("MUSTER_UNPRICED_MODELS", "false")]).await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    let of = |execution: &str, key: &str| CompleteRequest {
        execution_id: execution.into(),
        budget_nanos: COST,
        ..small("", key)
    };
    let ask = async |request: CompleteRequest| world.agent.request_within(&request, DEADLINE).await;
    assert!(ask(of("e1", "k1")).await.is_ok());
    let fault = ask(of("e1", "k2")).await.unwrap_err();
    assert!(fault.message.contains("execution/e1"), "{fault}");
    assert!(ask(of("e2", "k3")).await.is_ok());
    let unpriced =
        CompleteRequest { model: "unpriced".into(), provider: "openai".into(), ..of("e3", "k4") };
    let fault = ask(unpriced.clone()).await.unwrap_err();
    assert_eq!(fault.code, Code::Denied, "{fault}");
    assert!(fault.message.contains("\"unpriced\"") && fault.message.contains("MUSTER_PRICES_FILE"));
    let free = ask(CompleteRequest { budget_nanos: 0, ..unpriced }).await.unwrap();
    assert_eq!(free.cost_nanos, 0);
}

#[tokio::test]
async fn a_reply_without_a_limit_is_no_longer_than_what_was_reserved_for_it() {
    /// Of a token that comes out.
    const PRICE: u64 = COST / 5;
    let world = Guarded::start().await;
    let _service = world.serve(&[]).await;
    world.allow(budget("rich", 1_000_000 * PRICE)).await;
    world.allow(budget("poor", 300 * PRICE)).await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 300));
    let ask = async |tenant: &str, key: &str| {
        let request = CompleteRequest { params: None, ..small(tenant, key) };
        world.agent.request_within(&request, DEADLINE).await
    };
    for (tenant, key, longest) in
        [("rich", "k1", Some(4_096)), ("poor", "k2", Some(300)), ("free", "k3", None)]
    {
        ask(tenant, key).await.unwrap();
        let body = world.model.requests().pop().unwrap().body;
        assert_eq!(body["max_tokens"].as_u64(), longest, "{tenant}: {body}");
    }
    // It has got all that was left, and the next one nothing.
    world.spends("poor", 300 * PRICE).await;
    let fault = ask("poor", "k4").await.unwrap_err();
    assert_eq!((fault.code, fault.retry_after_ms), (Code::Exhausted, None), "{fault}");
    assert_eq!(fault.details["wanted_nanos"], 256 * PRICE);
    world.spends("poor", 300 * PRICE).await;
}

#[tokio::test]
async fn what_an_earlier_try_has_cost_is_not_there_for_the_next_one() {
    /// Of a token that comes out.
    const PRICE: u64 = COST / 5;
    let world = Guarded::start().await;
    let _service = world.serve(&[]).await;
    let target = ModelTarget { provider: "openai".into(), ..Default::default() };
    let again = ModelDefinition {
        name: "again".into(),
        targets: vec![target],
        retries: Some(1),
        ..Default::default()
    };
    let put = PutModelRequest { definition: Some(again) };
    world.gateway.request_within(&put, DEADLINE).await.unwrap();
    // Four tokens come, and the next try is asked for a whole reply.
    let cut = || Answer::text("one two three four").break_after(5, Breakage::End);
    let ask = async |tenant: &str, key: &str, params: Option<Parameters>| {
        world.model.push(cut()).push(Answer::text("x").usage(3, 5));
        let request = CompleteRequest { model: "again".into(), params, ..small(tenant, key) };
        world.agent.request_within(&request, DEADLINE).await
    };
    let five = small("", "").params;
    world.allow(budget("rich", 100 * PRICE)).await;
    let reply = ask("rich", "k1", five.clone()).await.unwrap();
    assert_eq!(reply.cost_nanos, 9 * PRICE);
    world.spends("rich", 9 * PRICE).await;
    // Without a limit of its own, what is left says how long the reply may be.
    world.allow(budget("poor", 300 * PRICE)).await;
    ask("poor", "k2", None).await.unwrap();
    let longest: Vec<_> =
        world.model.requests().iter().map(|asked| asked.body["max_tokens"].clone()).collect();
    assert_eq!(longest, [5, 5, 300, 296]);
    world.spends("poor", 9 * PRICE).await;
    world.allow(budget("spent", 6 * PRICE)).await;
    let fault = ask("spent", "k3", five).await.unwrap_err();
    assert_eq!(fault.code, Code::Exhausted, "{fault}");
    assert!(fault.message.contains("the budget of tenant/spent"), "{fault}");
    world.spends("spent", 4 * PRICE).await;
    assert_eq!(world.model.remaining(), 1, "nobody was asked a second time");
    let told = world.told("gateway.llm.response", 5).await;
    let told = told.iter().map(|one| one.decode::<LlmResponse>().unwrap());
    let costs: Vec<_> = told.map(|one| (one.request_id, one.cost_nanos / PRICE)).collect();
    let expected = [("k1", 4), ("k1", 5), ("k2", 4), ("k2", 5), ("k3", 4)];
    assert_eq!(costs, expected.map(|(key, cost)| (key.to_owned(), cost)));
}

#[tokio::test]
async fn each_run_of_an_execution_has_a_budget_of_its_own() {
    let world = Guarded::start().await;
    let _service = world.serve(&[]).await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    let ask = async |run: &str, key: &str| {
        let request = CompleteRequest {
            execution_id: "e1".into(),
            budget_nanos: COST,
            budget_run: run.into(),
            ..small("", key)
        };
        world.agent.request_within(&request, DEADLINE).await
    };
    assert!(ask("e1/r1", "k1").await.is_ok());
    let fault = ask("e1/r1", "k2").await.unwrap_err();
    assert!(fault.message.contains("execution/e1/r1"), "{fault}");
    assert!(ask("e1/r2", "k3").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_per_minute_are_limited_over_replicas_and_say_when_to_come_again() {
    const LIMIT: u32 = 10;
    let world = Guarded::start().await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    let _first = world.serve(&[]).await;
    world.allow(Allowance { requests_per_minute: LIMIT, ..budget("acme", 0) }).await;
    let _second = world.serve(&[]).await;
    let asked = (0..40).map(|at| {
        let (agent, request) = (world.agent.clone(), small("acme", &format!("k{at}")));
        async move { agent.request_within(&request, DEADLINE).await }
    });
    let answers = join_all(asked).await;
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refused.len(), 40 - LIMIT as usize);
    for fault in &refused {
        assert_eq!(fault.code, Code::Exhausted, "{fault}");
        assert!(fault.retry_after_ms.is_some_and(|wait| wait <= 120_000), "{fault:?}");
        assert!(fault.message.contains("tenant/acme has reached its limit of 10 requests"));
    }
    let events = world.told("gateway.rate_limit.exceeded", refused.len()).await;
    let event: RateLimitExceeded = events[0].decode().unwrap();
    assert!(event.owner == "tenant/acme" && event.retry_after > 0.0, "{event:?}");
    assert!(!world.told("gateway.rate_limit.warning", 1).await.is_empty());
    // Nobody else is limited.
    assert!(world.agent.request_within(&small("other", "o"), DEADLINE).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_per_minute_are_limited_over_replicas_and_told() {
    const LIMIT: u32 = 100;
    /// What is reserved for a request: the tokens of its prompt, and 5.
    const RESERVED: usize = 18;
    const USED: usize = 8;
    let world = Guarded::start().await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    let first = world.serve(&[]).await;
    world.allow(Allowance { tokens_per_minute: LIMIT, ..budget("acme", 0) }).await;
    let _second = world.serve(&[]).await;
    let ask = |at: usize| {
        let (agent, request) = (world.agent.clone(), small("acme", &format!("k{at}")));
        async move { agent.request_within(&request, DEADLINE).await }
    };
    let answers = join_all((0..40).map(ask)).await;
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    let admitted = answers.len() - refused.len();
    assert!((LIMIT as usize / RESERVED..=LIMIT as usize / USED).contains(&admitted), "{admitted}");
    for fault in &refused {
        assert_eq!(fault.code, Code::Exhausted, "{fault}");
        assert!(fault.retry_after_ms.is_some_and(|wait| (1..=120_000).contains(&wait)));
        assert!(
            fault.message.contains("tenant/acme has reached its limit of 100 tokens per minute")
        );
    }
    assert_eq!(world.model.requests().len(), admitted, "no provider was asked for the others");
    let events = world.told("gateway.rate_limit.exceeded", refused.len()).await;
    for event in events {
        let event: RateLimitExceeded = event.decode().unwrap();
        assert!(event.owner == "tenant/acme" && event.retry_after > 0.0, "{event:?}");
    }
    // What both used together is known to the one that is left.
    assert!(first.stop().await, "it ends well");
    let mut more = 0;
    while ask(100 + more).await.is_ok() {
        more += 1;
        assert!(more < 40, "the limit is forgotten");
    }
    // One after the other takes less at a time than what counts as near the limit, so that is told before it is reached.
    world.allow(Allowance { tokens_per_minute: 4 * LIMIT, ..budget("near", 0) }).await;
    let mut count = 0;
    while world.agent.request_within(&small("near", &format!("n{count}")), DEADLINE).await.is_ok() {
        count += 1;
        assert!(count < 1_000, "there is no limit");
    }
    assert!(!world.told("gateway.rate_limit.warning", 1).await.is_empty());
    // Nobody else is limited.
    assert!(world.agent.request_within(&small("other", "o"), DEADLINE).await.is_ok());
}
