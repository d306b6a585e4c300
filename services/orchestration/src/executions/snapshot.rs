//! States beside their journals, so that a long journal is read from its last part only.
//!
//! A snapshot is an artifact of the name `snapshots/{execution_id}`: zstd with a checksum, in it a line of JSON (the head), and the state as the engine saves
//! it. It is a copy of what the journal says and never more: where it is missing, damaged, of another version or lost against another one, the journal is read
//! from its beginning.

use std::collections::HashMap;
use std::io::{Error as IoError, Read, Write};

use muster_bus::Bus;
use muster_workflow::Execution;
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::aside::aside;
use super::hot::Hot;
use crate::definitions::Definitions;

/// The form of the head. Another one is not read.
const FORMAT: u32 = 1;
/// What a snapshot may become; a state beyond is not worth one.
const LARGEST: u64 = 512 * 1024 * 1024;
/// The level with the best use of time for JSON.
const LEVEL: i32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    execution_id: String,
    digest: String,
    /// The sequence of the last entry that is in it.
    last: u64,
    /// The inputs that have an entry, as [`Hot`] knows them.
    inputs: Vec<(u64, u64)>,
}

/// Writes a snapshot. Nothing depends on it.
pub(super) async fn write(bus: &Bus, hot: &Hot) {
    let id = hot.execution.id();
    let stored = match aside(|| pack(hot)) {
        Ok(body) => bus.artifacts().put(&name(id), body.into()).await.map_err(|f| f.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match stored {
        Ok(()) => debug!(execution = id, sequence = hot.last, "snapshot written"),
        Err(error) => warn!(execution = id, error, "snapshot not written, its journal has it all"),
    }
}

/// The execution as its snapshot has it. None where there is none that can be read.
pub(super) async fn read(bus: &Bus, definitions: &Definitions, id: &str) -> Option<Hot> {
    let body = match bus.artifacts().get(&name(id)).await {
        Ok(body) => body?,
        Err(fault) => {
            warn!(execution = id, error = %fault, "snapshot out of reach, its journal is read");
            return None;
        }
    };
    let opened = match aside(|| open(&body, id)) {
        Ok((head, state)) => match definitions.load(&head.digest).await {
            Ok(definition) => aside(|| Execution::restore(&state, definition))
                .map(|execution| Hot::saved(execution, head.last, inputs(head.inputs)))
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    };
    opened
        .inspect_err(|error| {
            warn!(execution = id, error, "snapshot cannot be read, its journal is read");
        })
        .ok()
}

fn pack(hot: &Hot) -> Result<Vec<u8>, IoError> {
    let head = Head {
        format: FORMAT,
        execution_id: hot.execution.id().to_owned(),
        digest: hot.execution.definition().digest().to_owned(),
        last: hot.last,
        inputs: hot.inputs().iter().map(|(input, sequence)| (*input, *sequence)).collect(),
    };
    let state = hot.execution.save().map_err(IoError::other)?;
    let mut writer = zstd::Encoder::new(Vec::new(), LEVEL)?;
    writer.include_checksum(true)?;
    serde_json::to_writer(&mut writer, &head)?;
    writer.write_all(b"\n")?;
    writer.write_all(&state)?;
    writer.finish()
}

fn open(body: &[u8], id: &str) -> Result<(Head, Vec<u8>), IoError> {
    let mut plain = Vec::new();
    zstd::Decoder::new(body)?.take(LARGEST).read_to_end(&mut plain)?;
    let end = plain.iter().position(|byte| *byte == b'\n').unwrap_or(plain.len());
    let state = plain.split_off(end);
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } = serde_json::from_slice(&plain)?;
    if format != FORMAT {
        let text = format!("its format is {format}, this version reads {FORMAT}");
        return Err(IoError::other(text));
    }
    let head: Head = serde_json::from_slice(&plain)?;
    if head.execution_id != id {
        return Err(IoError::other(format!("it is of {}", head.execution_id)));
    }
    Ok((head, state))
}

fn inputs(list: Vec<(u64, u64)>) -> HashMap<u64, u64> {
    list.into_iter().collect()
}

fn name(id: &str) -> String {
    format!("snapshots/{id}")
}
