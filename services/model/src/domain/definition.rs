//! Names for models: what is asked for them, and in which order.

use std::time::Duration;

use muster_contracts::model::v1::{ModelDefinition, ModelTarget};
use sha2::{Digest as _, Sha256};

use super::caching;
use super::prompt::check_model;

/// The most targets of a name.
const MAX_TARGETS: usize = 32;
const MAX_GROUP: u32 = 16;
const MAX_WEIGHT: u32 = 1_000;
const MAX_RETRIES: u32 = 5;
const MAX_SECONDS: u32 = 3_600;
const RETRIES: u32 = 1;
const TIMEOUT: Duration = Duration::from_secs(600);
const COOLDOWN: Duration = Duration::from_secs(30);

/// Checks a definition whose targets must be among these providers.
pub(crate) fn check(definition: &ModelDefinition, providers: &[&str]) -> Result<(), String> {
    let name = definition.name.as_bytes();
    let known = |letter: &u8| letter.is_ascii_alphanumeric() || b"._-".contains(letter);
    let begins = name.first().is_some_and(u8::is_ascii_alphanumeric);
    if !begins || name.len() > 63 || !name.iter().all(known) {
        let shown: String = definition.name.chars().take(80).collect();
        return Err(format!(
            "name is {shown:?}, but must be 1 to 63 letters, digits and ._-, beginning with a letter or digit"
        ));
    }
    if definition.targets.is_empty() || definition.targets.len() > MAX_TARGETS {
        let count = definition.targets.len();
        return Err(format!("targets has {count} entries, but must have 1 to {MAX_TARGETS}"));
    }
    for (at, target) in definition.targets.iter().enumerate() {
        check_target(target, providers).map_err(|error| format!("targets[{at}].{error}"))?;
    }
    within("retries", definition.retries.unwrap_or(RETRIES), MAX_RETRIES)?;
    within("timeout_seconds", definition.timeout_seconds, MAX_SECONDS)?;
    let cache = definition.cache.as_ref().map_or(Ok(()), caching::check);
    cache.map_err(|what| format!("cache.{what}"))
}

fn check_target(target: &ModelTarget, providers: &[&str]) -> Result<(), String> {
    if !providers.contains(&target.provider.as_str()) {
        let shown: String = target.provider.chars().take(80).collect();
        return Err(format!("provider is {shown:?}, but must be one of {}", providers.join(", ")));
    }
    check_model(&target.model).map_err(|error| error.to_string())?;
    within("group", target.group, MAX_GROUP)?;
    within("weight", target.weight, MAX_WEIGHT)?;
    within("cooldown_seconds", target.cooldown_seconds, MAX_SECONDS)
}

fn within(field: &str, value: u32, most: u32) -> Result<(), String> {
    if value > most {
        return Err(format!("{field} is {value}, but must be at most {most}"));
    }
    Ok(())
}

/// The definition with its digest.
pub(crate) fn sealed(definition: ModelDefinition) -> anyhow::Result<ModelDefinition> {
    let bare = ModelDefinition { digest: String::new(), preset: false, ..definition.clone() };
    let digest = Sha256::digest(serde_json::to_vec(&bare)?);
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ModelDefinition { digest, ..definition })
}

/// How often a target is asked again.
pub(crate) fn retries(definition: &ModelDefinition) -> u32 {
    definition.retries.unwrap_or(RETRIES)
}

/// How long a request may take.
pub(crate) fn timeout(definition: &ModelDefinition) -> Duration {
    seconds(definition.timeout_seconds, TIMEOUT)
}

/// How long a target is asked last after it failed.
pub(crate) fn cooldown(target: &ModelTarget) -> Duration {
    seconds(target.cooldown_seconds, COOLDOWN)
}

fn seconds(value: u32, default: Duration) -> Duration {
    if value == 0 { default } else { Duration::from_secs(u64::from(value)) }
}

/// The targets in the order in which a request with this key asks them: group by group, and within a group by weight.
///
/// The order depends on the key alone, so that a request that is repeated goes the same way.
pub(crate) fn order<'a>(targets: &'a [ModelTarget], key: &str) -> Vec<&'a ModelTarget> {
    let mut ranked: Vec<(usize, f64, &ModelTarget)> = targets
        .iter()
        .enumerate()
        .map(|(at, target)| {
            let alike = |other: &ModelTarget| target.group > 0 && other.group == target.group;
            let group = targets.iter().position(alike).unwrap_or(at);
            (group, draw(target, key, at), target)
        })
        .collect();
    ranked.sort_by(|(a, x, _), (b, y, _)| a.cmp(b).then(x.total_cmp(y)));
    ranked.into_iter().map(|(.., target)| target).collect()
}

/// The target with the least number is the first with a probability in proportion to its weight.
fn draw(target: &ModelTarget, key: &str, at: usize) -> f64 {
    let digest = Sha256::digest(format!("{key}\n{}\n{}\n{at}", target.provider, target.model));
    let bytes = digest.iter().take(6);
    let number = bytes.fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    // 48 bits fit into a float exactly; never 0, whose logarithm has no value.
    let chance = (number as f64 + 1.0) / (2_f64.powi(48) + 1.0);
    -chance.ln() / f64::from(target.weight.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(provider: &str, group: u32, weight: u32) -> ModelTarget {
        ModelTarget { provider: provider.into(), group, weight, ..Default::default() }
    }

    fn names(targets: &[ModelTarget], key: &str) -> String {
        order(targets, key).iter().map(|target| target.provider.as_str()).collect()
    }

    #[test]
    fn groups_keep_their_order_and_share_by_weight() {
        let targets = [target("a", 0, 0), target("b", 7, 3), target("c", 0, 9), target("d", 7, 1)];
        let counts = (0..4_000).fold([0, 0], |[b, d], key| {
            match names(&targets, &key.to_string()).as_str() {
                "abdc" => [b + 1, d],
                "adbc" => [b, d + 1],
                other => panic!("{other}"),
            }
        });
        assert!((2_850..3_150).contains(&counts[0]), "{counts:?}");
        assert_eq!(names(&targets, "k"), names(&targets, "k"));
    }

    #[test]
    fn a_bad_definition_is_told_what_is_wrong() {
        let good = ModelDefinition {
            name: "fast".into(),
            targets: vec![target("openai", 1, 2)],
            ..Default::default()
        };
        assert_eq!(check(&good, &["openai"]), Ok(()));
        let refused = |definition: ModelDefinition, part: &str| {
            let error = check(&definition, &["offline", "openai"]).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        refused(ModelDefinition { name: "a/b".into(), ..good.clone() }, "name is \"a/b\"");
        refused(ModelDefinition { targets: Vec::new(), ..good.clone() }, "1 to 32");
        let with = |target| ModelDefinition { targets: vec![target], ..good.clone() };
        refused(
            with(target("acme", 0, 0)),
            "targets[0].provider is \"acme\", but must be one of offline, openai",
        );
        refused(with(target("openai", 17, 0)), "targets[0].group is 17");
        refused(with(target("openai", 0, 1_001)), "targets[0].weight is 1001");
        refused(ModelDefinition { retries: Some(6), ..good.clone() }, "retries is 6");
        refused(ModelDefinition { timeout_seconds: 3_601, ..good }, "timeout_seconds is 3601");
    }
}
