//! What people read: standard output, with colours in a terminal only.

use std::io::{self, IsTerminal, Write};

/// A colour of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Dim,
    Bold,
    Red,
    Green,
    /// One of several that tell speakers apart.
    Speaker(usize),
}

impl Colour {
    fn code(self) -> &'static str {
        const SPEAKERS: [&str; 5] = ["36", "35", "33", "34", "32"];
        match self {
            Self::Dim => "2",
            Self::Bold => "1",
            Self::Red => "31",
            Self::Green => "32",
            Self::Speaker(number) => SPEAKERS.get(number % SPEAKERS.len()).copied().unwrap_or("36"),
        }
    }
}

/// Where to write, and whether in colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    colours: bool,
}

impl Output {
    pub(crate) fn of_process() -> Self {
        // https://no-color.org
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: io::stdout().is_terminal() && !unwanted }
    }

    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        if self.colours {
            format!("\u{1b}[{}m{text}\u{1b}[0m", colour.code())
        } else {
            text.to_owned()
        }
    }

    /// Writes a line. A reader that has gone away (`| head`) is not an error.
    pub(crate) fn line(&self, text: &str) {
        let mut out = io::stdout().lock();
        drop(writeln!(out, "{text}").and_then(|()| out.flush()));
    }

    /// A heading with an empty line before it.
    pub(crate) fn heading(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(Colour::Bold, text)));
    }

    /// Writes an error to standard error.
    pub(crate) fn error(&self, text: &str) {
        drop(writeln!(io::stderr().lock(), "{} {text}", self.paint(Colour::Red, "error:")));
    }
}
