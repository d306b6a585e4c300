//! Runs a module within bounds of memory, steps and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmi::{
    Caller, Config, Engine, Extern, Instance, Linker, Memory, Module, Store, StoreLimits,
    StoreLimitsBuilder, TypedFunc, TypedResumableCall, WasmParams, WasmResults,
};

/// Steps after which it is looked whether anybody still waits.
const SLICE: u64 = 1_000_000;
/// The largest output, in bytes.
const MAX_OUTPUT: usize = 10_000_000;
/// The most elements of a table.
const MAX_TABLE: usize = 100_000;
/// The longest line that a module may log, in bytes, and how many of them are kept.
const MAX_LINE: usize = 1_000;
const MAX_LINES: u32 = 100;

/// What one call may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In bytes.
    pub(super) memory: usize,
    /// Steps of the interpreter, about one for an instruction.
    pub(super) fuel: u64,
}

/// A module that has what a tool needs.
pub(super) struct Program {
    module: Module,
    linker: Linker<Host>,
}

/// What a module can reach.
struct Host {
    limits: StoreLimits,
    lines: u32,
}

/// Says on its drop that nobody waits.
pub(super) struct Wanted(Arc<AtomicBool>);

/// Whether nobody waits any more.
pub(super) struct Stop(Arc<AtomicBool>);

/// Two ends: the module stops when the first is dropped.
pub(super) fn stop() -> (Wanted, Stop) {
    let stop = Arc::new(AtomicBool::new(false));
    (Wanted(stop.clone()), Stop(stop))
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Program {
    pub(super) fn new(module: &[u8]) -> Result<Self, String> {
        let mut config = Config::default();
        config.consume_fuel(true).allow_start_fn(false).ignore_custom_sections(true);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, module)
            .map_err(|error| format!("the module is no WebAssembly that can be used: {error}"))?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("muster", "log", log).map_err(|error| error.to_string())?;
        let program = Self { module, linker };
        // Its exports show themselves when it is made ready once.
        let mut store = program.store(Bounds { memory: 512 << 20, fuel: SLICE })?;
        program.parts(&mut store)?;
        Ok(program)
    }

    fn store(&self, bounds: Bounds) -> Result<Store<Host>, String> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(bounds.memory)
            .table_elements(MAX_TABLE)
            .instances(1)
            .memories(1)
            .tables(4)
            .build();
        let mut store = Store::new(self.linker.engine(), Host { limits, lines: 0 });
        store.limiter(|host| &mut host.limits);
        store.set_fuel(bounds.fuel.min(SLICE)).map_err(|error| error.to_string())?;
        Ok(store)
    }

    fn parts(&self, store: &mut Store<Host>) -> Result<Parts, String> {
        let instance = self
            .linker
            .instantiate_and_start(&mut *store, &self.module)
            .map_err(|error| format!("the module cannot be made ready: {error}"))?;
        Parts::of(&instance, store)
    }

    /// What the module makes of an input.
    pub(super) fn run(&self, input: &[u8], bounds: Bounds, stop: &Stop) -> Result<Vec<u8>, String> {
        let mut store = self.store(bounds)?;
        let parts = self.parts(&mut store)?;
        let mut left = bounds.fuel.saturating_sub(SLICE);
        let length = i32::try_from(input.len()).map_err(|error| error.to_string())?;
        let mut steps = Steps { bounds, left: &mut left, stop };
        let at = steps.call(&mut store, &parts.alloc, length)?;
        let place =
            range(at, length).and_then(|range| parts.memory.data_mut(&mut store).get_mut(range));
        place.ok_or("`alloc` gave a place outside of the memory")?.copy_from_slice(input);
        let packed = steps.call(&mut store, &parts.call, (at, length))?;
        #[expect(clippy::cast_possible_truncation, reason = "the halves are what is meant")]
        let (at, length) = ((packed >> 32) as i32, packed as i32);
        let output = range(at, length).and_then(|range| parts.memory.data(&store).get(range));
        let output = output.ok_or("`call` gave a result outside of the memory")?;
        if output.len() > MAX_OUTPUT {
            return Err(format!(
                "the result has {} bytes, but must have at most {MAX_OUTPUT}",
                output.len()
            ));
        }
        Ok(output.to_vec())
    }
}

/// What a module exports.
struct Parts {
    memory: Memory,
    alloc: TypedFunc<i32, i32>,
    call: TypedFunc<(i32, i32), i64>,
}

impl Parts {
    fn of(instance: &Instance, store: &Store<Host>) -> Result<Self, String> {
        let missing = |what: &str| format!("the module must export {what}");
        Ok(Self {
            memory: instance
                .get_memory(store, "memory")
                .ok_or_else(|| missing("a memory named `memory`"))?,
            alloc: instance
                .get_typed_func(store, "alloc")
                .map_err(|error| missing(&format!("`alloc(i32) -> i32`: {error}")))?,
            call: instance
                .get_typed_func(store, "call")
                .map_err(|error| missing(&format!("`call(i32, i32) -> i64`: {error}")))?,
        })
    }
}

/// Fuel that is given in slices.
struct Steps<'a> {
    bounds: Bounds,
    left: &'a mut u64,
    stop: &'a Stop,
}

impl Steps<'_> {
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        store: &mut Store<Host>,
        function: &TypedFunc<P, R>,
        parameters: P,
    ) -> Result<R, String> {
        let trapped = |error: wasmi::Error| format!("the module broke off: {error}");
        let mut call = function.call_resumable(&mut *store, parameters).map_err(trapped)?;
        loop {
            match call {
                TypedResumableCall::Finished(result) => return Ok(result),
                TypedResumableCall::HostTrap(trap) => {
                    return Err(format!("the module broke off: {}", trap.host_error()));
                }
                TypedResumableCall::OutOfFuel(paused) => {
                    if self.stop.0.load(Ordering::Relaxed) {
                        return Err("nobody waits for the module any more".to_owned());
                    }
                    let more = (*self.left).min(SLICE.max(paused.required_fuel()));
                    if more < paused.required_fuel().max(1) {
                        return Err(format!(
                            "the module used up its fuel of {} steps (`with.fuel`)",
                            self.bounds.fuel
                        ));
                    }
                    *self.left -= more;
                    let rest = store.get_fuel().map_err(trapped)?;
                    store.set_fuel(rest.saturating_add(more)).map_err(trapped)?;
                    call = paused.resume(&mut *store).map_err(trapped)?;
                }
            }
        }
    }
}

/// A place in the memory.
fn range(at: i32, length: i32) -> Option<std::ops::Range<usize>> {
    // Addresses have no sign.
    let at = usize::try_from(at.cast_unsigned()).ok()?;
    let length = usize::try_from(length.cast_unsigned()).ok()?;
    Some(at..at.checked_add(length)?)
}

/// The only thing that a module can ask for: a line in the service's log.
fn log(mut caller: Caller<'_, Host>, at: i32, length: i32) {
    if caller.data().lines >= MAX_LINES {
        return;
    }
    caller.data_mut().lines += 1;
    let Some(memory) = caller.get_export("memory").and_then(Extern::into_memory) else { return };
    let line = range(at, length).and_then(|range| memory.data(&caller).get(range));
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let line: String = line.chars().take(MAX_LINE).filter(|letter| !letter.is_control()).collect();
    tracing::info!(line, "a module says");
}
