//! The text of the demo: short sentences in English, or in Chinese under a zh locale. Colours are used only on a
//! terminal.

use crate::commands::table::wrapped;
use crate::error::{Error, Result};
use crate::language::{Language, fill};
use crate::sys::{output, terminal};

pub use crate::language::Text;

/// The width of a line at most: that of the narrowest ordinary terminal.
const WIDTH: usize = 80;

/// Writes to standard output.
pub struct Say {
    language: Language,
    colours: bool,
    steps: u32,
}

impl Say {
    /// The language and colours depend on the locale and the terminal.
    pub fn new() -> Self {
        Self { language: Language::current(), colours: terminal::has_colours(), steps: 0 }
    }

    /// The sentence in the reader's language.
    pub fn pick<'a>(&self, text: Text<'a>) -> &'a str {
        self.language.pick(text)
    }

    /// Prints a numbered heading.
    pub fn step(&mut self, text: Text<'_>) -> Result<()> {
        self.steps += 1;
        let lines = wrapped(&format!("{}. {}", self.steps, self.pick(text)), WIDTH);
        let lines: Vec<String> = lines.iter().map(|line| self.paint("1", line)).collect();
        self.write(&format!("\n{}\n", lines.join("\n")))
    }

    /// Prints a sentence. Each `{}` in it is replaced by one of `values`, in order.
    pub fn line(&self, text: Text<'_>, values: &[&str]) -> Result<()> {
        let lines = wrapped(&format!("   {}", fill(self.pick(text), values)), WIDTH);
        self.write(&format!("{}\n", lines.join("\n")))
    }

    /// Prints the result of a comparison.
    pub fn good(&self, text: Text<'_>, values: &[&str]) -> Result<()> {
        let (mark, line) = ("✓", fill(self.pick(text), values));
        let lines = wrapped(&format!("   {mark} {line}"), WIDTH).join("\n");
        self.write(&format!("{}\n", lines.replacen(mark, &self.paint("32", mark), 1)))
    }

    /// Prints a failure. Its lines stay as they are.
    pub fn bad(&self, text: Text<'_>, values: &[&str]) -> Result<()> {
        let line = fill(self.pick(text), values);
        self.write(&format!("   {} {line}\n", self.paint("31", "✗")))
    }

    /// Prints lines unchanged, in a dimmer colour.
    pub fn quote(&self, lines: &[String]) -> Result<()> {
        lines.iter().try_for_each(|l| self.write(&format!("     {}\n", self.paint("2", l))))
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn write(&self, text: &str) -> Result<()> {
        match (output::write(text.as_bytes()), output::lost()) {
            // A reader that closes the pipe has read enough. The demo continues and cleans up.
            (Ok(()), _) | (Err(_), None) => Ok(()),
            (Err(e), Some(_)) => Err(Error::system("cannot write to standard output", e)),
        }
    }
}

/// A time for people: `31 ms`, `2.4 s`.
pub fn time(duration: std::time::Duration) -> String {
    match duration.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_formatted() {
        assert_eq!(time(Duration::from_millis(31)), "31 ms");
        assert_eq!(time(Duration::from_millis(2_440)), "2.4 s");
    }
}
