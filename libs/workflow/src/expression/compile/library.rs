//! jq's own definitions, guarded; an expression gets only those that it reaches.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jaq_core::load::parse::{Def, Term};

use super::inspect::{Inspection, Signature};
use crate::expression::guard::Guard;
use crate::expression::natives;

struct Entry {
    definition: Def<&'static str>,
    calls: BTreeSet<Signature<'static>>,
    recursive: bool,
}

/// What an expression needs of the library.
pub(super) struct Library {
    pub(super) definitions: Vec<Def<&'static str>>,
    /// Whether any of it recurses.
    pub(super) recursive: bool,
}

static LIBRARY: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let all = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    all.filter(|definition| natives::absent(definition.name).is_none())
        .filter_map(|definition| {
            let inspection = Inspection::of(&definition.body).ok()?;
            let calls = inspection.calls;
            let signature = (definition.name, definition.args.len());
            let recursive = inspection.defines || calls.contains(&signature);
            let recurses = matches!(definition.body, Term::Recurse);
            let definition = Guard { links: false }.definition(definition);
            Some(Entry { definition, calls, recursive: recursive || recurses })
        })
        .collect()
});

/// The definitions that `calls` need, in an order in which each stands after what it calls.
pub(super) fn reachable(calls: &BTreeSet<Signature<'_>>) -> Library {
    let mut needed: BTreeSet<Signature<'_>> = calls.clone();
    let mut library = Library { definitions: Vec::new(), recursive: false };
    // A definition calls only earlier ones and itself, so that one pass from the end finds all.
    for entry in LIBRARY.iter().rev() {
        if needed.contains(&(entry.definition.name, entry.definition.args.len())) {
            needed.extend(entry.calls.iter().copied());
            library.recursive |= entry.recursive;
            library.definitions.push(entry.definition.clone());
        }
    }
    library.definitions.reverse();
    library
}
