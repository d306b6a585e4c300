//! The part of Jinja that instructions may use.
//!
//! Architecture Invariant: no value is made of others and kept. There is no `set`, `~`, `+`, `*`, macro or call, a filter
//! gives at most some times what it is given, and a tag has one of those that give more. So what a template
//! holds at any time is bounded by its input, and the engine's own limits bound its steps and its text.

use muster_text::jinja::{self, Tag, Word};

/// Filters that take nothing and give at most as much, but for letters that are longer in the other case.
const FILTERS: [&str; 8] = ["first", "items", "last", "length", "lower", "title", "trim", "upper"];
/// What `is` may ask for.
const TESTS: [&str; 7] =
    ["defined", "mapping", "none", "number", "sequence", "string", "undefined"];
/// The longest text between the items of `join`, in bytes: it is given once for each item.
const MAX_BETWEEN: usize = 16;
/// The most filters in one tag.
const MAX_FILTERS: usize = 8;
/// How deep parentheses may stand in each other.
const MAX_DEPTH: usize = 16;

/// What a template may have, for errors.
pub(super) const TAGS: &str = "{{ name.field[0] }}, {{ \"text\" }}, {{ a if b else c }}, {% if … %}, {% elif … %}, {% else %}, {% endif %}, {% for item in name %}, {% for key, value in name | items %}, {% endfor %}, {# comment #}; comparisons, `in`, `is defined`, `and`, `or`, `not`; and the filters tojson, length, trim, lower, upper, title, first, last, items, default(literal) and join(\", \"), of which tojson and join stand once in a tag";

/// Checks that a template has nothing else.
pub(super) fn check(source: &str) -> Result<(), jinja::Refused<'_>> {
    jinja::check(source, |tag| match tag {
        Tag::Value(words) => Reader::new(words).whole(Reader::choice),
        Tag::Control(words) => is_control(words),
    })
}

fn is_control(words: &[Word<'_>]) -> bool {
    let Some((Word::Name(tag), rest)) = words.split_first() else { return false };
    match *tag {
        "if" | "elif" => Reader::new(rest).whole(Reader::any),
        "for" => Reader::new(rest).whole(Reader::each),
        "else" | "endif" | "endfor" => rest.is_empty(),
        _ => false,
    }
}

/// Reads the words of a tag; each part is `None` where it is not allowed.
struct Reader<'w, 't> {
    words: &'w [Word<'t>],
    filters: usize,
    growing: usize,
    depth: usize,
}

impl<'w, 't> Reader<'w, 't> {
    const fn new(words: &'w [Word<'t>]) -> Self {
        Self { words, filters: 0, growing: 0, depth: 0 }
    }

    fn whole(mut self, part: fn(&mut Self) -> Option<()>) -> bool {
        part(&mut self).is_some()
            && self.words.is_empty()
            && self.filters <= MAX_FILTERS
            && self.growing <= 1
    }

    fn next(&mut self) -> Option<Word<'t>> {
        let (word, rest) = self.words.split_first()?;
        self.words = rest;
        Some(*word)
    }

    /// Whether the next word is this one, which is taken then.
    fn takes(&mut self, word: Word<'_>) -> bool {
        let is_next = self.words.first() == Some(&word);
        if is_next {
            self.words = self.words.get(1..).unwrap_or_default();
        }
        is_next
    }

    fn name(&mut self) -> Option<&'t str> {
        match self.next()? {
            Word::Name(name) => Some(name),
            _ => None,
        }
    }

    fn sign(&mut self, sign: &str) -> Option<()> {
        self.takes(Word::Sign(sign)).then_some(())
    }

    /// `item in list`, `key, value in list`, `item in list if condition`.
    fn each(&mut self) -> Option<()> {
        let is_item = |name: &str| is_variable(name) && !name.contains('.');
        is_item(self.name()?).then_some(())?;
        if self.takes(Word::Sign(",")) {
            is_item(self.name()?).then_some(())?;
        }
        self.takes(Word::Name("in")).then_some(())?;
        self.operand()?;
        if self.takes(Word::Name("if")) { self.any() } else { Some(()) }
    }

    /// `a if b else c`.
    fn choice(&mut self) -> Option<()> {
        self.any()?;
        if self.takes(Word::Name("if")) {
            self.any()?;
            self.takes(Word::Name("else")).then_some(())?;
            self.any()?;
        }
        Some(())
    }

    fn any(&mut self) -> Option<()> {
        self.comparison()?;
        while self.takes(Word::Name("or")) || self.takes(Word::Name("and")) {
            self.comparison()?;
        }
        Some(())
    }

    fn comparison(&mut self) -> Option<()> {
        while self.takes(Word::Name("not")) {}
        self.operand()?;
        loop {
            if self.takes(Word::Name("is")) {
                self.takes(Word::Name("not"));
                TESTS.contains(&self.name()?).then_some(())?;
            } else if self.compares() {
                self.operand()?;
            } else {
                return Some(());
            }
        }
    }

    fn compares(&mut self) -> bool {
        let signs = ["==", "!=", "<=", ">=", "<", ">"];
        signs.into_iter().any(|sign| self.takes(Word::Sign(sign)))
            || self.takes(Word::Name("in"))
            || (self.words.starts_with(&[Word::Name("not"), Word::Name("in")])
                && self.takes(Word::Name("not"))
                && self.takes(Word::Name("in")))
    }

    /// A value, with what is taken out of it and its filters.
    fn operand(&mut self) -> Option<()> {
        match self.words.first()? {
            Word::Sign("(") => {
                self.depth += 1;
                (self.depth <= MAX_DEPTH).then_some(())?;
                self.sign("(")?;
                self.choice()?;
                self.sign(")")?;
                self.depth -= 1;
            }
            Word::Name(name) if is_variable(name) => {
                self.next()?;
            }
            _ => self.literal()?,
        }
        loop {
            if self.takes(Word::Sign("[")) {
                matches!(self.next()?, Word::Number(_) | Word::Text(_)).then_some(())?;
                self.sign("]")?;
            } else if self.takes(Word::Sign(".")) {
                self.name()?;
            } else if self.takes(Word::Sign("|")) {
                self.filter()?;
            } else {
                return Some(());
            }
        }
    }

    fn filter(&mut self) -> Option<()> {
        self.filters += 1;
        match self.name()? {
            "tojson" => self.growing += 1,
            "join" => {
                self.growing += 1;
                if self.takes(Word::Sign("(")) {
                    matches!(self.next()?, Word::Text(text) if text.len() <= MAX_BETWEEN)
                        .then_some(())?;
                    self.sign(")")?;
                }
            }
            "default" => {
                self.sign("(")?;
                self.literal()?;
                self.sign(")")?;
            }
            name => FILTERS.contains(&name).then_some(())?,
        }
        Some(())
    }

    /// A text, a number, true, false, none, or a list of such.
    fn literal(&mut self) -> Option<()> {
        match self.next()? {
            Word::Text(_) | Word::Number(_) => Some(()),
            Word::Name(name) => is_constant(name).then_some(()),
            Word::Sign("[") => {
                if self.takes(Word::Sign("]")) {
                    return Some(());
                }
                loop {
                    match self.next()? {
                        Word::Text(_) | Word::Number(_) => {}
                        Word::Name(name) => is_constant(name).then_some(())?,
                        Word::Sign(_) => return None,
                    }
                    if !self.takes(Word::Sign(",")) {
                        return self.sign("]");
                    }
                }
            }
            Word::Sign(_) => None,
        }
    }
}

fn is_constant(name: &str) -> bool {
    matches!(name, "true" | "false" | "none" | "True" | "False" | "None")
}

/// Whether it is no word of the language.
fn is_variable(name: &str) -> bool {
    !is_constant(name) && !matches!(name, "not" | "and" | "or" | "in" | "is" | "if" | "else")
}
