//! How much a workflow may ask for; beyond these it is refused or faults, it never stalls others.

/// Bytes of a document's text.
pub const DOCUMENT_BYTES: usize = 1024 * 1024;
/// Values (scalars, lists and maps) in a document, after its YAML aliases are expanded.
pub const DOCUMENT_VALUES: usize = 100_000;
/// Depth to which a document's lists and maps may be nested.
pub const DOCUMENT_DEPTH: usize = 100;
/// Tasks in a definition.
pub const TASKS: usize = 10_000;
/// Depth to which tasks may be nested.
pub const TASK_DEPTH: usize = 20;
/// Extensions of a workflow.
pub const EXTENSIONS: usize = 50;
/// Functions that call functions: how many may be around one.
pub const FUNCTION_DEPTH: usize = 10;
/// Workflows that run workflows: how many may be around one.
pub const WORKFLOW_DEPTH: u32 = 20;
/// Branches of one `fork`.
pub const BRANCHES: usize = 2_000;
/// Items that one `for` goes over.
pub const ITERATIONS: usize = 20_000;
/// Signals that an execution keeps until a task listens; what comes beyond them is not heard.
pub const KEPT_SIGNALS: usize = 1_000;
/// Events that a suspended execution keeps until it goes on.
pub const HELD_INPUTS: usize = 1_000;
/// Task runs in one execution; it faults when it needs more, so that a `then` cannot loop for ever.
pub const TASK_RUNS: usize = 50_000;
/// Bytes of one expression's source.
pub const EXPRESSION_BYTES: usize = 8 * 1024;
/// Depth to which brackets may be nested in an expression's source.
pub const EXPRESSION_DEPTH: usize = 64;
/// Steps that one evaluation may take. A step is a call, an iteration, an operation, or a share of
/// the work on a large value. It bounds the time: they are used up in a second or less.
pub const EXPRESSION_STEPS: u64 = 200_000;
/// Steps that all evaluations of one step of the workflow may take together.
pub const TRANSITION_STEPS: u64 = 2_000_000;
/// Steps that the filters of one task may take for an event, beside one for each 32 bytes of it: an
/// event may come to very many, and what a filter cannot tell by then does not want it.
pub const FILTER_STEPS: u64 = 20_000;
/// Size of a value that an expression makes or reads or that comes from outside: bytes of text plus
/// 8 for each value. It is beyond that of 10 MB of JSON, unless that is mostly short numbers.
pub const VALUE_SIZE: u64 = 20 * 1024 * 1024;
/// Bytes of JSON of what goes out: the arguments of a call, the output of the workflow. A message
/// may have 10 MiB, and says more than this.
pub const OUTGOING_BYTES: u64 = 10 * 1024 * 1024 - 128 * 1024;
/// Depth to which a value may be nested: what is deeper by more than seven levels, which messages put around it, no parser reads.
pub const VALUE_DEPTH: usize = 120;
/// Bytes of each text of an error; what is longer is cut.
pub const ERROR_BYTES: usize = 16 * 1024;
/// Size of all facts of one step, in bytes, roughly; a workflow that makes more in one go faults.
pub const TRANSITION_SIZE: u64 = 64 * 1024 * 1024;
