//! What the bus counts can be seen.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use muster_bus::{Delivery, Routes};
use muster_contracts::Fault;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_testkit::{NatsServer, eventually};

use crate::{command, connect, id, serve};

#[tokio::test]
async fn a_consumer_counts_what_became_of_its_messages() {
    // On this thread, where the tasks of this test run: others of the process have figures of their own.
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let nats = NatsServer::start().await;
    let (publisher, bus) = (connect(&nats, "orchestration").await, connect(&nats, "tool").await);
    let handle = |(), _: Delivery<ToolExecutionRequested>| async { Ok::<(), Fault>(()) };
    let _serving = serve(&bus, Routes::new(()).on(handle));
    publisher.publish(&command("k"), &id("k")).await.unwrap();
    let done = "messaging_client_consumed_messages_total{service=\"tool\",stream=\"EXECUTIONS\",consumer=\"tool-tool-execution-requested\",outcome=\"done\"}";
    eventually(Duration::from_secs(60), "a message is counted", || async {
        let text = figures.render();
        if text.contains(done) { Ok(()) } else { Err(text) }
    })
    .await;
    let text = figures.render();
    for name in [
        "messaging_process_duration_seconds",
        "muster_bus_connections_total{service=\"tool\"}",
        "muster_bus_connected{service=\"tool\"} 1",
    ] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
}
