//! How fast something is when so many do it at the same time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cpu::Cpu;

/// What a measurement found.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    /// Processor time of all of it.
    pub(crate) cpu: Cpu,
    /// Every latency in milliseconds, in order of size.
    latencies: Vec<f64>,
}

impl Measured {
    /// How often it was done.
    pub(crate) fn count(&self) -> f64 {
        self.latencies.len() as f64
    }

    /// The latency that this part of all is below; 0.5 is the median.
    pub(crate) fn latency_ms(&self, part: f64) -> f64 {
        let index = ((self.latencies.len() as f64 - 1.0) * part).round() as usize;
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

/// Runs `task` by `concurrency` workers for `time`.
pub(crate) async fn run<F, T>(
    concurrency: usize,
    time: Duration,
    task: F,
) -> anyhow::Result<Measured>
where
    F: Fn(u64) -> T + Clone + Send + 'static,
    T: Future<Output = anyhow::Result<()>> + Send,
{
    let cpu = Cpu::now();
    let (count, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (task, count) = (task.clone(), count.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < time {
                    let begun = Instant::now();
                    task(count.fetch_add(1, Ordering::Relaxed)).await?;
                    latencies.push(begun.elapsed().as_secs_f64() * 1000.0);
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    Ok(Measured { per_second: latencies.len() as f64 / seconds, cpu: Cpu::now() - cpu, latencies })
}

/// Processor time of all rounds together, and how often it was done in them.
pub(crate) fn together(rounds: &[Measured]) -> (Cpu, f64) {
    rounds.iter().fold((Cpu::default(), 0.0), |(mut cpu, count), round| {
        cpu += round.cpu;
        (cpu, count + round.count())
    })
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
