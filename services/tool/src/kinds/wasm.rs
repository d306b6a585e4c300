//! `kind: wasm`: a WebAssembly module that has nothing but its memory: no files, no network, no clock.

mod sandbox;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt;
use muster_bus::{Bucket, Kv};
use muster_contracts::JsonObject;
use muster_contracts::tool::v1::ToolDefinition;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use self::sandbox::{Bounds, Program};
use super::{Kinds, described, with};
use crate::domain::call::{Call, Definition, Effect};
use crate::error::Error;
use crate::tools::{Tool, Work};

/// The largest module, in bytes.
const MAX_MODULE: usize = 4 << 20;
const MEMORY_MIB: u32 = 32;
const MAX_MEMORY_MIB: u32 = 512;
const FUEL: u64 = 1_000_000_000;
const MAX_FUEL: u64 = 1_000_000_000_000;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct With {
    /// In the operator's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// As base64; it is kept, and `sha256` stands for it from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_mib: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
}

/// A module that was registered.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    module: String,
}

struct Module {
    definition: Definition,
    program: Arc<Program>,
    bounds: Bounds,
    /// Threads that modules may use at the same time.
    threads: Arc<Semaphore>,
}

/// What modules share.
#[derive(Clone)]
pub(super) struct Sandbox {
    folder: Option<PathBuf>,
    threads: Arc<Semaphore>,
}

impl Sandbox {
    /// `folder` is the operator's; nothing: modules of files are refused.
    pub(super) fn new(folder: &str) -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            folder: (!folder.is_empty()).then(|| PathBuf::from(folder)),
            threads: Arc::new(Semaphore::new(threads)),
        }
    }

    async fn file(&self, name: &str) -> Result<Vec<u8>, Error> {
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        let folder = self.folder.as_ref().filter(|_| plain).ok_or_else(|| {
            Error::Denied(format!(
                "the module {name:?} cannot be read: the operator has to put it, as a file of that name, into the folder MUSTER_WASM_DIR of the tool service"
            ))
        })?;
        let path = folder.join(name);
        let found = tokio::fs::metadata(&path).await.map_err(|error| {
            Error::NotFound(format!("the module {name:?} is not in MUSTER_WASM_DIR: {error}"))
        })?;
        // A pipe or a device may have no end.
        if !found.is_file() {
            let what = format!("the module {name:?} in MUSTER_WASM_DIR is no file");
            return Err(Error::Invalid(what));
        }
        too_large(usize::try_from(found.len()).unwrap_or(usize::MAX))?;
        Ok(tokio::fs::read(&path).await.context("a module cannot be read")?)
    }
}

/// Keeps a module that the definition brings along.
pub(super) async fn complete(
    kinds: &Kinds,
    mut definition: ToolDefinition,
) -> Result<ToolDefinition, Error> {
    let mut with: With = with(&definition)?;
    let Some(encoded) = with.module.take() else { return Ok(definition) };
    let module = BASE64_STANDARD.decode(encoded.trim()).map_err(|error| {
        Error::Invalid(format!("`with.module` is no base64 of a WebAssembly module: {error}"))
    })?;
    too_large(module.len())?;
    let sha256 = format!("{:x}", Sha256::digest(&module));
    // Nothing is kept that could not be called.
    program(module).await?;
    modules(kinds).put(&key(&sha256), &Kept { module: encoded.trim().to_owned() }).await?;
    with.sha256 = Some(sha256);
    definition.with = Some(JsonObject::wrap(json!(with)));
    Ok(definition)
}

/// The tool of a definition.
pub(super) async fn tool(
    kinds: &Kinds,
    definition: &ToolDefinition,
) -> Result<Box<dyn Tool>, Error> {
    let with: With = with(definition)?;
    let bounds = bounds(&with)?;
    let module = match (&with.file, &with.sha256) {
        (Some(name), None) => kinds.sandbox.file(name).await?,
        (None, Some(sha256)) => kept(kinds, sha256).await?,
        _ => {
            return Err(Error::Invalid(
                "`with` of the kind wasm must have one of `file`, `module` and `sha256`".to_owned(),
            ));
        }
    };
    Ok(Box::new(Module {
        // It has nothing to change, and nothing to know but its arguments.
        definition: described(definition, Effect::Computed),
        program: Arc::new(program(module).await?),
        bounds,
        threads: kinds.sandbox.threads.clone(),
    }))
}

fn bounds(with: &With) -> Result<Bounds, Error> {
    let memory_mib = with.memory_mib.unwrap_or(MEMORY_MIB);
    let fuel = with.fuel.unwrap_or(FUEL);
    if !(1..=MAX_MEMORY_MIB).contains(&memory_mib) {
        return Err(Error::Invalid(format!(
            "`with.memory_mib` is {memory_mib}, but must be 1 to {MAX_MEMORY_MIB}"
        )));
    }
    if !(1..=MAX_FUEL).contains(&fuel) {
        return Err(Error::Invalid(format!("`with.fuel` is {fuel}, but must be 1 to {MAX_FUEL}")));
    }
    Ok(Bounds { memory: usize::try_from(memory_mib).unwrap_or_default() << 20, fuel })
}

async fn program(module: Vec<u8>) -> Result<Program, Error> {
    let made = tokio::task::spawn_blocking(move || Program::new(&module)).await;
    made.map_err(|error| Error::Internal(anyhow!(error).context("a module was not read")))?
        .map_err(Error::Invalid)
}

async fn kept(kinds: &Kinds, sha256: &str) -> Result<Vec<u8>, Error> {
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = match is_digest {
        true => modules(kinds).get(&key(sha256)).await?,
        false => None,
    };
    let found = found.ok_or_else(|| {
        Error::Invalid(format!(
            "`with.sha256` is {sha256:.80}, but no module was registered with this digest: send it as `with.module`"
        ))
    })?;
    let module = BASE64_STANDARD.decode(found.value.module);
    Ok(module.context("a module that was registered is damaged")?)
}

fn modules(kinds: &Kinds) -> Kv<Kept> {
    kinds.bus.kv(Bucket::Registry)
}

fn key(sha256: &str) -> String {
    format!("modules/{sha256}")
}

fn too_large(size: usize) -> Result<(), Error> {
    if size > MAX_MODULE {
        return Err(Error::Invalid(format!(
            "the module has {size} bytes, but must have at most {MAX_MODULE}"
        )));
    }
    Ok(())
}

impl Module {
    async fn run(&self, call: &Call) -> Result<Value, Error> {
        let _thread = self.threads.acquire().await.context("the threads of modules are closed")?;
        let (program, bounds) = (self.program.clone(), self.bounds);
        let input = Value::Object(call.arguments.clone()).to_string();
        // Where nobody waits any more, the module stops after its next slice of fuel.
        let (wanted, nobody_waits) = sandbox::stop();
        let work = tokio::task::spawn_blocking(move || {
            program.run(input.as_bytes(), bounds, &nobody_waits)
        });
        let output = work.await.map_err(|error| anyhow!(error).context("a module broke off"))?;
        drop(wanted);
        let failed =
            |text: String| Error::Conflict(format!("the tool {} failed: {text}", call.name));
        let value: Value = serde_json::from_slice(&output.map_err(failed)?)
            .map_err(|error| failed(format!("the module answered no JSON: {error}")))?;
        match value.as_object().and_then(only_error) {
            Some(text) => Err(failed(text)),
            None => Ok(value),
        }
    }
}

/// `{"error": ".."}` is how a module says that it failed.
fn only_error(fields: &Map<String, Value>) -> Option<String> {
    let text = fields.get("error").filter(|_| fields.len() == 1)?.as_str()?;
    Some(text.chars().take(1_000).collect())
}

impl Tool for Module {
    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        self.run(call).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_module_that_has_no_end_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("endless.wasm")).unwrap();
        let sandbox = Sandbox::new(folder.path().to_str().unwrap());
        let error = sandbox.file("endless.wasm").await.unwrap_err().to_string();
        assert!(error.contains("\"endless.wasm\" in MUSTER_WASM_DIR is no file"), "{error}");
    }
}
