//! The pages under `docs/`, taken at their word: their workflows parse, run or are refused, and their commands are answered, as they say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use muster_testkit::{WebServer, eventually};
use muster_workflow::{Definition, Execution, Input, Problem, Status, step};
use serde_json::Value;

use crate::platform::Platform;

const PATIENCE: Duration = Duration::from_secs(60);

/// A fenced block: its language and its text.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
}

impl Block {
    /// What a comment line of the block says about it, such as `# output: {"n": 1}`.
    fn says(&self, what: &str) -> Option<&str> {
        let begin = format!("# {what}: ");
        self.text.lines().find_map(|line| line.strip_prefix(begin.as_str()))
    }

    /// Every comment line of the block that says this.
    fn all_say<'b>(&'b self, what: &str) -> impl Iterator<Item = &'b str> {
        let begin = format!("# {what}: ");
        self.text.lines().filter_map(move |line| line.strip_prefix(begin.as_str()))
    }

    /// The document; a list of tasks gets the frame that the page leaves out.
    fn document(&self) -> String {
        let first = self.text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
        if first.starts_with("- ") {
            let frame = "document: {dsl: '1.0.3', namespace: docs, name: page, version: '1.0.0'}";
            format!("{frame}\ndo:\n{}", self.text)
        } else {
            self.text.clone()
        }
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    let parts = fenced.filter_map(|block| block.split_once('\n'));
    parts
        .map(|(language, text)| Block { language: language.to_owned(), text: text.to_owned() })
        .collect()
}

/// Runs a workflow that calls nothing and waits for nothing but these events.
fn run(definition: Definition, input: Value, events: &[Value]) -> Execution {
    let mut execution = Execution::new("page", Arc::new(definition));
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    for fact in step(&execution, &Input::Start { input }, now) {
        execution.apply(&fact);
    }
    for (position, event) in (1..).zip(events) {
        let heard = Input::Event { task: None, position, event: event.clone() };
        for fact in step(&execution, &heard, now) {
            execution.apply(&fact);
        }
    }
    execution
}

#[test]
fn the_workflows_on_the_page_do_what_it_says() {
    let page = page("workflows.md");
    let mut seen = BTreeMap::<&str, usize>::new();
    for block in blocks(&page).iter().filter(|block| block.language == "yaml") {
        let parsed = Definition::parse(&block.document());
        if let Some(refused) = block.says("refused") {
            let problems = parsed.map(|_| ()).unwrap_err();
            // Of a list of tasks the page leaves out what stands before it, and so the lines say nothing.
            let problem = |problem: &Problem| {
                Problem::new(problem.pointer.as_str(), problem.message.as_str()).to_string()
            };
            let problems: Vec<String> = problems.0.iter().map(problem).collect();
            assert_eq!(problems.join("\n"), refused, "{}", block.text);
            *seen.entry("refused").or_default() += 1;
            continue;
        }
        let definition = parsed.unwrap_or_else(|problems| panic!("{}\n{problems}", block.text));
        let input = block.says("input").map_or(Value::Null, |text| json(text, &block.text));
        if let Some(output) = block.says("output") {
            let hears = block.all_say("hears").map(|text| json(text, &block.text));
            let execution = run(definition, input, &hears.collect::<Vec<_>>());
            assert_eq!(execution.status(), Status::Completed, "{}", block.text);
            assert_eq!(execution.output(), Some(&json(output, &block.text)), "{}", block.text);
            *seen.entry("run").or_default() += 1;
        } else if let Some(error) = block.says("faults") {
            let execution = run(definition, input, &[]);
            let shown = execution.error().map(ToString::to_string);
            assert_eq!(shown.as_deref(), Some(error), "{}", block.text);
            *seen.entry("fault").or_default() += 1;
        } else {
            // Those with an answer run on the platform, behind the commands of the other page.
            *seen.entry("parse").or_default() += 1;
        }
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), ["fault", "parse", "refused", "run"]);
}

#[test]
fn the_table_of_the_specifications_examples_is_true() {
    let page = page("workflows.md");
    let mut rows = BTreeMap::new();
    for line in page.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        if let (Some(name), Some(verdict)) = (cells.next(), cells.next())
            && let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix(".yaml`"))
        {
            rows.insert(name.to_owned(), verdict.to_owned());
        }
    }
    let mut truth = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("libs/workflow/tests/examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        truth.insert(name, verdict(&std::fs::read_to_string(&path).unwrap()));
    }
    let table: Vec<String> =
        truth.iter().map(|(name, verdict)| format!("| `{name}.yaml` | {verdict} |")).collect();
    assert_eq!(rows, truth, "the table should be\n{}", table.join("\n"));
}

/// What the table says of an example: `runs`, or what is not supported in it.
fn verdict(text: &str) -> String {
    let Err(problems) = Definition::parse(text) else { return "runs".to_owned() };
    let mut reasons = BTreeSet::new();
    for problem in &problems.0 {
        let (what, _) = problem.message.split_once(" not supported").unwrap();
        let what = what.trim_end_matches(" is").trim_end_matches(" are");
        let (section, _) = problem.pointer.split_at(problem.pointer.rfind('/').unwrap());
        reasons.insert(match section {
            _ if what.contains("://") => "`call` of a catalogue's function".to_owned(),
            "/use" => what.replacen('`', "`use.", 1),
            _ => what.to_owned(),
        });
    }
    format!("refused: {}", reasons.into_iter().collect::<Vec<_>>().join(", "))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_on_the_page_are_answered_as_it_says() {
    let page = page("rest.md");
    // Where the public servers of the other page's examples are.
    let (server, secrets) = (WebServer::start().await, tempfile::tempdir().unwrap());
    std::fs::write(secrets.path().join("api-token"), "not for everybody").unwrap();
    let settings = [
        ("MUSTER_HTTP_ALLOW", server.address()),
        ("MUSTER_SECRETS_DIR", secrets.path().to_str().unwrap()),
    ];
    let platform = Platform::start_with(&settings).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = String::new();
    let mut told = String::new();
    let mut checked = 0;
    for block in blocks(&page) {
        match block.language.as_str() {
            "sh" => {
                command = patient(&block.text).replace("http://127.0.0.1:8080", &platform.http);
                told = shell(&command, folder.path()).unwrap();
                println!("{command}\n{told}\n");
            }
            "json" | "sse" => {
                // What is read may be a moment behind what was done; what changes something is done once.
                let again = !command.contains("-X ");
                eventually(PATIENCE, "the answer is as the page says", || {
                    if answered(&block, &told).is_err() && again {
                        told = shell(&command, folder.path()).unwrap_or_default();
                    }
                    std::future::ready(answered(&block, &told))
                })
                .await;
                checked += 1;
            }
            _ => {}
        }
    }
    assert!(checked >= 15, "only {checked} answers stand on the page");
    calls_are_answered(&platform, &server).await;
}

/// Runs the workflows of the other page that call something, with the agent and the documents that the commands have made.
async fn calls_are_answered(platform: &Platform, server: &WebServer) {
    let mut called = 0;
    for (index, block) in blocks(&page("workflows.md")).iter().enumerate() {
        let Some(shown) = block.says("answers") else { continue };
        let document = block.document().replace("name: page", &format!("name: page-{index}"));
        let document = server.redirected(&document);
        let workflow = platform.put_workflow(document).await;
        let input = json(block.says("input").unwrap(), &block.text);
        let id = platform.start_execution(&workflow, &input, &workflow).await;
        let state = platform.ended(&id, PATIENCE).await;
        println!("{}\n{}\n", block.text, state["output"]);
        if let Err(reason) = alike(&json(shown, &block.text), &state["output"], "") {
            panic!("{}\n{reason}\n{state}", block.text);
        }
        called += 1;
    }
    assert_eq!(called, 8, "an example for each function");
}

/// Commands that wait for an end as long as a slow machine may take.
pub(crate) fn patient(commands: &str) -> String {
    commands.replace("wait=30", "wait=300").replace("wait=60", "wait=300")
}

/// Runs commands behind those of the blocks before: what they export is kept.
pub(crate) fn shell(commands: &str, folder: &Path) -> Result<String, String> {
    let script = format!("set -eu\nif [ -f env ]; then . ./env; fi\n{commands}\nexport -p > env\n");
    let output = Command::new("sh").arg("-c").arg(script).current_dir(folder).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(told) } else { Err(format!("{commands}\n{told}{complained}")) }
}

/// Whether an answer has everything that the page shows of it.
pub(crate) fn answered(block: &Block, told: &str) -> Result<(), String> {
    if block.language == "json" {
        let shown = json(&block.text, &block.text);
        // Of several answers in a row the last one is shown.
        let answers: Result<Vec<Value>, _> =
            serde_json::Deserializer::from_str(told).into_iter().collect();
        let answers = answers.map_err(|error| format!("{error}: {told}"))?;
        return alike(&shown, answers.last().unwrap_or(&Value::Null), "");
    }
    let answers = events(told);
    for (name, shown) in events(&block.text) {
        let reasons: Vec<String> = answers
            .iter()
            .filter(|(other, answer)| *other == name && answer["type"] == shown["type"])
            .map(|(_, answer)| alike(&shown, answer, "").err().unwrap_or_default())
            .collect();
        if !reasons.iter().any(String::is_empty) {
            return Err(format!("no event {name} is like {shown}: {reasons:?}"));
        }
    }
    Ok(())
}

/// The events of a stream: their names and their data.
fn events(text: &str) -> Vec<(String, Value)> {
    let events = text.split("\n\n").filter_map(|event| {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        field("id: ")?;
        Some((field("event: ")?.to_owned(), json(field("data: ")?, event)))
    });
    events.collect()
}

/// Every field that is shown is there, with a value of the same type; words in capitals and statuses are the same.
fn alike(shown: &Value, answer: &Value, pointer: &str) -> Result<(), String> {
    match (shown, answer) {
        (Value::Object(shown), Value::Object(answer)) => {
            shown.iter().try_for_each(|(name, value)| {
                let pointer = format!("{pointer}/{name}");
                let other = answer.get(name).ok_or_else(|| format!("{pointer} is not there"))?;
                let telling = ["status", "code", "type", "kind", "detail", "name"];
                if telling.contains(&name.as_str()) && value != other {
                    return Err(format!("{pointer} is {other}, not {value}"));
                }
                alike(value, other, &pointer)
            })
        }
        (Value::Array(shown), Value::Array(answer)) => shown.iter().try_for_each(|value| {
            let reasons: Vec<String> =
                answer.iter().filter_map(|other| alike(value, other, pointer).err()).collect();
            if reasons.len() < answer.len() {
                return Ok(());
            }
            Err(format!("{pointer} has nothing like {value}: {reasons:?}"))
        }),
        (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Null, Value::Null) => Ok(()),
        _ => Err(format!("{pointer} is {answer}, which is of another type than {shown}")),
    }
}

fn json(text: &str, whole: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{whole}"))
}
