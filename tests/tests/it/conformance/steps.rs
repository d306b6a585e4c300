//! What the steps of the features mean.

use muster_testkit::WebServer;
use serde_json::{Map, Value, json};

use super::gherkin::Step;
use crate::platform::{Platform, read};

/// One scenario on its way.
pub(super) struct World<'p> {
    platform: &'p Platform,
    web: &'p WebServer,
    definition: String,
    input: Option<Value>,
    /// The state of the execution at its end.
    execution: Value,
}

type Checked = Result<(), String>;

impl<'p> World<'p> {
    pub(super) fn new(platform: &'p Platform, web: &'p WebServer) -> Self {
        Self { platform, web, definition: String::new(), input: None, execution: Value::Null }
    }

    /// Does what a step says, or checks it.
    pub(super) async fn take(&mut self, step: &Step) -> Checked {
        let document = || step.document.as_deref().ok_or("a text is missing");
        match step.text.as_str() {
            "a workflow with definition:" => {
                self.definition = document()?.to_owned();
                Ok(())
            }
            "given the workflow input is:" => {
                self.input = Some(yaml(document()?)?);
                Ok(())
            }
            "the workflow is executed" => self.execute().await,
            "the workflow should complete" => self.stands("completed"),
            "the workflow should cancel" => self.stands("cancelled"),
            "the workflow should fault" => self.stands("faulted"),
            "the workflow should complete with output:" => {
                self.stands("completed")?;
                same("the output", &self.execution["output"], &yaml(document()?)?)
            }
            "the workflow should fault with error:" => {
                self.stands("faulted")?;
                let expected = yaml(document()?)?;
                let expected = expected.as_object().ok_or("the error must be a map")?;
                expected.iter().try_for_each(|(name, value)| {
                    same(&format!("the error's `{name}`"), &self.execution["error"][name], value)
                })
            }
            other => match other.split_once(" should run ") {
                Some((task, place)) => self.ran(task, place),
                None => self.output(other, step.document.as_deref()),
            },
        }
    }

    async fn execute(&mut self) -> Checked {
        // The public servers are a local one here.
        let definition = self.web.redirected(&self.definition);
        let (status, workflow) = self.platform.put_yaml("/v1/workflows", definition).await;
        if !status.is_success() {
            return Err(format!("{status} {}", workflow["detail"]));
        }
        let mut start = json!({"workflow": workflow["name"], "version": workflow["version"]});
        if let Some(input) = &self.input {
            start["input"] = input.clone();
        }
        let request = self
            .platform
            .client
            .post(self.platform.url("/v1/executions"))
            .header("Prefer", "wait=120")
            .json(&start);
        let (status, execution) =
            read(request.send().await.map_err(|error| error.to_string())?).await;
        if status != 200 {
            return Err(format!("it did not end in time: {status} {execution}"));
        }
        self.execution = execution;
        Ok(())
    }

    fn stands(&self, expected: &str) -> Checked {
        let status = &self.execution["status"];
        if status == expected {
            return Ok(());
        }
        Err(format!("it is {status}: {}", self.execution["error"]))
    }

    /// What is said of properties of the output.
    fn output(&self, step: &str, document: Option<&str>) -> Checked {
        let unknown = || format!("nobody knows the step `{step}`");
        if let Some(names) = step.strip_prefix("the workflow output should have properties ") {
            return names.split(',').try_for_each(|name| self.property(quoted(name)?).map(drop));
        }
        let step_without =
            step.strip_prefix("the workflow output should have a ").ok_or_else(unknown)?;
        let (name, rest) = step_without.split_once(" property ").ok_or_else(unknown)?;
        let value = self.property(quoted(name)?)?;
        if rest == "with value:" {
            return same(name, value, &yaml(document.ok_or("a text is missing")?)?);
        }
        let count = rest.strip_prefix("containing ").and_then(|rest| rest.strip_suffix(" items"));
        let count: usize = count.and_then(|count| count.parse().ok()).ok_or_else(unknown)?;
        match value.as_array() {
            Some(items) if items.len() == count => Ok(()),
            _ => Err(format!("{name} is {value}, not a list of {count}")),
        }
    }

    fn property(&self, path: &str) -> Result<&Value, String> {
        let output = &self.execution["output"];
        let found = path.split('.').try_fold(output, |value, name| value.get(name));
        found.ok_or_else(|| format!("`{path}` is not in {output}"))
    }

    fn ran(&self, task: &str, place: &str) -> Checked {
        let tasks = self.execution["tasks"].as_array().ok_or("there are no tasks")?;
        let names: Vec<&str> = tasks.iter().filter_map(|task| task["name"].as_str()).collect();
        let holds = match place.split_once(' ') {
            None if place == "first" => names.first() == Some(&task),
            None if place == "last" => names.last() == Some(&task),
            Some(("after", other)) => at(&names, other)? < at(&names, task)?,
            Some(("before", other)) => at(&names, task)? < at(&names, other)?,
            _ => return Err(format!("nobody knows the place `{place}`")),
        };
        if holds { Ok(()) } else { Err(format!("they ran in the order {names:?}")) }
    }
}

fn at(names: &[&str], name: &str) -> Result<usize, String> {
    let found = names.iter().position(|other| *other == name);
    found.ok_or_else(|| format!("`{name}` did not run, only {names:?}"))
}

fn quoted(name: &str) -> Result<&str, String> {
    let name = name.trim();
    let inside = name.strip_prefix('\'').and_then(|name| name.strip_suffix('\''));
    inside.ok_or_else(|| format!("{name} must stand in single quotes"))
}

fn yaml(text: &str) -> Result<Value, String> {
    serde_yaml_ng::from_str(text).map_err(|error| format!("{error} in {text}"))
}

/// Numbers are the same where they mean the same.
fn same(what: &str, is: &Value, expected: &Value) -> Checked {
    if plain(is) == plain(expected) {
        Ok(())
    } else {
        Err(format!("{what} is {is}, not {expected}"))
    }
}

fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(map) => Value::Object(
            map.iter().map(|(key, value)| (key.clone(), plain(value))).collect::<Map<_, _>>(),
        ),
        other => other.clone(),
    }
}
