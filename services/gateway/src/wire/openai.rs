//! OpenAI's wire format, as far as clients meet it here.

mod chat;
mod content;
mod embedding;
mod failure;
mod listing;
mod reply;
mod response_events;
mod responses;

pub(crate) use chat::{
    AskedCall, AskedCallOf, AskedFormat, AskedFunction, AskedMessage, AskedSchema, AskedStop,
    AskedTool, AskedToolChoice, ChatRequest,
};
pub(crate) use content::{AskedContent, AskedImage, AskedPart};
pub(crate) use embedding::{AskedInput, EmbeddingRequest, Embeddings};
pub(crate) use failure::{Failure, Refusal};
pub(crate) use listing::{ModelEntries, ModelEntry};
pub(crate) use reply::Pieces;
pub(crate) use response_events::{Events, Writer};
pub(crate) use responses::{
    Item, ItemContent, ItemInput, ItemPart, ResponsesRequest, ResponsesTool,
};
