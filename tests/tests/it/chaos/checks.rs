//! What must hold when the storm is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_testkit::eventually;
use serde_json::Value;

use super::load::Begun;
use super::outside::Outside;
use super::people::{self, MESSAGES, PAID, Spender, Talk};
use super::provider::COST;
use super::{agents, log};
use crate::platform::{Nats, Platform};

const ALL_END_WITHIN: Duration = Duration::from_secs(240);
/// Reservations of processes that were killed lapse within this.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// What is looked at, and the seed that a failure names.
pub(super) struct Checks<'a, N> {
    pub(super) platform: &'a Platform<N>,
    pub(super) outside: &'a Outside,
    pub(super) seed: u64,
}

impl<N: Nats> Checks<'_, N> {
    /// Every execution completes. Returns the marks that must be there.
    pub(super) async fn all_complete(&self, begun: &[Begun]) -> BTreeSet<String> {
        let mut expected = BTreeSet::new();
        for Begun { id, marks, .. } in begun {
            self.completes(id).await;
            expected.extend(marks.iter().cloned());
        }
        expected
    }

    async fn completes(&self, id: &str) {
        let state = self.platform.ended(id, ALL_END_WITHIN).await;
        if state["status"] != "completed" {
            let path = format!("/v1/executions/{id}/events?limit=1000");
            let (_, events) = self.platform.get(&path).await;
            panic!("seed {}: {state:#}\nwhat happened: {events:#}", self.seed);
        }
    }

    /// Each mark was made, once, and nothing else was.
    pub(super) fn marked_once(&self, expected: &BTreeSet<String>) {
        let (seed, marks) = (self.seed, self.outside.world.marks());
        assert_eq!(&marks.keys().cloned().collect::<BTreeSet<_>>(), expected, "seed {seed}");
        for (mark, keys) in &marks {
            assert_eq!(keys.len(), 1, "seed {seed}: {mark} was done under {keys:?}");
        }
    }

    /// The logs are complete. Returns what was paid in all, by the journals.
    pub(super) async fn logs(&self, executions: impl Iterator<Item = &String>) -> u64 {
        let mut paid = 0;
        for id in executions {
            paid += log::log_is_complete(self.platform, id, self.seed).await;
        }
        paid
    }

    /// Each run stored its answer once.
    pub(super) async fn delivered_once(&self, begun: &[Begun]) {
        for Begun { id, kind, .. } in
            begun.iter().filter(|begun| agents::marks(begun.kind, 0).is_some())
        {
            let path = format!("/v1/deliverables?execution={id}&versions=true");
            let (_, body) = self.platform.get(&path).await;
            let listed = body["deliverables"].as_array().map(Vec::len);
            assert_eq!(listed, Some(agents::deliverables(kind)), "seed {}: {body:#}", self.seed);
        }
    }

    /// Each message of each conversation has its answer right behind it, once and in order. Returns the marks that they left.
    pub(super) async fn answered_in_order(&self, talks: &[Talk]) -> BTreeSet<String> {
        let mut marks = BTreeSet::new();
        for Talk { thread, base, executions } in talks {
            for id in executions {
                self.completes(id).await;
            }
            let path = format!("/v1/threads/{thread}");
            let body = eventually(ALL_END_WITHIN, "the thread is idle", || async {
                let (status, body) = self.platform.get(&path).await;
                let idle = status.is_success() && body["status"] == "idle";
                if idle { Ok(body) } else { Err(format!("{status} {body}")) }
            })
            .await;
            let told = |message: &Value| {
                let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
                (text("content"), text("status"), text("execution_id"))
            };
            let said: Vec<_> = body["messages"].as_array().unwrap().iter().map(told).collect();
            let mut expected = Vec::new();
            for (at, id) in executions.iter().enumerate() {
                let answer = format!("{thread}-{at} is message {}", at + 1);
                let question = people::content(thread, base, at);
                expected.push((question, "answered".to_owned(), id.clone()));
                expected.push((answer, "complete".to_owned(), id.clone()));
                marks.insert(format!("{thread}-{at}-said"));
            }
            assert_eq!(executions.len(), MESSAGES);
            assert_eq!(said, expected, "seed {}: {thread}", self.seed);
        }
        marks
    }

    /// Each decision is what was decided.
    pub(super) async fn decided(&self, decided: &BTreeMap<String, &'static str>) {
        let (_, body) = self.platform.get("/v1/approvals?limit=1000").await;
        let listed = body["approvals"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let listed: BTreeMap<String, String> =
            listed.map(|one| (text(&one["approval_id"]), text(&one["status"]))).collect();
        let decided: BTreeMap<String, String> =
            decided.iter().map(|(id, status)| (id.clone(), (*status).to_owned())).collect();
        assert_eq!(listed, decided, "seed {}", self.seed);
    }

    /// The agents' accounts say what their journals say, and no more than the provider was paid. Returns what was paid twice.
    pub(super) async fn paid_exactly(&self, recorded: u64, spender: Spender) -> u64 {
        let (seed, provider) = (self.seed, &self.outside.provider);
        let key = spender.path();
        let replies = spender.end().await;
        let (questions, again) = provider.was_asked_once(&self.outside.kills, seed);
        let spent = eventually(SETTLED_WITHIN, "nothing of the agents is reserved", || async {
            match agents::spent(self.platform).await {
                Ok((spent, 0.0)) => Ok(spent),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let directly = provider.asked("spend-");
        let asked = (questions + again - directly) * COST;
        assert!(
            recorded <= spent && spent <= asked,
            "seed {seed}: the journals say {recorded}, the accounts {spent}, the provider {asked}"
        );
        let of_key = eventually(SETTLED_WITHIN, "nothing of the key is reserved", || async {
            let (_, body) = self.platform.get(&key).await;
            let spending = &body["spending"];
            let settled = spending["reserved_usd"] == 0.0;
            spending["spent_nanos"].as_u64().filter(|_| settled).ok_or(body)
        })
        .await;
        assert!(
            replies * COST <= of_key && of_key <= (directly * COST).min(PAID * COST),
            "seed {seed}: {replies} replies, {of_key} spent, {directly} asked"
        );
        again
    }
}
