//! The engine: workflows without calls from REST to result, and what a long execution costs by itself.
//!
//! The engine's own figures are made in memory: `transition_us_at_N` decides one transition of a loop of calls and writes its journal entry, when N
//! transitions are behind; `replay_10k_events_ms` reads 10,000 such entries from their JSON and makes the state.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::Utc;
use muster_contracts::Json;
use muster_contracts::workflow::v1::JournalEntry;
use muster_workflow::{Definition, Effect, Execution, Fact, Input, effects};
use serde_json::json;

use crate::report::Report;
use crate::timing::median;

#[cfg(feature = "platform")]
const SET_ONLY: &str = "
document: {dsl: '1.0.3', namespace: bench, name: set-only, version: '1.0.0'}
do:
- one: {set: {n: '${ .n + 1 }'}}
- two: {set: {n: '${ .n * 2 }'}}
- three: {set: {result: '${ .n }'}}
";
/// Ten thousand calls, one after the other.
const LOOP: &str = "
document: {dsl: '1.0.3', namespace: bench, name: long, version: '1.0.0'}
do:
- all:
    for: {each: n, in: '[range(10000)]'}
    do:
    - ask: {call: tool, with: {tool: echo, arguments: {n: '${ $n }'}}, output: {as: '${ {n: .n} }'}}
";
/// Where the cost of a transition is measured.
const PLACES: [usize; 4] = [10, 100, 1_000, 9_990];
/// Over how many transitions it is measured.
const WIDTH: usize = 10;

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    engine(report)?;
    #[cfg(feature = "platform")]
    set_only(report).await?;
    Ok(())
}

#[cfg(feature = "platform")]
async fn set_only(report: &mut Report) -> anyhow::Result<()> {
    use crate::cpu::Cpu;
    use crate::platform::Platform;
    use crate::starting::Starting;
    use crate::timing::run;
    const TIME: Duration = Duration::from_secs(6);

    let platform = Platform::start(&[]).await?;
    platform.put_workflow(SET_ONLY).await?;
    let body = json!({ "workflow": "set-only", "input": { "n": 7 } });
    let starting = Starting::new(&platform, &body)?;
    for _ in 0..20 {
        starting.run().await?;
    }
    let before = Cpu::now();
    let measured = run(256, TIME, move |_| {
        let starting = starting.clone();
        async move { starting.run().await }
    })
    .await?;
    report.add("set_only_executions_c256".to_owned(), measured.per_second, "1/s");
    platform.behind(report, "set_only_executions_c256", &measured, before).await?;
    Ok(())
}

fn engine(report: &mut Report) -> anyhow::Result<()> {
    let definition = Arc::new(Definition::parse(LOOP)?);
    let mut places: Vec<(usize, Vec<f64>)> = PLACES.map(|place| (place, Vec::new())).into();
    let mut replays = Vec::new();
    for _round in 0..5 {
        let (journal, times) = live(&definition)?;
        for (place, found) in &mut places {
            let part = times.iter().skip(*place).take(WIDTH).map(|time| time.as_secs_f64() * 1e6);
            found.push(median(part.collect()));
        }
        let begun = Instant::now();
        let execution = replay(&journal, &definition)?;
        replays.push(begun.elapsed().as_secs_f64() * 1e3);
        black_box(execution.status());
    }
    for (place, found) in places {
        // The last place is at the end of the loop.
        let name = if place > 9_000 { 10_000 } else { place };
        report.add(format!("transition_us_at_{name}"), median(found), "us");
    }
    report.add("replay_10k_events_ms".to_owned(), median(replays), "ms");
    Ok(())
}

/// Runs the loop: its journal as JSON, and what each transition took.
fn live(definition: &Arc<Definition>) -> anyhow::Result<(Vec<Vec<u8>>, Vec<Duration>)> {
    let mut execution = Execution::new("execution-1", definition.clone());
    let (mut journal, mut times) = (Vec::new(), Vec::new());
    let mut input = Input::Start { input: json!({ "n": 0 }) };
    loop {
        let begun = Instant::now();
        let facts = execution.advance(&input, Utc::now());
        let entry = write(&facts)?;
        times.push(begun.elapsed());
        journal.push(entry);
        let call = effects(&facts).into_iter().find_map(|effect| match effect {
            Effect::Call { task, arguments, .. } => Some((task, arguments)),
            _ => None,
        });
        match call {
            Some((task, arguments)) => {
                let output = arguments.get("arguments").cloned().unwrap_or_default();
                input = Input::Completed { task, output };
            }
            None => break,
        }
    }
    anyhow::ensure!(execution.status().is_ended(), "the loop did not end");
    Ok((journal, times))
}

fn write(facts: &[Fact]) -> anyhow::Result<Vec<u8>> {
    let facts = facts.iter().map(|fact| serde_json::to_value(fact).map(Json));
    let entry = JournalEntry {
        execution_id: "execution-1".to_owned(),
        input_id: "0123456789abcdef0123456789abcdef".to_owned(),
        facts: facts.collect::<Result<_, _>>()?,
        ..Default::default()
    };
    serde_json::to_vec(&entry).context("an entry is JSON")
}

fn replay(journal: &[Vec<u8>], definition: &Arc<Definition>) -> anyhow::Result<Execution> {
    let mut execution = Execution::new("execution-1", definition.clone());
    for entry in journal {
        let entry: JournalEntry = serde_json::from_slice(entry)?;
        for fact in entry.facts {
            execution.apply(&serde_json::from_value(fact.0)?);
        }
    }
    Ok(execution)
}
