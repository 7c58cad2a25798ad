//! How `status` is shown, and figures in its cells. Pure.

use super::layout::{EMPTY, Paint, Screen};
use crate::commands::invocation::{Processes, StatusPart};
use crate::language::{Language, Text};

/// How it is shown.
#[derive(Clone, Copy)]
pub struct View {
    /// The language of headings and states.
    pub language: Language,
    /// Where it is shown.
    pub screen: Screen,
    /// What is shown.
    pub part: StatusPart,
    /// The processes that are shown.
    pub processes: Processes,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
    /// A time as it is written.
    pub time: fn(i64) -> String,
}

impl View {
    /// One statement, wrapped to the screen.
    pub fn line(&self, paint: Paint, text: &str) -> String {
        self.screen.line(paint, text)
    }

    /// A state that needs attention is conspicuous.
    pub fn loud(&self, word: Text<'_>) -> String {
        self.language.pick(word).to_uppercase()
    }
}

/// A number in a cell.
pub fn number(n: u64) -> String {
    if n == 0 { EMPTY.to_owned() } else { n.to_string() }
}

/// The time between two times.
pub fn span_of(from_ms: i64, to_ms: i64, language: Language) -> String {
    language.span(to_ms.saturating_sub(from_ms).max(0) as u64)
}
