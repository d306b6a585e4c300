//! What is wrong with a workflow document.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// JSON pointer (RFC 6901) of the faulty part; empty for the whole document.
    pub pointer: String,
    /// What is wrong, with the value, and what would be right.
    pub message: String,
    /// Line in the text, counted from 1, where there is a text: of the key or the item in question,
    /// or of the part around it where it is missing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<usize>,
    /// Column in the text, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<usize>,
}

impl Problem {
    /// A problem of the part at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { pointer: pointer.into(), message: message.into(), line: None, column: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.message)?;
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, " (line {line}, column {column})"),
            (Some(line), None) => write!(f, " (line {line})"),
            _ => Ok(()),
        }
    }
}

/// Everything that is wrong with a document; never empty when it is returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub(crate) fn one(pointer: impl Into<String>, message: impl Into<String>) -> Problems {
        Problems(vec![Problem::new(pointer, message)])
    }

    /// Adds lines and columns to the problems that have none, and brings them into that order.
    pub(crate) fn placed(mut self, text: &str) -> Problems {
        let pointers: Vec<&str> = self.0.iter().map(|problem| problem.pointer.as_str()).collect();
        let places = muster_document::places(text, &pointers);
        for (problem, place) in self.0.iter_mut().zip(places) {
            if let (None, Some(place)) = (problem.line, place) {
                (problem.line, problem.column) = (Some(place.line), Some(place.column));
            }
        }
        self.0.sort_by_key(|problem| (problem.line, problem.column));
        self
    }

    pub(crate) fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        // A reusable part is read wherever it is used.
        let problem = Problem::new(pointer, message);
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
