//! What the environment says.

use std::collections::BTreeSet;

use muster_runtime::Env;
use muster_text::nearest;

use super::Finding;

/// The pages that name every setting.
const PAGES: [&str; 11] = [
    include_str!("../../../README.md"),
    include_str!("../../../../../libs/bus/README.md"),
    include_str!("../../../../../libs/runtime/README.md"),
    include_str!("../../../../agent/README.md"),
    include_str!("../../../../execution-log/README.md"),
    include_str!("../../../../gateway/README.md"),
    include_str!("../../../../knowledge/README.md"),
    include_str!("../../../../model/README.md"),
    include_str!("../../../../orchestration/README.md"),
    include_str!("../../../../tool/README.md"),
    include_str!("../../../../vector/README.md"),
];
/// Begins every setting that is nobody else's.
const PREFIX: &str = "MUSTER_";
/// What the scripts for development set for themselves.
const SCRIPTS: [&str; 3] = ["MUSTER_DEV_DIR", "MUSTER_NATS_SERVER", "MUSTER_PG_BIN"];
/// The keys that providers of models are asked with.
const KEYS: [&str; 4] = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OLLAMA_API_KEY"];
/// What says where providers are, say one's own that wants no key.
const PLACES: [&str; 4] =
    ["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GEMINI_BASE_URL", "OLLAMA_HOST"];

/// The settings of every service, and variables that look like settings and are none.
pub(super) fn settings(env: &Env) -> Vec<Finding> {
    let mut findings = Vec::new();
    let services = crate::services();
    for service in &services {
        if let Err(error) = service.check(env) {
            let found = format!("{}: {error:#}", service.name());
            let page =
                format!("services/{}/README.md says what each setting means", service.name());
            findings.push(Finding::fail("settings", found, page));
        }
    }
    for (name, near) in unknown(env) {
        let todo = match near {
            Some(near) => format!("is {near} meant? Else remove it"),
            None => "remove it, or see the README of the service that it is for".to_owned(),
        };
        findings.push(Finding::warn("settings", format!("{name} is no setting"), todo));
    }
    if findings.is_empty() {
        let found = format!("those of {} services can be used", services.len());
        findings.push(Finding::ok("settings", found));
    }
    findings
}

/// Variables that look like settings and are none, each with the setting that was probably meant.
pub(in crate::commands) fn unknown(env: &Env) -> Vec<(&str, Option<&'static str>)> {
    let known = known();
    let ours = env.names().filter(|name| name.starts_with(PREFIX));
    let unknown = ours.filter(|name| !known.contains(name) && !SCRIPTS.contains(name));
    unknown.map(|name| (name, nearest(name, known.iter().copied()))).collect()
}

/// Which providers there is a key or an address for; never what it is.
pub(super) fn models(env: &Env) -> Finding {
    let set = |name: &&&str| env.get(name).is_some_and(|value| !value.trim().is_empty());
    let names: Vec<&str> = KEYS.iter().chain(&PLACES).filter(set).copied().collect();
    if names.is_empty() {
        return Finding::warn(
            "models",
            "no provider has a key here: the built-in `offline` model answers",
            "set OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_HOST, or store a key by POST /v1/providers/{name}/keys, which is not looked for here (docs/keys.md)",
        );
    }
    Finding::ok("models", format!("set: {}", names.join(", ")))
}

fn known() -> BTreeSet<&'static str> {
    let words = PAGES.iter().flat_map(|page| {
        page.split(|letter: char| {
            !(letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
        })
    });
    words.filter(|word| word.starts_with(PREFIX) && word.len() > PREFIX.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Level;

    fn found(variables: &[(&str, &str)]) -> Vec<Finding> {
        settings(&variables.iter().copied().collect())
    }

    #[test]
    fn a_setting_that_cannot_be_used_fails_and_one_that_is_none_is_told() {
        let set = [
            ("MUSTER_TOOL_TIMEOUT_SECONDS", "0"),
            ("MUSTER_HTTP_ALOW", "x"),
            ("MUSTER_DEV_DIR", "x"),
        ];
        let findings = found(&set);
        let fails = findings.iter().find(|finding| finding.level == Level::Fail).unwrap();
        assert!(
            fails.found.starts_with("tool: ")
                || fails.found.contains("MUSTER_TOOL_TIMEOUT_SECONDS"),
            "{findings:?}"
        );
        let slips: Vec<_> =
            findings.iter().filter(|finding| finding.level == Level::Warn).collect();
        assert_eq!(slips.len(), 1, "{findings:?}");
        assert_eq!(slips[0].found, "MUSTER_HTTP_ALOW is no setting");
        assert!(slips[0].todo.contains("is MUSTER_HTTP_ALLOW meant?"), "{}", slips[0].todo);
    }

    #[test]
    fn keys_are_named_and_never_shown() {
        let finding = models(&[("OPENAI_API_KEY", "sk-canary")].into_iter().collect());
        assert_eq!((finding.level, finding.found.as_str()), (Level::Ok, "set: OPENAI_API_KEY"));
        assert_eq!(models(&Env::default()).level, Level::Warn);
    }
}
