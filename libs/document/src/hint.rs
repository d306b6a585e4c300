//! What would be right where a text is no YAML: the parser says where it stopped, and not what was meant.

const TAB: &str = "indent with blanks, not with tabs";
const COLUMN: &str = "begin the keys of one map, and the `-` of one list, in one column";
const COLON: &str = "write `key: value` with a blank behind the colon, begin the keys of one map in one column, and quote a text that has `: ` in it";
const BRACKET: &str =
    "close each `[` and `{`, and quote a text that has a bracket, a comma or `: ` in it";
const QUOTE: &str = "quote the whole text; inside of single quotes a quote is written '', inside of double quotes \\\"";

/// Words of the parser, and what helps. The first that fits counts.
const HINTS: [(&str, &str); 22] = [
    ("tabs disallowed", TAB),
    ("found a tab", TAB),
    ("with a tab", TAB),
    ("tab cannot be", TAB),
    ("unknown escape", "write \\\\ for a backslash, or put the text in single quotes"),
    ("unexpected end of stream", "a quote that is opened here is never closed"),
    ("indentation in quoted", "close the quote, or indent the further lines of the text"),
    ("trailing content", QUOTE),
    ("unexpected character", "quote a text that begins with this character"),
    ("unknown anchor", "quote a text that begins with `*`"),
    ("anchor or alias", "quote a text that begins with `&` or `*`"),
    ("comment intercepting", "quote a text that has ` #` in it"),
    (
        "block sequence entries",
        "begin a list on a line of its own, or quote a text that begins with `- `",
    ),
    ("block scalar", "begin the text behind `|` or `>` on a line of its own"),
    ("misplaced bracket", "it closes no bracket: remove it, or quote a text that has one in it"),
    ("flow", BRACKET),
    ("expected node content", BRACKET),
    ("illegal placement", BRACKET),
    ("expected key", COLUMN),
    ("expected '-'", COLUMN),
    ("mapping values", COLON),
    ("simple key", COLON),
];

/// What would be right, for these words of the parser.
pub(crate) fn hint(words: &str) -> Option<&'static str> {
    HINTS.iter().find(|(part, _)| words.contains(part)).map(|(_, hint)| *hint)
}
