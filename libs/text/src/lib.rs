#![doc = include_str!("../README.md")]

pub mod hashing;
pub mod jinja;
mod near;
mod sentences;
pub mod tokens;
mod words;

pub use self::near::nearest;
pub use self::sentences::{one_line, sentences};
pub use self::words::{covers, frequencies, stem, stems, telling, top_terms, words};
