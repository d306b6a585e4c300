//! The `schedule` of a workflow.

use std::time::Duration;

use serde_json::Value;

use super::{Parser, at};
use crate::schedule::{Cron, Plan};

/// The ways to schedule a workflow.
const WAYS: [&str; 4] = ["every", "cron", "after", "on"];
/// The shortest interval: the broker's timers are up to 0.3 s late.
const SHORTEST: Duration = Duration::from_secs(1);

impl Parser<'_> {
    pub(super) fn schedule(&mut self, value: &Value) -> Option<Plan> {
        let map = self.object(value, "/schedule", "`schedule`")?;
        self.only(map, "/schedule", "`schedule`", &WAYS);
        let given: Vec<&str> = WAYS.into_iter().filter(|way| map.contains_key(*way)).collect();
        let [way] = given.as_slice() else {
            let message = match given.len() {
                0 => format!("`schedule` needs one of {}", WAYS.join(", ")),
                _ => format!("`schedule` can have only one of {}", given.join(" and ")),
            };
            self.problem("/schedule", message);
            return None;
        };
        let pointer = at("/schedule", way);
        let value = map.get(*way)?;
        match *way {
            "cron" => {
                let text = self.text(value, &pointer, "`cron`")?;
                let parsed = Cron::parse(text);
                parsed.map_err(|message| self.problem(pointer, message)).ok().map(Plan::Cron)
            }
            "on" => {
                let variables = ["$runtime".to_owned()];
                self.strategy(value, &pointer, &variables).map(Plan::On)
            }
            way => {
                let length = self.duration(value, &pointer)?;
                if length < SHORTEST {
                    let message = format!("`{way}` must be a second or more, not `{value}`");
                    self.problem(pointer, message);
                    return None;
                }
                Some(if way == "every" { Plan::Every(length) } else { Plan::After(length) })
            }
        }
    }
}
