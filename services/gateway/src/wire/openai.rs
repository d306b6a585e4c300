//! OpenAI's wire format, as far as clients meet it here.

mod chat;
mod content;
mod embedding;
mod failure;
mod listing;
mod reply;

pub(crate) use chat::{
    AskedCall, AskedFormat, AskedMessage, AskedStop, AskedTool, AskedToolChoice, ChatRequest,
};
pub(crate) use content::{AskedContent, AskedPart};
pub(crate) use embedding::{AskedInput, EmbeddingRequest, Embeddings};
pub(crate) use failure::{Failure, Refusal};
pub(crate) use listing::{ModelEntries, ModelEntry};
pub(crate) use reply::{ChatReply, Pieces};
