//! A parsed workflow: its tasks in an arena, with compiled expressions and schemas.

use std::time::Duration;

use muster_document::Schema;
use serde_json::Value;

use crate::expression::{Expression, Template};
use crate::{Error, Function};

/// Index of a task in [`Model::nodes`].
pub(crate) type NodeId = usize;

/// What a document says, checked.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Vec<NodeId>,
    pub(crate) input: Transform,
    pub(crate) output: Transform,
    pub(crate) timeout: Option<Length>,
    pub(crate) schedule: Option<crate::schedule::Plan>,
    pub(crate) extensions: Vec<Extension>,
}

/// One task of the document.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it stands in the document.
    pub(crate) pointer: String,
    /// Its key relative to the run of the task around it, as `/do/0/name`.
    pub(crate) step: String,
    pub(crate) name: String,
    /// Index in the list that holds it.
    pub(crate) position: usize,
    pub(crate) condition: Option<Expression>,
    pub(crate) input: Transform,
    pub(crate) output: Transform,
    pub(crate) export: Transform,
    pub(crate) timeout: Option<Length>,
    pub(crate) then: Then,
    pub(crate) kind: Kind,
    /// Whether extensions may extend it; those of extensions are not extended.
    pub(crate) extendable: bool,
    /// The extensions that extend it: indices in [`Model::extensions`].
    pub(crate) extensions: Vec<usize>,
    /// Whether it stands for the tasks of an extension.
    pub(crate) is_extension: bool,
}

impl Node {
    /// A task that stands for the tasks of an extension.
    pub(crate) fn around(pointer: &str, name: &str) -> Node {
        Node {
            pointer: pointer.to_owned(),
            step: pointer.to_owned(),
            name: name.to_owned(),
            position: 0,
            condition: None,
            input: Transform::default(),
            output: Transform::default(),
            export: Transform::default(),
            timeout: None,
            then: Then::Continue,
            kind: Kind::Do(Vec::new()),
            extendable: false,
            extensions: Vec::new(),
            is_extension: true,
        }
    }
}

/// Tasks that run before and after others.
#[derive(Debug)]
pub(crate) struct Extension {
    /// The type of task that it extends, `composite` or `all`.
    pub(crate) target: &'static str,
    pub(crate) when: Option<Expression>,
    pub(crate) before: Option<NodeId>,
    pub(crate) after: Option<NodeId>,
}

/// What a task does.
#[derive(Debug)]
pub(crate) enum Kind {
    Do(Vec<NodeId>),
    Set(Template),
    Switch(Vec<Case>),
    For(For),
    Fork {
        branches: Vec<NodeId>,
        compete: bool,
    },
    Try(Try),
    Raise(Raise),
    Wait(Length),
    Call {
        function: Function,
        arguments: Template,
        /// That of the `Authorization` header of its request.
        scheme: Option<&'static str>,
    },
    /// A call of a function that a document defines.
    Function {
        /// `None`: it gets the input of the call.
        arguments: Option<Template>,
        /// Its task; `None` where it is to be fetched when the workflow is registered.
        body: Option<[NodeId; 1]>,
    },
    Child(Child),
    Listen(Box<crate::event::Listen>),
    Emit(Emit),
}

impl Kind {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Do(_) => "do",
            Kind::Set(_) => "set",
            Kind::Switch(_) => "switch",
            Kind::For(_) => "for",
            Kind::Fork { .. } => "fork",
            Kind::Try(_) => "try",
            Kind::Raise(_) => "raise",
            Kind::Wait(_) => "wait",
            Kind::Call { function: Function::Run, .. } => "run",
            Kind::Call { .. } | Kind::Function { .. } => "call",
            Kind::Child(child) if child.is_called => "call",
            Kind::Child(_) => "run",
            Kind::Listen(listen) if listen.is_called => "call",
            Kind::Listen(_) => "listen",
            Kind::Emit(emit) if emit.is_called => "call",
            Kind::Emit(_) => "emit",
        }
    }
}

impl Kind {
    /// Whether the task goes on with its input, whatever comes of what it began.
    pub(crate) fn is_detached(&self) -> bool {
        let Kind::Call { function: Function::Run, arguments: Template::Object(entries), .. } = self
        else {
            return false;
        };
        entries.iter().any(|(key, value)| {
            key == "await" && matches!(value, Template::Literal(Value::Bool(false)))
        })
    }
}

/// Checks and changes data on its way in or out.
#[derive(Debug, Default)]
pub(crate) struct Transform {
    pub(crate) template: Option<Template>,
    pub(crate) schema: Option<Schema>,
}

/// Where the flow goes after a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Then {
    Continue,
    Exit,
    End,
    /// To a task of the same list.
    Task {
        position: usize,
        name: String,
    },
}

impl Then {
    /// The directive as a fact records it; `continue` goes without saying.
    pub(crate) fn directive(&self) -> Option<String> {
        match self {
            Then::Continue => None,
            Then::Exit => Some("exit".to_owned()),
            Then::End => Some("end".to_owned()),
            Then::Task { name, .. } => Some(name.clone()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Case {
    /// `None` is the default case.
    pub(crate) when: Option<Expression>,
    pub(crate) then: Then,
}

/// An event that a task tells the world of.
#[derive(Debug)]
pub(crate) struct Emit {
    /// Its attributes.
    pub(crate) with: Template,
    /// Whether it stands in the document as a call.
    pub(crate) is_called: bool,
}

/// A workflow that a `run` task runs.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) namespace: Template,
    pub(crate) name: Template,
    pub(crate) version: Template,
    pub(crate) input: Option<Template>,
    /// Whether the task waits for the child's end.
    pub(crate) wait: bool,
    /// Whether it stands in the document as the call of a function.
    pub(crate) is_called: bool,
    /// Whether the child's output is the task's; otherwise that is null.
    pub(crate) output: bool,
}

#[derive(Debug)]
pub(crate) struct For {
    /// Name of the item's variable, with its dollar sign.
    pub(crate) each: String,
    /// Name of the index's variable, with its dollar sign.
    pub(crate) at: String,
    pub(crate) items: Expression,
    pub(crate) condition: Option<Expression>,
    pub(crate) body: Vec<NodeId>,
}

#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) body: Vec<NodeId>,
    pub(crate) filter: Filter,
    /// Name of the error's variable, with its dollar sign.
    pub(crate) variable: String,
    pub(crate) when: Option<Expression>,
    pub(crate) except_when: Option<Expression>,
    pub(crate) retry: Option<Retry>,
    /// `None` swallows the error.
    pub(crate) handler: Option<Vec<NodeId>>,
}

/// Which errors a `catch` is for: those that match every field that is set.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) r#type: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) instance: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) detail: Option<String>,
}

impl Filter {
    pub(crate) fn matches(&self, error: &Error) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        same(&self.r#type, &error.r#type)
            && self.status.is_none_or(|status| status == error.status)
            && same(&self.instance, &error.instance)
            && same(&self.title, &error.title)
            && same(&self.detail, &error.detail)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Retry {
    pub(crate) when: Option<Expression>,
    pub(crate) except_when: Option<Expression>,
    pub(crate) delay: Duration,
    pub(crate) backoff: Backoff,
    /// How many retries at most.
    pub(crate) count: Option<u32>,
    /// How long after the first attempt began a retry may still be decided.
    pub(crate) duration: Option<Duration>,
    /// How long one attempt may take.
    pub(crate) attempt: Option<Duration>,
    pub(crate) jitter: Option<(Duration, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backoff {
    Constant,
    Linear,
    Exponential,
}

/// The error that a `raise` task raises, its texts possibly expressions.
#[derive(Debug)]
pub(crate) struct Raise {
    pub(crate) r#type: Template,
    pub(crate) status: u16,
    pub(crate) title: Option<Template>,
    pub(crate) detail: Option<Template>,
    pub(crate) instance: Option<Template>,
}

/// A length of time: known, or given by an expression as an ISO 8601 duration.
#[derive(Debug, Clone)]
pub(crate) enum Length {
    Fixed(Duration),
    Computed(Expression),
}
