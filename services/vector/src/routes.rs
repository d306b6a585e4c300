//! What the service answers and reads.

use muster_bus::{Consume, Routes};

use crate::app::App;
use crate::handlers::get_document::get_document;
use crate::handlers::search::search;
use crate::handlers::upsert::upsert;

/// A day of tries: Postgres or an embedding model may be away for long, and no document shall be given up for that.
const TRIES: u32 = 2880;

/// Documents ingested at the same time: each may hold 8 MiB of text with its vectors in memory.
const INGESTS: usize = 4;

// A second delivery writes the same document over itself: no acknowledgement needs to be confirmed.
pub(crate) fn routes(app: App) -> Routes<App> {
    Routes::new(app)
        .on_with(Consume { concurrency: INGESTS, max_deliver: TRIES, ..Consume::default() }, upsert)
        .rpc(search)
        .rpc(get_document)
}
