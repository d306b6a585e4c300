//! What the log reads of a body, without making a tree of all of it: most of a body is values that flow, and the log keeps its text as it is.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The parts of a body that the log is asked by. A part that is of another kind than the contract says is as if it were absent.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) execution_id: Option<Value>,
    pub(super) task: Option<Value>,
    pub(super) agent: Option<Value>,
    pub(super) workflow: Option<Value>,
    pub(super) version: Option<Value>,
    pub(super) status: Option<Value>,
    pub(super) tenant: Option<Value>,
    pub(super) usage: Option<Value>,
    pub(super) output: Output,
    pub(super) facts: Facts,
}

/// What came out of a call.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) usage: Option<Value>,
}

/// The tasks of the facts of a transition, of each fact that has one.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) tasks: Vec<String>,
}

#[derive(Default)]
struct Fact {
    task: Option<Value>,
}

impl Seen {
    /// The parts of a body; none where it is no JSON.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Picked<Self>>(body).ok().map(|picked| picked.0)
    }
}

pub(super) fn text(part: Option<&Value>) -> &str {
    part.and_then(Value::as_str).unwrap_or_default()
}

/// What is made of a JSON value by looking at some of its fields or items. Of what it does not look at it is told nothing.
trait Pick: Default {
    /// Where the field of this name belongs, if it is looked at.
    fn part(&mut self, _name: &str) -> Option<&mut Option<Value>> {
        None
    }

    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match self.part(name) {
            Some(part) => *part = Some(map.next_value()?),
            None => return map.next_value::<Skipped>().map(drop),
        }
        Ok(())
    }

    /// Whether there was an item.
    fn item<'de, A: SeqAccess<'de>>(&mut self, items: &mut A) -> Result<bool, A::Error> {
        Ok(items.next_element::<Skipped>()?.is_some())
    }
}

impl Pick for Seen {
    fn part(&mut self, name: &str) -> Option<&mut Option<Value>> {
        Some(match name {
            "execution_id" => &mut self.execution_id,
            "task" => &mut self.task,
            "agent" => &mut self.agent,
            "workflow" => &mut self.workflow,
            "version" => &mut self.version,
            "status" => &mut self.status,
            "tenant" => &mut self.tenant,
            "usage" => &mut self.usage,
            _ => return None,
        })
    }

    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match (name, self.part(name)) {
            ("output", _) => self.output = map.next_value::<Picked<_>>()?.0,
            ("facts", _) => self.facts = map.next_value::<Picked<_>>()?.0,
            (_, Some(part)) => *part = Some(map.next_value()?),
            (_, None) => return map.next_value::<Skipped>().map(drop),
        }
        Ok(())
    }
}

impl Pick for Output {
    fn part(&mut self, name: &str) -> Option<&mut Option<Value>> {
        (name == "usage").then_some(&mut self.usage)
    }
}

impl Pick for Fact {
    fn part(&mut self, name: &str) -> Option<&mut Option<Value>> {
        (name == "task").then_some(&mut self.task)
    }
}

impl Pick for Facts {
    fn item<'de, A: SeqAccess<'de>>(&mut self, items: &mut A) -> Result<bool, A::Error> {
        let Some(Picked(fact)) = items.next_element::<Picked<Fact>>()? else { return Ok(false) };
        if let Some(Value::String(task)) = fact.task {
            self.tasks.push(task);
        }
        Ok(true)
    }
}

/// Nothing, but read like any value: `IgnoredAny` would take numbers, escapes and depths that a value may not have.
type Skipped = Picked<Nothing>;

#[derive(Default)]
struct Nothing;

impl Pick for Nothing {}

struct Picked<P>(P);

impl<'de, P: Pick> Deserialize<'de> for Picked<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Looking(PhantomData)).map(Picked)
    }
}

struct Looking<P>(PhantomData<P>);

impl<'de, P: Pick> Visitor<'de> for Looking<P> {
    type Value = P;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<P, A::Error> {
        let mut picked = P::default();
        while let Some(Name(name)) = map.next_key()? {
            picked.field(&name, &mut map)?;
        }
        Ok(picked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<P, A::Error> {
        let mut picked = P::default();
        while picked.item(&mut items)? {}
        Ok(picked)
    }

    fn visit_unit<E: Error>(self) -> Result<P, E> {
        Ok(P::default())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<P, E> {
        Ok(P::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<P, E> {
        Ok(P::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<P, E> {
        Ok(P::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<P, E> {
        Ok(P::default())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<P, E> {
        Ok(P::default())
    }
}

/// A name that has no escapes is not copied.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_another_kind_say_nothing() {
        let seen = Seen::of(
            br#"{"task": 7, "agent": ["x"], "facts": [1, {"task": "a"}, {"task": null}, [{"task": "b"}]], "output": 3, "usage": {"n": 1}, "more": {"task": "c", "deep": [[{}], "x"]}}"#,
        )
        .unwrap();
        assert_eq!((text(seen.task.as_ref()), text(seen.agent.as_ref())), ("", ""));
        assert_eq!(seen.facts.tasks, ["a"]);
        assert!(seen.output.usage.is_none());
        assert_eq!(seen.usage.unwrap()["n"], 1);
        for other in ["[1, 2]", "7", "null", "\"text\"", "-1.5", "true"] {
            assert!(text(Seen::of(other.as_bytes()).unwrap().task.as_ref()).is_empty(), "{other}");
        }
    }

    #[test]
    fn what_is_no_value_is_no_body() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for body in ["", "{", "{\"a\": 1e999}", r#"{"a": "\ud800"}"#, "{} x", &deep] {
            assert!(Seen::of(body.as_bytes()).is_none(), "{body}");
            assert!(serde_json::from_str::<Value>(body).is_err(), "{body}");
        }
    }
}
