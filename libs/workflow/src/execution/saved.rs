//! A state as bytes, so that a long journal need not be read from its beginning.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Detail, Execution, Hold, Live, Origin, Run, Status, TaskStatus, Timer};
use crate::{Definition, Error, Parent, Payer, Purpose};

/// The form in which states are written; another one is not read. Raise it where a field changes
/// its meaning; what is only added needs a default.
const FORMAT: u32 = 1;

/// Bytes that are not a state of this definition in a form that this version reads.
///
/// It does no harm: the journal has everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the saved state cannot be read: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Read first: what follows may be anything.
#[derive(Deserialize)]
struct Head {
    format: u32,
    digest: String,
}

/// Values are held once, however many runs share them, and named by their index.
#[derive(Serialize, Deserialize)]
struct Saved<V> {
    format: u32,
    digest: String,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payer: Option<Payer>,
    end: Option<Status>,
    input: usize,
    output: Option<usize>,
    error: Option<Error>,
    context: usize,
    /// Where tasks stand in the document: the arena of nodes is another one in another version.
    pointers: Vec<String>,
    runs: Vec<SavedRun>,
    attempts: BTreeMap<String, u32>,
    timers: BTreeMap<String, (usize, Purpose)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<Hold>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fallen: Vec<(usize, SavedLive)>,
    #[serde(default)]
    retries: u32,
    values: Vec<V>,
}

/// Key, index of its pointer, index of the run around it, attempt, status, begin, end, error, and
/// what it has as long as it is under way. A list, since most of a long state is made of these.
#[derive(Serialize, Deserialize)]
struct SavedRun(
    String,
    Option<usize>,
    usize,
    u32,
    TaskStatus,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    Option<Error>,
    Option<SavedLive>,
);

#[derive(Serialize, Deserialize)]
struct SavedLive {
    raw: usize,
    input: usize,
    data: usize,
    detail: Detail<usize>,
}

impl Execution {
    /// The whole state as bytes, for [`Execution::restore`].
    ///
    /// # Errors
    ///
    /// It cannot be written as JSON; a state that facts made always can.
    pub fn save(&self) -> Result<Vec<u8>, Unreadable> {
        let mut values = Values::default();
        let mut pointers = Pointers::default();
        let runs = self.runs.iter().map(|run| self.save_run(run, &mut values, &mut pointers));
        let runs = runs.collect();
        let fallen = self.fallen.iter();
        let fallen = fallen.filter_map(|(run, live)| Some((*run, values.live(live)?))).collect();
        let (input, context) = (values.index(&self.input), values.index(&self.context));
        let saved = Saved {
            format: FORMAT,
            digest: self.definition.digest().to_owned(),
            id: self.id.to_string(),
            parent: self.parent.clone(),
            payer: self.payer.clone(),
            end: self.end,
            input,
            output: self.output.as_ref().map(|output| values.index(output)),
            error: self.error.clone(),
            context,
            pointers: pointers.list.into_iter().map(str::to_owned).collect(),
            runs,
            attempts: self.attempts.iter().map(|(key, n)| (key.to_string(), *n)).collect(),
            timers: self
                .timers
                .iter()
                .map(|(name, timer)| (name.clone(), (timer.run, timer.purpose)))
                .collect(),
            origin: self.origin.clone(),
            hold: self.hold.clone(),
            reason: self.reason.clone(),
            fallen,
            retries: self.retries,
            values: values.list,
        };
        serde_json::to_vec(&saved).map_err(|error| Unreadable(error.to_string()))
    }

    fn save_run<'a>(
        &'a self,
        run: &'a Run,
        values: &mut Values<'a>,
        pointers: &mut Pointers<'a>,
    ) -> SavedRun {
        let live = run.live.as_ref().and_then(|live| values.live(live));
        SavedRun(
            run.key.to_string(),
            self.pointer_of(run).map(|pointer| pointers.index(pointer)),
            run.parent,
            run.attempt,
            run.status,
            run.started_at,
            run.ended_at,
            run.error.as_deref().cloned(),
            live,
        )
    }

    /// The state that [`Execution::save`] wrote, of an execution of this definition.
    ///
    /// # Errors
    ///
    /// The bytes are damaged, of another version's form, or of another definition.
    pub fn restore(bytes: &[u8], definition: Arc<Definition>) -> Result<Execution, Unreadable> {
        let unreadable = |error: serde_json::Error| Unreadable(error.to_string());
        let head: Head = serde_json::from_slice(bytes).map_err(unreadable)?;
        if head.format != FORMAT {
            let text = format!("its format is {}, this version reads {FORMAT}", head.format);
            return Err(Unreadable(text));
        }
        if head.digest != definition.digest() {
            let text = format!("it is of {}, not of {}", head.digest, definition.digest());
            return Err(Unreadable(text));
        }
        let saved = serde_json::from_slice(bytes).map_err(unreadable)?;
        rebuild(saved, definition)
            .ok_or_else(|| Unreadable("a part of it names one that is not there".to_owned()))
    }
}

fn rebuild(saved: Saved<Value>, definition: Arc<Definition>) -> Option<Execution> {
    let values: Vec<Arc<Value>> = saved.values.into_iter().map(Arc::new).collect();
    let value = |index: &usize| values.get(*index).cloned();
    let nodes: Vec<_> =
        saved.pointers.iter().map(|pointer| definition.node_at(pointer)).collect::<Option<_>>()?;
    let mut execution = Execution::new(&saved.id, definition);
    execution.parent = saved.parent;
    execution.payer = saved.payer;
    execution.end = saved.end;
    execution.input = value(&saved.input)?;
    execution.context = value(&saved.context)?;
    execution.output = match &saved.output {
        Some(output) => Some(value(output)?),
        None => None,
    };
    execution.error = saved.error;
    execution.origin = saved.origin;
    for run in saved.runs {
        let SavedRun(key, pointer, parent, attempt, status, started_at, ended_at, error, live) =
            run;
        // A run around another one began earlier; the workflow's own is around itself.
        if parent > execution.runs.len() {
            return None;
        }
        let live = match live {
            Some(live) => Some(Box::new(rebuild_live(&live, &value)?)),
            None => None,
        };
        let node = match pointer {
            Some(pointer) => Some(*nodes.get(pointer)?),
            None => None,
        };
        let error = error.map(Arc::new);
        let key = Arc::from(key);
        execution.put_back(Run {
            key,
            node,
            parent,
            attempt,
            status,
            started_at,
            ended_at,
            error,
            live,
        });
    }
    execution.attempts = saved.attempts.into_iter().map(|(key, n)| (Arc::from(key), n)).collect();
    for (name, (run, purpose)) in saved.timers {
        execution.runs.get_mut(run)?.live.as_mut()?.timers.insert(name.clone());
        execution.timers.insert(name, Timer { run, purpose });
    }
    execution.hold = saved.hold;
    execution.reason = saved.reason;
    execution.retries = saved.retries;
    for (run, live) in &saved.fallen {
        execution.runs.get(*run)?;
        execution.fallen.insert(*run, Box::new(rebuild_live(live, &value)?));
    }
    Some(execution)
}

fn rebuild_live(saved: &SavedLive, value: &dyn Fn(&usize) -> Option<Arc<Value>>) -> Option<Live> {
    Some(Live {
        raw: value(&saved.raw)?,
        input: value(&saved.input)?,
        data: value(&saved.data)?,
        detail: saved.detail.map(&mut |index| value(index))?,
        inside: std::collections::BTreeSet::new(),
        timers: std::collections::BTreeSet::new(),
    })
}

/// Values by their address: shared ones are written once.
#[derive(Default)]
struct Values<'a> {
    list: Vec<&'a Value>,
    known: HashMap<*const Value, usize>,
}

impl<'a> Values<'a> {
    fn index(&mut self, value: &'a Arc<Value>) -> usize {
        *self.known.entry(Arc::as_ptr(value)).or_insert_with(|| {
            self.list.push(value);
            self.list.len() - 1
        })
    }

    fn live(&mut self, live: &'a Live) -> Option<SavedLive> {
        Some(SavedLive {
            raw: self.index(&live.raw),
            input: self.index(&live.input),
            data: self.index(&live.data),
            detail: self.detail(&live.detail)?,
        })
    }

    fn detail(&mut self, detail: &'a Detail) -> Option<Detail<usize>> {
        detail.map(&mut |value| Some(self.index(value)))
    }
}

#[derive(Default)]
struct Pointers<'a> {
    list: Vec<&'a str>,
    known: HashMap<&'a str, usize>,
}

impl<'a> Pointers<'a> {
    fn index(&mut self, pointer: &'a str) -> usize {
        *self.known.entry(pointer).or_insert_with(|| {
            self.list.push(pointer);
            self.list.len() - 1
        })
    }
}
