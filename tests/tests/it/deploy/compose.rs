//! Reads docker-compose.yml as docker compose does: merges, variables, start order.

use std::collections::{BTreeMap, BTreeSet};

use muster_testkit::repository;
use serde_yaml_ng::Value;

/// What the servers of the file are called; everything else is a service of ours.
const SERVERS: [&str; 2] = ["nats", "postgres"];

pub(super) struct Compose {
    pub(super) services: BTreeMap<String, Container>,
    pub(super) nats: Container,
}

/// One entry below `services`, its variables filled in from `.env.example`.
pub(super) struct Container {
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    /// The command of the health check, without its `CMD`.
    pub(super) health: Vec<String>,
    pub(super) needs: BTreeSet<String>,
}

impl Compose {
    pub(super) fn read() -> Self {
        let dir = repository().join("deploy/compose");
        let example = std::fs::read_to_string(dir.join(".env.example")).unwrap();
        let variables = example.lines().filter_map(|line| line.split_once('=')).collect();
        let text = std::fs::read_to_string(dir.join("docker-compose.yml")).unwrap();
        let mut file: Value = serde_yaml_ng::from_str(&text).unwrap();
        file.apply_merge().unwrap();
        let entries = file["services"].as_mapping().unwrap();
        let mut all: BTreeMap<String, Container> = entries
            .iter()
            .map(|(name, entry)| {
                (name.as_str().unwrap().to_owned(), Container::read(entry, &variables))
            })
            .collect();
        let nats = all.remove("nats").unwrap();
        all.remove("postgres").unwrap();
        Self { services: all, nats }
    }

    /// Every service after those that it needs.
    pub(super) fn start_order(&self) -> Vec<String> {
        let mut order: Vec<String> = Vec::new();
        while order.len() < self.services.len() {
            let ready =
                |name: &str| SERVERS.contains(&name) || order.iter().any(|started| started == name);
            let next = self.services.iter().find(|(name, container)| {
                !order.contains(name) && container.needs.iter().all(|needed| ready(needed))
            });
            let (name, _) =
                next.unwrap_or_else(|| panic!("a circle in depends_on, after {order:?}"));
            order.push(name.clone());
        }
        order
    }
}

impl Container {
    fn read(entry: &Value, variables: &BTreeMap<&str, &str>) -> Self {
        let list = |value: &Value| -> Vec<String> {
            value
                .as_sequence()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let environment =
            entry["environment"].as_mapping().into_iter().flatten().map(|(name, value)| {
                (name.as_str().unwrap().to_owned(), interpolate(value.as_str().unwrap(), variables))
            });
        let needs = entry["depends_on"].as_mapping().into_iter().flatten();
        Self {
            command: list(&entry["command"]),
            environment: environment.collect(),
            health: list(&entry["healthcheck"]["test"]).into_iter().skip(1).collect(),
            needs: needs.map(|(name, _)| name.as_str().unwrap().to_owned()).collect(),
        }
    }
}

/// Fills in `${NAME}`, `${NAME:-default}` and `${NAME:?complaint}`.
fn interpolate(text: &str, variables: &BTreeMap<&str, &str>) -> String {
    let Some((before, rest)) = text.split_once("${") else { return text.to_owned() };
    let (inside, after) = rest.split_once('}').unwrap_or_else(|| panic!("an open ${{ in {text:?}"));
    let (name, otherwise) = inside.split_once(':').unwrap_or((inside, ""));
    let value = variables.get(name).copied().filter(|value| !value.is_empty());
    let value = value.or_else(|| otherwise.strip_prefix('-'));
    let value =
        value.unwrap_or_else(|| panic!(".env.example gives {name} no value, which {text:?} needs"));
    format!("{before}{value}{}", interpolate(after, variables))
}

#[test]
fn variables_are_filled_in_as_docker_compose_does() {
    let variables = BTreeMap::from([("A", "1"), ("EMPTY", "")]);
    for (text, expected) in [
        ("plain", "plain"),
        ("x${A}y", "x1y"),
        ("${A:?set it}:${B:-two}", "1:two"),
        ("${EMPTY:-}", ""),
    ] {
        assert_eq!(interpolate(text, &variables), expected);
    }
}
