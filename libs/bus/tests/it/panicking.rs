//! A panic, wherever it is, is answered at once and counted, and the service goes on.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use muster_bus::{Bus, Delivery, Routes, Settings};
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::workflow::v1::{ExecutionState, GetExecutionRequest};
use muster_contracts::{Code, Fault};
use muster_testkit::{NatsServer, eventually};

use crate::{command, connect, connect_freely, id, serve};

const PATIENCE: Duration = Duration::from_secs(60);

/// Panics before there is a future at all, as the arguments of one may.
fn answer(
    _app: (),
    request: GetExecutionRequest,
) -> impl Future<Output = Result<ExecutionState, Fault>> {
    match request.execution_id.as_str() {
        "panic" => panic!("as a bug would"),
        // Then the next ones get tasks of their own.
        "busy" => std::thread::sleep(Duration::from_millis(5)),
        _ => {}
    }
    async move {
        assert_ne!(request.execution_id, "later", "as a bug would");
        Ok(ExecutionState { execution_id: request.execution_id, ..Default::default() })
    }
}

async fn ask(bus: &Bus, id: &str) -> Result<ExecutionState, Fault> {
    bus.request_within(&GetExecutionRequest { execution_id: id.into() }, PATIENCE).await
}

#[tokio::test]
async fn a_panic_outside_of_the_handlers_future_is_answered_wherever_it_runs() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let nats = NatsServer::start().await;
    let bus = connect_freely(&nats, "orchestration").await;
    let _serving = serve(&bus, Routes::new(()).rpc(answer));
    eventually(PATIENCE, "the service answers", || ask(&bus, "e1")).await;
    let internal = Fault::new(Code::Internal, "internal error");
    for request in ["panic", "later"] {
        assert_eq!(ask(&bus, request).await, Err(internal.clone()));
    }
    assert!(ask(&bus, "busy").await.is_ok());
    for request in ["panic", "later"] {
        assert_eq!(ask(&bus, request).await, Err(internal.clone()));
    }
    assert_eq!(ask(&bus, "e1").await.unwrap().execution_id, "e1");
    let counted = "muster_bus_panics_total{service=\"orchestration\",handler=\"get-execution\"} 4";
    assert!(figures.render().contains(counted), "{}", figures.render());
}

fn handle(
    tries: Arc<AtomicU32>,
    _delivery: Delivery<ToolExecutionRequested>,
) -> impl Future<Output = Result<(), Fault>> {
    let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
    assert!(!first, "as a bug would");
    std::future::ready(Ok(()))
}

#[tokio::test]
async fn a_message_whose_handler_panics_is_tried_again_without_waiting_for_the_broker() {
    let nats = NatsServer::start().await;
    let publisher = connect(&nats, "orchestration").await;
    // The broker would deliver it again after an hour.
    let settings = Settings { ack_wait: Duration::from_secs(3600), ..nats.settings("tool") };
    let bus = Bus::open(settings).await.unwrap();
    bus.ready().await;
    let tries = Arc::<AtomicU32>::default();
    let _serving = serve(&bus, Routes::new(tries.clone()).on(handle));
    publisher.publish(&command("a"), &id("a")).await.unwrap();
    eventually(PATIENCE, "it is tried again", || async { tries.load(Ordering::SeqCst) == 2 }).await;
}
