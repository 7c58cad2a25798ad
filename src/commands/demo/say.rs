//! The text of the demo: short sentences in English, or in Chinese under a zh locale. Colours are used only on a
//! terminal.

use crate::error::{Error, Result};
use crate::sys::output;
use std::io::{self, IsTerminal};

/// One sentence in both languages: English, Chinese.
pub type Text<'a> = (&'a str, &'a str);

/// Writes to standard output.
pub struct Say {
    chinese: bool,
    colours: bool,
    steps: u32,
}

impl Say {
    /// The language and colours depend on the locale and the terminal.
    pub fn new() -> Self {
        let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(env);
        let plain = env("NO_COLOR").is_some() || env("TERM").is_none_or(|t| t == "dumb");
        Self {
            chinese: locale
                .is_some_and(|l| l.starts_with("zh") && !l.to_lowercase().contains(".gb")),
            colours: io::stdout().is_terminal() && !plain,
            steps: 0,
        }
    }

    /// The sentence in the reader's language.
    pub fn pick<'a>(&self, text: Text<'a>) -> &'a str {
        if self.chinese { text.1 } else { text.0 }
    }

    /// Prints a numbered heading.
    pub fn step(&mut self, text: Text<'_>) -> Result<()> {
        self.steps += 1;
        let line = format!("{}. {}", self.steps, self.pick(text));
        self.write(&format!("\n{}\n", self.paint("1", &line)))
    }

    /// Prints a sentence. Each `{}` in it is replaced by one of `values`, in order.
    pub fn line(&self, text: Text<'_>, values: &[&str]) -> Result<()> {
        self.write(&format!("   {}\n", fill(self.pick(text), values)))
    }

    /// Prints the result of a comparison.
    pub fn good(&self, text: Text<'_>, values: &[&str]) -> Result<()> {
        let line = fill(self.pick(text), values);
        self.write(&format!("   {} {line}\n", self.paint("32", "✓")))
    }

    /// Prints a failure.
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

fn fill(text: &str, values: &[&str]) -> String {
    let mut parts = text.split("{}");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.zip(values).fold(first, |line, (part, value)| line + value + part)
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
    fn values_are_formatted_in_order() {
        assert_eq!(fill("a {} b {} c", &["{}", "2"]), "a {} b 2 c");
        assert_eq!(fill("nothing", &[]), "nothing");
    }

    #[test]
    fn times_are_formatted() {
        assert_eq!(time(Duration::from_millis(31)), "31 ms");
        assert_eq!(time(Duration::from_millis(2_440)), "2.4 s");
    }
}
