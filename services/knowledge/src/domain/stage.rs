//! The stages of SPARC, each with a template of its name.

use super::{Flaw, shown};

/// The stages, in their order.
pub(crate) const STAGES: [&str; 5] =
    ["specification", "pseudocode", "architecture", "refinement", "completion"];
/// What the first one is called for short.
const SHORT: &str = "spec";

/// The template of a stage.
///
/// # Errors
/// Where there is no such stage.
pub(crate) fn template_of(stage: &str) -> Result<&'static str, Flaw> {
    let stage = if stage == SHORT { "specification" } else { stage };
    STAGES.into_iter().find(|known| *known == stage).ok_or_else(|| {
        Flaw(format!(
            "`stage` is {:?}, but must be one of {} (or {SHORT})",
            shown(stage),
            STAGES.join(", ")
        ))
    })
}
