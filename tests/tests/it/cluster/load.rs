//! Continuous work by the bus: commands with their effects, journals with two writers each, requests, a counter, a follower.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use muster_bus::{After, AppendError, Bucket, Bus, Delivery, Kv, KvError, MessageId, Routes};
use muster_contracts::tool::v1::{
    ExecuteToolRequest, ListToolsRequest, ToolDefinition, ToolExecutionCompleted,
    ToolExecutionRequested, ToolExecutionStarted, ToolList, ToolResult,
};
use muster_contracts::workflow::v1::JournalEntry;
use muster_contracts::{Fault, Json, JsonObject, Stream};
use muster_testkit::{Cluster, eventually};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ledger::{Ledger, whole_stream};

/// Between two pieces of work of one task: the load is steady, not as fast as it can be.
const PAUSE: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(5);
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const COUNTER: &str = "workflows/chaos/counter";

/// The load and its books. Ends when dropped.
pub(crate) struct Load {
    pub(crate) ledger: Arc<Ledger>,
    gate: Arc<RwLock<()>>,
    closed: Option<OwnedRwLockWriteGuard<()>>,
    tool: Bus,
    counter: Kv<u64>,
    /// Not a service: it reads everything.
    operator: Bus,
    tasks: JoinSet<()>,
    _serving: DropGuard,
}

/// What every task of the load has.
#[derive(Clone)]
struct Worker {
    bus: Bus,
    ledger: Arc<Ledger>,
    gate: Arc<RwLock<()>>,
    name: String,
}

impl Load {
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let ledger = Arc::new(Ledger::new());
        let mut buses = HashMap::new();
        for (service, replica) in
            [("orchestration", 0), ("orchestration", 1), ("tool", 0), ("tool", 1), ("agent", 0)]
        {
            buses.insert((service, replica), connect(cluster, service).await);
        }
        let bus = |service, replica| Bus::clone(&buses[&(service, replica)]);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for replica in [0, 1] {
            let app = (bus("tool", replica), ledger.clone());
            let routes = Routes::new(app).on(requested).rpc(list_tools).rpc(execute_tool);
            let (bus, stop) = (bus("tool", replica), stop.clone());
            tasks.spawn(async move { routes.serve(&bus, stop).await.unwrap() });
        }
        for replica in [0, 1] {
            let routes = Routes::new(ledger.clone()).on(completed);
            let (bus, stop) = (bus("orchestration", replica), stop.clone());
            tasks.spawn(async move { routes.serve(&bus, stop).await.unwrap() });
        }
        let mut load = Self {
            ledger,
            gate: Arc::default(),
            closed: None,
            tool: bus("tool", 0),
            counter: bus("orchestration", 0).kv(Bucket::Registry),
            operator: connect(cluster, "operator").await,
            tasks,
            _serving: stop.drop_guard(),
        };
        for replica in [0, 1] {
            let worker = |name: &str| load.worker(bus("orchestration", replica), name, replica);
            let (publisher, writer, asker) =
                (worker("publisher"), worker("writer"), worker("asker"));
            let adder = worker("adder");
            load.tasks.spawn(publish(publisher));
            load.tasks.spawn(write_journals(writer));
            load.tasks.spawn(ask(asker));
            load.tasks.spawn(add(adder));
        }
        load.tasks.spawn(ask_long(load.worker(bus("agent", 0), "caller", 0)));
        load.tasks.spawn(follow(load.worker(load.operator.clone(), "follower", 0)));
        load
    }

    /// Waits until nothing is under way, and compares the books with the stream.
    pub(crate) async fn settle(&mut self) {
        let (gate, ledger) = (self.gate.clone(), self.ledger.clone());
        let (tool, operator) = (self.tool.clone(), self.operator.clone());
        let counter = self.counter.clone();
        let settled = async {
            let closed = tokio::time::timeout(SETTLED_WITHIN, gate.write_owned()).await;
            let closed = closed.expect("a piece of work hangs");
            all_handled(&ledger).await;
            // The marker is behind everything that the handlers publish.
            let marker = ToolExecutionStarted { tool: "marker".into(), ..Default::default() };
            let marker = tool.publish(&marker, &MessageId::random()).await.unwrap().sequence;
            eventually(SETTLED_WITHIN, "the follower is there", || async {
                let last = ledger.followed.lock().unwrap().last().copied();
                if last >= Some(marker) { Ok(()) } else { Err((last, marker)) }
            })
            .await;
            let reading = whole_stream(&operator, marker);
            let recorded = tokio::time::timeout(SETTLED_WITHIN, reading).await;
            ledger.balance(&recorded.expect("the stream can be read"));
            let counter = counter.get(COUNTER).await.unwrap();
            ledger.counter(counter.map_or(0, |counter| counter.value));
            let letters = operator.dead_letters().list(3).await.unwrap();
            assert!(letters.is_empty(), "{letters:?}");
            closed
        };
        self.closed = Some(self.while_alive(settled).await);
    }

    /// Lets the work go on, with new pulses.
    pub(crate) fn go_on(&mut self) {
        self.ledger.pulses.reset();
        self.closed = None;
    }

    /// Does something while the load works; a task of the load that ends fails the test with its own words.
    pub(crate) async fn while_alive<T>(&mut self, doing: impl Future<Output = T>) -> T {
        tokio::select! {
            done = doing => done,
            Some(ended) = self.tasks.join_next() => match ended {
                Ok(()) => panic!("a task of the load ended"),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
        }
    }

    fn worker(&self, bus: Bus, name: &str, replica: usize) -> Worker {
        let name = format!("{name}{replica}");
        Worker { bus, ledger: self.ledger.clone(), gate: self.gate.clone(), name }
    }
}

async fn all_handled(ledger: &Ledger) {
    eventually(SETTLED_WITHIN, "every command has its effect", || async {
        let commands = ledger.commands.lock().unwrap().len();
        let effects = ledger.effects.lock().unwrap().len();
        if commands == effects { Ok(()) } else { Err((commands, effects)) }
    })
    .await;
}

async fn connect(cluster: &Cluster, service: &str) -> Bus {
    let mut settings = cluster.settings(service);
    settings.ack_wait = Duration::from_secs(5);
    let bus = Bus::open(settings).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), bus.ready()).await.expect("the bus is ready");
    bus
}

impl Worker {
    /// Tries the same again until it works, as whoever got a clear fault does.
    async fn until_done<T, F>(&self, pulse: &super::pulse::Pulse, work: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, Fault>>,
    {
        loop {
            match work().await {
                Ok(value) => return value,
                Err(fault) => {
                    pulse.fault(&fault);
                    let wait = fault.retry_after_ms.unwrap_or(200).min(1000);
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
            }
        }
    }
}

async fn publish(worker: Worker) {
    let pulse = &worker.ledger.pulses.publish;
    for number in 0_u64.. {
        let turn = worker.gate.read().await;
        let key = format!("{}-{number}", worker.name);
        let command = ToolExecutionRequested {
            execution_id: "chaos".into(),
            task: "/do/0".into(),
            tool: "echo".into(),
            arguments: None,
            idempotency_key: key.clone(),
            secrets: Vec::new(),
        };
        let id = MessageId::derived(["command", &key]);
        let published = worker.until_done(pulse, || worker.bus.publish(&command, &id)).await;
        worker.ledger.commands.lock().unwrap().insert(key, published.sequence);
        pulse.beat();
        drop(turn);
        tokio::time::sleep(PAUSE).await;
    }
}

/// The effect of a command is an event with an id that follows from it.
async fn requested(
    (bus, ledger): (Bus, Arc<Ledger>),
    command: Delivery<ToolExecutionRequested>,
) -> Result<(), Fault> {
    if command.attempt > 1 {
        ledger.pulses.redelivered.beat();
    }
    *ledger.runs.lock().unwrap().entry(command.id.clone()).or_default() += 1;
    let event = ToolExecutionCompleted {
        tool: command.tool.clone(),
        idempotency_key: command.idempotency_key.clone(),
        ..Default::default()
    };
    bus.publish(&event, &MessageId::derived(["completed", &command.id])).await.map(drop)
}

async fn completed(
    ledger: Arc<Ledger>,
    event: Delivery<ToolExecutionCompleted>,
) -> Result<(), Fault> {
    if event.attempt > 1 {
        ledger.pulses.redelivered.beat();
    }
    *ledger.effects.lock().unwrap().entry(event.idempotency_key.clone()).or_default() += 1;
    ledger.pulses.handle.beat();
    Ok(())
}

/// Two writers share each journal: each append expects what its writer has read.
async fn write_journals(worker: Worker) {
    let journals = [0, 1].map(|number| format!("chaos-journal{number}"));
    let mut last = HashMap::<String, u64>::new();
    let pulse = &worker.ledger.pulses.journal;
    for number in 0_u64.. {
        for execution_id in &journals {
            let turn = worker.gate.read().await;
            let input_id = format!("{}-{number}", worker.name);
            let entry = JournalEntry {
                execution_id: execution_id.clone(),
                input_id: input_id.clone(),
                ..Default::default()
            };
            let known = last.entry(execution_id.clone()).or_default();
            let sequence = append(&worker, &entry, known).await;
            let key = (execution_id.clone(), input_id);
            worker.ledger.entries.lock().unwrap().insert(key, sequence);
            pulse.beat();
            drop(turn);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Appends an entry, whatever it takes, and returns its sequence.
async fn append(worker: &Worker, entry: &JournalEntry, last: &mut u64) -> u64 {
    let pulse = &worker.ledger.pulses.journal;
    let journal = worker.bus.journal(entry).unwrap();
    let id = MessageId::derived(["journal", &entry.execution_id, &entry.input_id]);
    loop {
        match journal.append(entry, *last, &id).await {
            Ok(sequence) => {
                *last = sequence;
                return sequence;
            }
            Err(AppendError::Conflict) => {}
            Err(AppendError::Fault(fault)) => pulse.fault(&fault),
        }
        let news = worker.until_done(pulse, || journal.read_after(*last)).await;
        let mut own = None;
        for (sequence, found) in news {
            *last = sequence;
            if found.input_id == entry.input_id {
                own = Some(sequence);
            }
        }
        if let Some(sequence) = own {
            return sequence;
        }
    }
}

async fn list_tools(_: (Bus, Arc<Ledger>), request: ListToolsRequest) -> Result<ToolList, Fault> {
    let tool = |name: &String| ToolDefinition { name: name.clone(), ..Default::default() };
    Ok(ToolList { tools: request.names.iter().map(tool).collect() })
}

async fn execute_tool(
    _: (Bus, Arc<Ledger>),
    request: ExecuteToolRequest,
) -> Result<ToolResult, Fault> {
    let arguments = request.arguments.unwrap_or_default().into_value();
    Ok(ToolResult { result: Some(Json(arguments)), ..Default::default() })
}

/// Each request is answered with its own answer, or fails with a clear fault.
async fn ask(worker: Worker) {
    let pulse = &worker.ledger.pulses.request;
    for number in 0_u64.. {
        let turn = worker.gate.read().await;
        let name = format!("{}-{number}", worker.name);
        let request = ListToolsRequest { names: vec![name.clone()] };
        match worker.bus.request_within(&request, DEADLINE).await {
            Ok(answer) => {
                assert_eq!(answer.tools[0].name, name);
                pulse.beat();
            }
            Err(fault) => pulse.fault(&fault),
        }
        drop(turn);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask_long(worker: Worker) {
    let pulse = &worker.ledger.pulses.long_request;
    for number in 0_u64.. {
        let turn = worker.gate.read().await;
        let arguments = serde_json::json!({ "number": number });
        let request = ExecuteToolRequest {
            tool: "echo".into(),
            arguments: Some(JsonObject::wrap(arguments.clone())),
            ..Default::default()
        };
        match worker.bus.request_within(&request, DEADLINE).await {
            Ok(answer) => {
                assert_eq!(answer.result.unwrap().0, arguments);
                pulse.beat();
            }
            Err(fault) => pulse.fault(&fault),
        }
        drop(turn);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Adds one to what it has read, and reads what it has written.
async fn add(worker: Worker) {
    let pulse = &worker.ledger.pulses.kv;
    let counter = worker.bus.kv::<u64>(Bucket::Registry);
    let mut least = 0;
    loop {
        let turn = worker.gate.read().await;
        let read = worker.until_done(pulse, || counter.get(COUNTER)).await;
        let (value, revision) = read.map_or((0, None), |read| (read.value, Some(read.revision)));
        assert!(value >= least, "the counter was {least}, but is read as {value}");
        let written = match revision {
            Some(revision) => counter.update(COUNTER, &(value + 1), revision).await,
            None => counter.create(COUNTER, &(value + 1)).await,
        };
        let (known, unknown) = match written {
            Ok(_revision) => {
                least = value + 1;
                pulse.beat();
                (1, 0)
            }
            Err(KvError::Conflict) => (0, 0),
            Err(KvError::Fault(fault)) => {
                pulse.fault(&fault);
                (0, 1)
            }
        };
        worker.ledger.added(known, unknown);
        drop(turn);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(worker: Worker) {
    let patterns = vec!["tool.execution.*".to_owned(), "journal.*".to_owned()];
    let mut messages = std::pin::pin!(worker.bus.follow(Stream::Executions, patterns, After(0)));
    while let Some(message) = messages.next().await {
        worker.ledger.followed.lock().unwrap().push(message.sequence);
        worker.ledger.pulses.follow.beat();
    }
}
