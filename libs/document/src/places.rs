//! Where the parts of a text stand.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, Span, StrInput};

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
}

/// The place of each of these JSON pointers (RFC 6901) in YAML or JSON that could be read.
///
/// An entry of a map is where its key begins. What is not there (a key that is missing, or what an
/// alias stands for) is where the innermost part around it begins; `None` where the text tells nothing.
pub fn places(text: &str, pointers: &[&str]) -> Vec<Option<Place>> {
    let mut wanted = Wanted::default();
    for pointer in pointers {
        wanted.add(pointer);
    }
    let mut finder = Finder { parser: Parser::new_from_str(text.trim_start_matches('\u{feff}')) };
    finder.document(&mut wanted);
    pointers.iter().map(|pointer| wanted.find(pointer)).collect()
}

/// The pointers as a tree, so that no text makes more work than the pointers and itself.
#[derive(Default)]
struct Wanted {
    place: Option<Place>,
    below: HashMap<String, Wanted>,
}

impl Wanted {
    fn add(&mut self, pointer: &str) {
        let mut node = self;
        for segment in segments(pointer) {
            node = node.below.entry(segment).or_default();
        }
    }

    /// The place of the innermost part that is there.
    fn find(&self, pointer: &str) -> Option<Place> {
        let (mut node, mut place) = (self, self.place);
        for segment in segments(pointer) {
            let Some(below) = node.below.get(&segment) else { break };
            place = below.place.or(place);
            node = below;
        }
        place
    }
}

fn segments(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

struct Finder<'t> {
    parser: Parser<'t, StrInput<'t>>,
}

impl<'t> Finder<'t> {
    fn document(&mut self, wanted: &mut Wanted) {
        while let Some((event, span)) = self.next() {
            if let Event::DocumentStart(_) = event {
                if let Some((event, begin)) = self.next() {
                    wanted.place = Some(place(&begin));
                    self.node(&event, Some(wanted));
                } else {
                    wanted.place = Some(place(&span));
                }
                return;
            }
        }
    }

    /// The next event; none at the end and where the text cannot be read any further.
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        self.parser.next_event()?.ok()
    }

    /// Goes through the value that begins with this event. Not by recursion where nothing is wanted.
    fn node(&mut self, event: &Event<'t>, wanted: Option<&mut Wanted>) {
        let wanted = wanted.filter(|wanted| !wanted.below.is_empty());
        match (event, wanted) {
            (Event::SequenceStart(..), Some(wanted)) => self.list(wanted),
            (Event::MappingStart(..), Some(wanted)) => self.map(wanted),
            (Event::SequenceStart(..) | Event::MappingStart(..), None) => self.skip(),
            _ => {}
        }
    }

    fn skip(&mut self) {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next() {
                Some((Event::SequenceStart(..) | Event::MappingStart(..), _)) => depth += 1,
                Some((Event::SequenceEnd | Event::MappingEnd, _)) => depth -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }

    fn list(&mut self, wanted: &mut Wanted) {
        for index in 0_usize.. {
            let Some((event, span)) = self.next() else { return };
            if event == Event::SequenceEnd {
                return;
            }
            let below = wanted.below.get_mut(&index.to_string());
            self.noted(&event, &span, below);
        }
    }

    fn map(&mut self, wanted: &mut Wanted) {
        while let Some((key, span)) = self.next() {
            if key == Event::MappingEnd {
                return;
            }
            let name = match &key {
                Event::Scalar(text, ..) => Some(text.to_string()),
                _ => None,
            };
            self.node(&key, None);
            let Some((event, _)) = self.next() else { return };
            let below = name.and_then(|name| wanted.below.get_mut(&name));
            self.noted(&event, &span, below);
        }
    }

    fn noted(&mut self, event: &Event<'t>, span: &Span, mut wanted: Option<&mut Wanted>) {
        if let Some(wanted) = &mut wanted {
            wanted.place = Some(place(span));
        }
        self.node(event, wanted);
    }
}

fn place(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, (usize, usize))]) {
        let pointers: Vec<&str> = expected.iter().map(|(pointer, _)| *pointer).collect();
        let found: Vec<_> = places(text, &pointers)
            .into_iter()
            .map(|place| place.map(|place| (place.line, place.column)))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(_, place)| Some(*place)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_part_is_where_its_key_or_its_item_begins() {
        check(
            "# a comment\ndo:\n- one: {set: {a: 1}}\n- two:\n    wait:\n      seconds: x\n",
            &[
                ("", (2, 1)),
                ("/do", (2, 1)),
                ("/do/0", (3, 3)),
                ("/do/0/one/set/a", (3, 15)),
                ("/do/1/two", (4, 3)),
                ("/do/1/two/wait/seconds", (6, 7)),
            ],
        );
        check(
            "{\n  \"a/b\": [1, {\"c~\": 2}]\n}",
            &[("/a~1b/1/c~0", (2, 15)), ("/a~1b/0", (2, 11))],
        );
    }

    #[test]
    fn what_is_not_there_is_where_the_part_around_it_is() {
        check("a:\n  b: 1\n", &[("/a/c", (1, 1)), ("/a/b/c", (2, 3)), ("/x", (1, 1))]);
        check("a: &x {n: 1}\nb: *x\n", &[("/b/n", (2, 1)), ("/a/n", (1, 8))]);
    }

    #[test]
    fn a_text_that_cannot_be_read_has_places_up_to_there() {
        assert_eq!(places("", &["/a"]), [None]);
        assert_eq!(
            places("a: 1\nb: [", &["/a", "/b/0"])
                .first()
                .copied()
                .flatten()
                .map(|place| place.line),
            Some(1)
        );
        assert!(places(&"[".repeat(100_000), &["/0/0"]).len() == 1);
        assert!(places(&format!("? {}", "[".repeat(100_000)), &["/0/0"]).len() == 1);
    }
}
