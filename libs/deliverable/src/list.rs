//! What there is, read from headers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use muster_bus::{Glance, Kept};
use muster_contracts::deliverable::v1::{Deliverable, TeamDeliverable};
use muster_contracts::{Code, Durable, Fault, Stream, subject};

use crate::store::{SHA256, TOKENS};
use crate::{Address, AddressError, Deliverables};

/// The most entries of a page.
const MAX_PAGE: usize = 1000;
/// Addresses of one stream that are looked up at once.
const AT_ONCE: usize = 64;

/// Which deliverables are asked for. What is empty is not looked at.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Those of the example team: `agog`. Empty: all others.
    pub team: String,
    /// Who made them.
    pub agent: String,
    /// What kind of thing they are.
    pub kind: String,
    /// What they are about.
    pub feature: String,
    /// The execution that they belong to.
    pub execution_id: String,
    /// Every version; else only the newest of each address.
    pub versions: bool,
    /// The `next` of the page before.
    pub after: String,
    /// How many at most, 1 to 1000.
    pub limit: usize,
}

/// A deliverable without its content.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its address with the version.
    pub address: Address,
    /// Its place in the stream.
    pub sequence: u64,
    /// The size of the stored message.
    pub bytes: u64,
    /// How many tokens it has; absent where its publisher did not say it in a header.
    pub tokens: Option<u32>,
    /// SHA-256 of the content, hexadecimal; absent as `tokens`.
    pub sha256: Option<String>,
    /// The execution that it belongs to; empty: none.
    pub execution_id: String,
    /// When it was stored.
    pub time: DateTime<Utc>,
}

/// A part of what there is.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// Where the next page begins; absent: this is the last one.
    pub next: Option<String>,
}

/// The place behind the last entry of a page: a stream's number among those that are listed, and a sequence in it.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    stream: usize,
    sequence: u64,
}

impl Deliverables {
    /// The deliverables that fit, oldest first; of the example team one member after the other.
    ///
    /// # Errors
    /// INVALID where something in the question cannot be, UNAVAILABLE where a stream cannot be read.
    pub async fn list(&self, listing: &Listing) -> Result<Page, Fault> {
        let (streams, patterns) = sources(listing)?;
        let mut place = Place::parse(&listing.after, streams.len())?;
        let mut page = Page::default();
        while let Some(stream) = streams.get(place.stream) {
            let kept = Kept {
                stream: *stream,
                patterns: of_stream(*stream, &patterns),
                newest: !listing.versions,
                after: place.sequence,
                limit: limit(listing)?.saturating_sub(page.entries.len()),
            };
            let fits = |glance: &Glance| {
                listing.execution_id.is_empty() || glance.execution_id == listing.execution_id
            };
            let glances = self.bus.glance(&kept, fits).await?;
            place.sequence = glances.found.last().map_or(place.sequence, |last| last.sequence);
            page.entries.extend(glances.found.iter().filter_map(entry));
            if glances.more {
                page.next = Some(place.to_string());
                return Ok(page);
            }
            place = Place { stream: place.stream + 1, sequence: 0 };
            if page.entries.len() >= limit(listing)? && place.stream < streams.len() {
                page.next = Some(place.to_string());
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// How many tokens those at these addresses have; what is not there is left out. Their contents stay where they are.
    ///
    /// # Errors
    /// As [`Deliverables::list`].
    pub async fn tokens(&self, addresses: &[Address]) -> Result<BTreeMap<Address, u32>, Fault> {
        let mut found = BTreeMap::new();
        let mut open = Vec::new();
        for address in addresses {
            match address.version {
                // One version among others: the subject's newest may be another.
                Some(sequence) => self.tokens_at(address, sequence, &mut found).await?,
                None => open.push(address),
            }
        }
        for some in open.chunks(AT_ONCE) {
            self.newest_tokens(some, &mut found).await?;
        }
        Ok(found)
    }

    async fn tokens_at(
        &self,
        address: &Address,
        sequence: u64,
        found: &mut BTreeMap<Address, u32>,
    ) -> Result<(), Fault> {
        let subject = address.subject().map_err(AddressError::from)?;
        let kept = Kept {
            stream: stream_of(&subject)?,
            patterns: vec![subject],
            newest: false,
            after: sequence.saturating_sub(1),
            limit: 1,
        };
        let glances = self.bus.glance(&kept, |_| true).await?;
        let at = glances.found.iter().find(|glance| glance.sequence == sequence);
        if let Some(glance) = at {
            found.insert(address.clone(), self.count(glance, address).await?);
        }
        Ok(())
    }

    async fn newest_tokens(
        &self,
        addresses: &[&Address],
        found: &mut BTreeMap<Address, u32>,
    ) -> Result<(), Fault> {
        let mut streams: BTreeMap<&str, (Stream, Vec<String>)> = BTreeMap::new();
        for address in addresses {
            let subject = address.subject().map_err(AddressError::from)?;
            let stream = stream_of(&subject)?;
            streams.entry(stream.name()).or_insert((stream, Vec::new())).1.push(subject);
        }
        for (stream, patterns) in streams.into_values() {
            let kept = Kept { stream, patterns, newest: true, after: 0, limit: AT_ONCE };
            for glance in self.bus.glance(&kept, |_| true).await?.found {
                let Some(address) = Address::of_subject(&glance.subject) else { continue };
                let tokens = self.count(&glance, &address).await?;
                found.insert(address, tokens);
            }
        }
        Ok(())
    }

    /// A publisher in another language may not say it in a header: then the body says it.
    async fn count(&self, glance: &Glance, address: &Address) -> Result<u32, Fault> {
        if let Some(tokens) = glance.note(TOKENS).and_then(|tokens| tokens.parse().ok()) {
            return Ok(tokens);
        }
        let address = address.clone().at(Some(glance.sequence));
        Ok(self.fetch(&address).await?.map_or(0, |stored| stored.deliverable.tokens))
    }
}

fn entry(glance: &Glance) -> Option<Entry> {
    Some(Entry {
        address: Address::of_subject(&glance.subject)?.at(Some(glance.sequence)),
        sequence: glance.sequence,
        bytes: glance.bytes,
        tokens: glance.note(TOKENS).and_then(|tokens| tokens.parse().ok()),
        sha256: glance.note(SHA256).map(str::to_owned),
        execution_id: glance.execution_id.clone(),
        time: glance.time,
    })
}

/// The streams that are listed one after the other, and the patterns of the subjects.
fn sources(listing: &Listing) -> Result<(Vec<Stream>, String), Fault> {
    let part = |field: &'static str, value: &str| match value {
        "" => Ok("*".to_owned()),
        value => subject::token(field, value).map(str::to_owned).map_err(AddressError::from),
    };
    let [agent, kind, feature] = [
        part("agent", &listing.agent)?,
        part("type", &listing.kind)?,
        part("feature", &listing.feature)?,
    ];
    match listing.team.as_str() {
        "" => Ok((vec![Deliverable::STREAM], format!("deliverables.{agent}.{kind}.{feature}"))),
        crate::TEAM => {
            let mut streams = TeamDeliverable::STREAMS.to_vec();
            if !listing.agent.is_empty() {
                let address = Address::new(crate::TEAM, &listing.agent, "any", "any")?;
                streams = vec![stream_of(&address.subject().map_err(AddressError::from)?)?];
            }
            Ok((streams, format!("agog.deliverables.{agent}.{kind}.{feature}")))
        }
        other => Err(AddressError::Team(other.chars().take(64).collect()).into()),
    }
}

/// A filter must lie within what the stream keeps: of the example team each stream keeps one member's.
fn of_stream(stream: Stream, pattern: &str) -> Vec<String> {
    let own = stream.subjects().into_iter().filter_map(|kept| {
        let member = kept.split('.').nth(2).filter(|_| kept.starts_with("agog."))?.to_owned();
        let rest: Vec<&str> = pattern.split('.').skip(3).collect();
        Some(format!("agog.deliverables.{member}.{}", rest.join(".")))
    });
    let own: Vec<String> = own.collect();
    if own.is_empty() { vec![pattern.to_owned()] } else { own }
}

fn stream_of(address: &str) -> Result<Stream, Fault> {
    let mut streams = TeamDeliverable::STREAMS.iter().chain(Deliverable::STREAMS).copied();
    let keeps =
        |stream: &Stream| stream.subjects().iter().any(|pattern| subject::covers(pattern, address));
    streams
        .find(keeps)
        .ok_or_else(|| Fault::new(Code::Internal, format!("no stream keeps {address}")))
}

fn limit(listing: &Listing) -> Result<usize, Fault> {
    if (1..=MAX_PAGE).contains(&listing.limit) {
        return Ok(listing.limit);
    }
    let error = format!("`limit` is {}, but it must be 1 to {MAX_PAGE}", listing.limit);
    Err(Fault::new(Code::Invalid, error))
}

impl Place {
    fn parse(text: &str, streams: usize) -> Result<Self, Fault> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let parts = text.split_once('-');
        let place = parts.and_then(|(stream, sequence)| {
            Some(Self { stream: stream.parse().ok()?, sequence: sequence.parse().ok()? })
        });
        place.filter(|place| place.stream < streams).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let error =
                format!("`after` is {shown:?}, but it must be the `next` of an answer, unchanged");
            Fault::new(Code::Invalid, error)
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.stream, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_of_the_team_is_asked_for_its_own_member() {
        let listing = Listing { team: "agog".into(), kind: "report".into(), ..Listing::default() };
        let (streams, pattern) = sources(&listing).unwrap();
        assert_eq!(streams.len(), 6);
        assert_eq!(of_stream(streams[2], &pattern), ["agog.deliverables.roy.report.*"]);
        let listing = Listing { agent: "jen".into(), ..listing };
        let (streams, pattern) = sources(&listing).unwrap();
        assert_eq!(streams.len(), 1);
        assert_eq!(of_stream(streams[0], &pattern), ["agog.deliverables.jen.report.*"]);
        let (streams, pattern) = sources(&Listing::default()).unwrap();
        assert_eq!(of_stream(streams[0], &pattern), ["deliverables.*.*.*"]);
    }

    #[test]
    fn a_wrong_question_is_told_with_its_value() {
        let check = |listing: Listing, words: &str| {
            let error = sources(&listing).map(drop).and_then(|()| limit(&listing).map(drop));
            let error = error.unwrap_err().message;
            assert!(error.contains(words), "{error}");
        };
        check(Listing { team: "agag".into(), ..Listing::default() }, "\"agag\"");
        check(
            Listing { team: "agog".into(), agent: "rob".into(), ..Listing::default() },
            "\"rob\"",
        );
        check(Listing { agent: "a.b".into(), ..Listing::default() }, "\"a.b\"");
        check(Listing { limit: 1001, ..Listing::default() }, "1001");
        assert!(Place::parse("x", 1).unwrap_err().message.contains("`after` is \"x\""));
        assert!(Place::parse("1-5", 1).is_err());
        assert_eq!(Place::parse("0-5", 1).unwrap().to_string(), "0-5");
    }
}
