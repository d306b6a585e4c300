//! The fixed words of the contract's subjects: what a token must not be, so that no subject means two things.

use std::collections::BTreeSet;

use prost_reflect::DescriptorPool;

use crate::options;
use crate::traits::token_field;

/// Every template of the contract.
pub(crate) struct Words {
    templates: Vec<Vec<String>>,
}

impl Words {
    pub(crate) fn of(pool: &DescriptorPool) -> anyhow::Result<Self> {
        let mut templates = Vec::new();
        for message in pool.all_messages() {
            if let Some(bus) = options::bus(&message)? {
                templates.extend([bus.subject, bus.schedule, bus.alias, bus.republished]);
            }
        }
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            templates.push(options::rpc(&method)?.subject);
        }
        let templates = templates
            .iter()
            .filter(|template| !template.is_empty())
            .map(|template| template.split('.').map(str::to_owned).collect())
            .collect();
        Ok(Self { templates })
    }

    /// The words at this place that would make the whole subject another one's.
    pub(crate) fn beside(&self, template: &str, place: usize) -> Vec<String> {
        self.words(template, place, |ours, theirs| {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| meet(a, b))
        })
    }

    /// The words at this place behind the same beginning, whatever follows: an id is wanted for subjects that are to come, too.
    pub(crate) fn beside_id(&self, template: &str, place: usize) -> Vec<String> {
        self.words(template, place, |ours, theirs| {
            ours.iter().zip(theirs).take(place).all(|(a, b)| meet(a, b))
        })
    }

    fn words(
        &self,
        template: &str,
        place: usize,
        related: impl Fn(&[String], &[String]) -> bool,
    ) -> Vec<String> {
        let ours: Vec<String> = template.split('.').map(str::to_owned).collect();
        let words: BTreeSet<String> = self
            .templates
            .iter()
            .filter(|theirs| related(&ours, theirs))
            .filter_map(|theirs| theirs.get(place))
            .filter(|word| token_field(word).is_none())
            .cloned()
            .collect();
        words.into_iter().collect()
    }
}

/// Whether one token can be both.
fn meet(a: &str, b: &str) -> bool {
    a == b || token_field(a).is_some() || token_field(b).is_some()
}
