//! What the process counts and measures, as Prometheus reads it.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::warn;

/// Upper bounds of durations in seconds, from a key-value read to a model's turn.
const BOUNDS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];
/// How often what was measured is summed up; until then each value takes a place in memory.
const SUM_UP_EVERY: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to keep what is measured. Nothing measured before is seen.
pub(crate) fn start() -> Option<&'static PrometheusHandle> {
    let recorder = RECORDER.get_or_init(|| match install() {
        Ok(handle) => Some(handle),
        Err(error) => {
            warn!(%error, "nothing will be measured");
            None
        }
    });
    recorder.as_ref()
}

/// Everything as text, for `/metrics`.
pub(crate) fn text() -> String {
    start().map(PrometheusHandle::render).unwrap_or_default()
}

/// Sums up for ever.
pub(crate) async fn keep() {
    loop {
        tokio::time::sleep(SUM_UP_EVERY).await;
        if let Some(recorder) = start() {
            recorder.run_upkeep();
        }
    }
}

fn install() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BOUNDS)
        .map_err(|error: BuildError| anyhow::anyhow!(error))?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|_taken| anyhow::anyhow!("another recorder is installed already"))?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_told_with_its_labels_and_durations_in_buckets() {
        start();
        metrics::counter!("muster_test_total", "service" => "tool").increment(2);
        metrics::histogram!("muster_test_seconds").record(0.003);
        let text = text();
        assert!(text.contains("muster_test_total{service=\"tool\"} 2"), "{text}");
        assert!(text.contains("muster_test_seconds_bucket{le=\"0.005\"} 1"), "{text}");
    }
}
