//! A provider of models that is paid for each reply, and remembers who asked it what and when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster_testkit::{Answer, RecordedRequest, ScriptedModel};
use serde_json::{Value, json};

/// What a reply costs, in billionths of a dollar: 5 tokens of 2 dollars for a million.
pub(super) const COST: u64 = 10_000;
/// What was on its way when a process was killed arrives within this.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// When the model service, or a server under it, was killed.
#[derive(Clone, Default)]
pub(super) struct Kills(Arc<Mutex<Vec<(Instant, Instant)>>>);

impl Kills {
    /// Notes that something is killed by this.
    pub(super) fn around(&self, kill: impl FnOnce()) {
        let before = Instant::now();
        kill();
        self.0.lock().unwrap().push((before, Instant::now()));
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn between(&self, one: Instant, other: Instant) -> bool {
        let kills = self.0.lock().unwrap();
        kills.iter().any(|(before, after)| *before <= other && *after + ON_ITS_WAY >= one)
    }
}

pub(super) struct Provider {
    pub(super) model: ScriptedModel,
    /// When each conversation was sent.
    asks: Arc<Mutex<BTreeMap<String, Vec<Instant>>>>,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let model = ScriptedModel::start().await;
        let asks = Arc::<Mutex<BTreeMap<String, Vec<Instant>>>>::default();
        let asked = asks.clone();
        model.respond_with(move |request| {
            let question = request.body["messages"].to_string();
            asked.lock().unwrap().entry(question).or_default().push(Instant::now());
            answer(request).usage(3, 5)
        });
        Self { model, asks }
    }

    /// Nothing was asked twice but where the first reply died with who had asked for it. Returns how many questions there were, and how
    /// many were paid twice.
    pub(super) fn was_asked_once(&self, kills: &Kills, seed: u64) -> (u64, u64) {
        let asks = self.asks.lock().unwrap();
        let (mut questions, mut again) = (0, 0);
        for (question, times) in asks.iter() {
            questions += 1;
            for pair in times.windows(2) {
                again += 1;
                assert!(
                    kills.between(pair[0], pair[1]),
                    "seed {seed}: asked again after {:?}, and nothing was killed: {question}",
                    pair[1] - pair[0]
                );
            }
        }
        (questions, again)
    }

    /// How often something with these words was asked.
    pub(super) fn asked(&self, words: &str) -> u64 {
        let asks = self.asks.lock().unwrap();
        asks.iter()
            .filter(|(question, _)| question.contains(words))
            .map(|(_, times)| times.len() as u64)
            .sum()
    }
}

/// Plays the agent that the instructions name, on the errand that the user names: `NAME BASE`.
fn answer(request: &RecordedRequest) -> Answer {
    let messages = request.body["messages"].as_array().cloned().unwrap_or_default();
    let said = |message: &Value| message["content"].as_str().unwrap_or_default().to_owned();
    let instructions = messages.first().map(said).unwrap_or_default();
    let asked = messages.iter().rposition(|message| message["role"] == "user").unwrap_or_default();
    let errand = messages.get(asked).map(said).unwrap_or_default();
    let (run, base) = errand.split_once(' ').unwrap_or((&errand, ""));
    let turns = messages[asked..].iter().filter(|message| message["role"] == "assistant");
    let call = |mark: &str| json!({ "method": "PUT", "url": format!("{base}/{run}-{mark}") });
    let http = |mark: &str| Answer::tool_call("http_request", call(mark));
    let scout = |part: &str| json!({ "request": format!("{run}-{part} {base}") });
    let heard = messages.iter().filter(|message| message["role"] == "user").count();
    match (instructions.as_str(), turns.count()) {
        ("crew", 0) => http("left").and_tool_call("http_request", call("right")),
        ("crew", 1) => http("then"),
        ("buyer", 0) => http("first").and_tool_call("http_request", call("second")),
        ("lead", 0) => {
            Answer::tool_call("ask_scout", scout("east")).and_tool_call("ask_scout", scout("west"))
        }
        ("lead", 1) => Answer::tool_call("handoff_to_closer", json!({ "reason": "it is found" })),
        ("closer", 2) => http("closed"),
        ("scout", 0) => http("seen"),
        ("talker", 0) => http("said"),
        ("talker", _) => Answer::text(format!("{run} is message {heard}")),
        _ => Answer::text(format!("{run} is done")),
    }
}
