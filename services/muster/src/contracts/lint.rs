//! The rules of the contract that its compiler does not check: names, and who sends and reads what.

use muster_contracts::permissions::consumer_name;
use muster_contracts::subject::pattern;
use muster_contracts::{CATALOGUE, Entry, Kind, Stream};

/// What a subject is.
const SHAPE: &str = "component.entity.action: two to five tokens of a-z, 0-9 and `_` that begin with a letter, values in braces, such as tool.execution.completed or agent.{agent_id}.inbox";

/// What is wrong in the contract; nothing where all is well.
pub(crate) fn contract() -> Vec<String> {
    of(CATALOGUE)
}

/// What is wrong with a subject that somebody wants to add.
pub(crate) fn planned(subject: &str) -> Vec<String> {
    let mut flaws: Vec<String> = shape(subject).into_iter().collect();
    if flaws.is_empty() {
        let same = CATALOGUE.iter().filter(|entry| pattern(entry.subject) == pattern(subject));
        flaws.extend(same.map(|entry| {
            format!("{subject}: {} has it already, as {}", entry.message, entry.subject)
        }));
    }
    flaws
}

fn of(entries: &[Entry]) -> Vec<String> {
    let mut flaws: Vec<String> = entries.iter().filter_map(|entry| shape(entry.subject)).collect();
    flaws.extend(entries.iter().filter_map(people));
    for (place, entry) in entries.iter().enumerate() {
        for other in entries.iter().skip(place + 1) {
            flaws.extend(meaning(entry, other));
            flaws.extend(consumers(entry, other));
        }
    }
    flaws
}

fn shape(subject: &str) -> Option<String> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let good = (2..=5).contains(&tokens.len()) && tokens.iter().all(|token| is_word(token));
    (!good).then(|| format!("{subject}: a subject is {SHAPE}"))
}

fn is_word(token: &str) -> bool {
    let inside = token.strip_prefix('{').and_then(|token| token.strip_suffix('}'));
    let word = inside.unwrap_or(token);
    word.starts_with(|letter: char| letter.is_ascii_lowercase())
        && word.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_'))
}

/// Somebody sends it, and somebody does what is asked for.
fn people(entry: &Entry) -> Option<String> {
    let Entry { subject, message, .. } = entry;
    let republished =
        |stream: &Stream| stream.settings().republish.is_some_and(|(_, to)| to == pattern(subject));
    if entry.producers.is_empty() && !Stream::ALL.iter().any(republished) {
        return Some(format!("{subject}: nobody sends {message}: name its producers or callers"));
    }
    let work = matches!(entry.kind, Kind::Command | Kind::Request);
    (work && entry.consumers.is_empty()).then(|| {
        format!("{subject}: nobody does what {message} asks for: name its consumers or its server")
    })
}

/// A subject means one message. An event may be a question for who sends it: its readers pass over it.
fn meaning(entry: &Entry, other: &Entry) -> Option<String> {
    let asks = [entry.kind, other.kind].contains(&Kind::Request) && entry.kind != other.kind;
    let same = pattern(entry.subject) == pattern(other.subject);
    (same && !asks && entry.message != other.message).then(|| {
        format!("{}: it means {}, and {}, too", entry.subject, entry.message, other.message)
    })
}

/// Two consumers of one name would take each other's messages.
fn consumers(entry: &Entry, other: &Entry) -> Option<String> {
    if entry.message == other.message || entry.stream.is_none() || entry.stream != other.stream {
        return None;
    }
    let (mine, theirs) = (entry.consumers, other.consumers);
    let name = |service: &&str| consumer_name(service, entry.message);
    let both = mine.iter().find(|service| {
        theirs.contains(service) && name(service) == consumer_name(service, other.message)
    });
    both.map(|service| {
        let name = name(service);
        format!("{}: {} has the same consumer {name}", entry.subject, other.message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_keeps_its_rules() {
        assert_eq!(contract(), Vec::<String>::new());
    }

    #[test]
    fn a_subject_that_breaks_a_rule_is_told_with_what_would_be_right() {
        let check = |subject: &str, expected: &str| {
            let flaws = planned(subject);
            assert_eq!(flaws.len(), 1, "{subject}: {flaws:?}");
            assert!(flaws[0].contains(expected), "{flaws:?}");
        };
        for bad in ["alert", "a.b.c.d.e.f", "Agent.x", "agent..x", "agent.*", "tool.{na-me}", ""] {
            check(bad, "component.entity.action");
        }
        check("tools.{anything}", "muster.tool.v1.");
        assert!(planned("billing.invoice.paid").is_empty());
    }

    #[test]
    fn an_entry_without_people_or_beside_its_like_is_told() {
        let entry = CATALOGUE.iter().find(|entry| entry.kind == Kind::Command).unwrap();
        let check = |entries: &[Entry], expected: &[&str]| {
            let flaws = of(entries).join("\n");
            assert_eq!(flaws.lines().count(), expected.len(), "{flaws}");
            assert!(expected.iter().all(|part| flaws.contains(part)), "{flaws}");
        };
        check(&[*entry], &[]);
        check(&[Entry { producers: &[], ..*entry }], &["nobody sends"]);
        check(&[Entry { consumers: &[], ..*entry }], &["nobody does what"]);
        let twin = Entry { message: "muster.other.v1.Twin", ..*entry };
        check(&[*entry, twin], &["muster.other.v1.Twin, too"]);
    }
}
