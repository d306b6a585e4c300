//! Results as a table and as JSON.

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use crate::cpu::Cpu;

/// One figure. `ratio` is `value` against `compared_to` in the same run, where there is one.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) compared_to: Option<String>,
    pub(crate) ratio: Option<f64>,
}

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Adds a figure that stands for itself.
    pub(crate) fn add(&mut self, name: String, value: f64, unit: &'static str) {
        self.figures.push(Figure { name, value, unit, compared_to: None, ratio: None });
    }

    /// Adds the processor time (us) of one of `count`: of this process, and of the NATS server.
    pub(crate) fn cpu(&mut self, name: &str, used: Cpu, count: f64) {
        if let Some((own, broker)) = used.micros_for(count) {
            self.add(format!("{name}_cpu_us"), own, "us");
            self.add(format!("{name}_broker_cpu_us"), broker, "us");
        }
    }

    /// Adds the processor time (us) of one, of this process and the NATS server together, with its ratio against another way: what others do on the machine changes it little.
    pub(crate) fn compare_cpu(&mut self, name: &str, ours: (Cpu, f64), raw: (Cpu, f64)) {
        let micros = |(used, count): (Cpu, f64)| used.micros_for(count);
        let (Some((own, broker)), Some((raw_own, raw_broker))) = (micros(ours), micros(raw)) else {
            return;
        };
        let (value, other) = (own + broker, raw_own + raw_broker);
        let against = format!(
            "raw async-nats, {other:.2} us; {own:.2} + {broker:.2} against {raw_own:.2} + {raw_broker:.2} of the server"
        );
        self.figures.push(Figure {
            name: format!("{name}_cpu_us"),
            value,
            unit: "us",
            compared_to: Some(against),
            ratio: Some(value / other),
        });
    }

    /// Adds a rate (1/s) with its ratio against another one.
    pub(crate) fn compare(&mut self, name: String, value: f64, compared_to: &str, ratio: f64) {
        let (compared_to, ratio) = (Some(compared_to.to_owned()), Some(ratio));
        self.figures.push(Figure { name, value, unit: "1/s", compared_to, ratio });
    }

    /// Adds a latency (ms) with its ratio against another one.
    pub(crate) fn compare_ms(&mut self, name: String, value: f64, compared_to: &str, ratio: f64) {
        let (compared_to, ratio) = (Some(compared_to.to_owned()), Some(ratio));
        self.figures.push(Figure { name, value, unit: "ms", compared_to, ratio });
    }

    /// The figures for people.
    pub(crate) fn table(&self) -> String {
        let mut lines = vec![
            "| name | value | unit | ratio | against |".to_owned(),
            "|---|---:|---|---:|---|".to_owned(),
        ];
        lines.extend(self.figures.iter().map(|figure| {
            let ratio = figure.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            let against = figure.compared_to.as_deref().unwrap_or_default();
            let decimals = if figure.value < 100.0 { 2 } else { 0 };
            format!(
                "| {} | {:.decimals$} | {} | {ratio} | {against} |",
                figure.name, figure.value, figure.unit
            )
        }));
        lines.join("\n")
    }

    /// Writes the figures as a list of objects, with the time of each. What this run has not measured stays as it was.
    pub(crate) fn write(&self, path: &str) -> anyhow::Result<()> {
        let folder = std::path::Path::new(path).parent().context("a path with a folder")?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        let earlier = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{path} is no list of figures: remove it"))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("{path} cannot be read")),
        };
        let figures = merged(earlier, &self.figures, &chrono::Utc::now().to_rfc3339())?;
        std::fs::write(path, serde_json::to_string_pretty(&figures)?)
            .with_context(|| format!("{path} cannot be written"))
    }
}

/// The earlier figures with the new ones in their places, and behind them those that were not there.
fn merged(mut figures: Vec<Value>, new: &[Figure], at: &str) -> anyhow::Result<Vec<Value>> {
    for figure in new {
        let mut value = serde_json::to_value(figure)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("measured_at".to_owned(), at.into());
        }
        let same = |known: &&mut Value| {
            known.get("name").and_then(Value::as_str) == Some(figure.name.as_str())
        };
        match figures.iter_mut().find(same) {
            Some(known) => *known = value,
            None => figures.push(value),
        }
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_figures_replaces_its_own_and_leaves_the_others() {
        let mut report = Report::default();
        report.add("a".to_owned(), 1.0, "1/s");
        report.add("b".to_owned(), 2.0, "ms");
        let first = merged(Vec::new(), &report.figures, "monday").unwrap();
        let mut report = Report::default();
        report.add("c".to_owned(), 4.0, "ms");
        report.add("b".to_owned(), 3.0, "ms");
        let second = merged(first, &report.figures, "tuesday").unwrap();
        let told: Vec<_> = second
            .iter()
            .map(|figure| {
                (figure["name"].as_str(), figure["value"].as_f64(), figure["measured_at"].as_str())
            })
            .collect();
        assert_eq!(
            told,
            [
                (Some("a"), Some(1.0), Some("monday")),
                (Some("b"), Some(3.0), Some("tuesday")),
                (Some("c"), Some(4.0), Some("tuesday")),
            ]
        );
    }
}
