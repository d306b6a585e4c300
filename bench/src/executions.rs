//! Executions of a three-step workflow of local tool calls, from REST to result.

use std::time::Duration;

use serde_json::json;

use crate::cpu::Cpu;
use crate::platform::Platform;
use crate::report::Report;
use crate::starting::Starting;
use crate::timing::run;

const CONCURRENCY: [usize; 4] = [1, 16, 64, 256];
const TIME: Duration = Duration::from_secs(6);

const WORKFLOW: &str = "
document: {dsl: '1.0.3', namespace: bench, name: three-steps, version: '1.0.0'}
do:
- one: {call: tool, with: {tool: echo, arguments: {value: '${ .n }'}}}
- two: {call: tool, with: {tool: echo, arguments: {value: '${ . }'}}}
- three: {call: tool, with: {tool: echo, arguments: {value: '${ . }'}}}
";

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let platform = Platform::start(&[]).await?;
    platform.put_workflow(WORKFLOW).await?;
    let body = json!({ "workflow": "three-steps", "input": { "n": 7 } });
    let starting = Starting::new(&platform, &body)?;
    for _ in 0..20 {
        starting.run().await?;
    }
    for concurrency in CONCURRENCY {
        let starting = starting.clone();
        platform.until_logged().await?;
        let before = Cpu::now();
        let measured = run(concurrency, TIME, move |_| {
            let starting = starting.clone();
            async move { starting.run().await }
        })
        .await?;
        report.add(format!("three_step_executions_c{concurrency}"), measured.per_second, "1/s");
        if concurrency == 256 {
            platform.behind(report, "three_step_executions_c256", &measured, before).await?;
        }
        if concurrency == 1 {
            report.add("three_step_p50_ms".to_owned(), measured.latency_ms(0.5), "ms");
        }
    }
    Ok(())
}
