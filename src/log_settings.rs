//! What is logged, in which form and where: `log` in the YAML, `--log-format`. Pure.

use crate::language::{listed, say};
use serde::{Deserialize, Serialize};

/// The least important events that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What an operator must look at.
    Error,
    /// Also what may need it.
    Warning,
    /// Also what happens in ordinary operation, but nothing per file.
    #[default]
    Info,
    /// Also each path and each rsync.
    Debug,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// The log file in the state directory.
    File,
    /// The system's log, through /dev/log.
    Syslog,
}

/// What was set. Nothing that is not set has a fixed value: a daemon logs to its file, an instance in the foreground to
/// standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// `level`
    pub level: Option<LogLevel>,
    /// `format`
    pub format: Option<LogFormat>,
    /// `target`
    pub target: Option<LogTarget>,
}

impl LogLevel {
    /// Every level, with its word.
    pub const WORDS: [(&str, LogLevel); 4] = [
        ("error", LogLevel::Error),
        ("warning", LogLevel::Warning),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
}

impl LogFormat {
    /// Every format, with its word.
    pub const WORDS: [(&str, LogFormat); 2] =
        [("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl LogTarget {
    /// Every target, with its word.
    pub const WORDS: [(&str, LogTarget); 3] =
        [("stderr", LogTarget::Stderr), ("file", LogTarget::File), ("syslog", LogTarget::Syslog)];
}

/// The value of a word. Errors say what to write instead.
pub fn value<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        say!("`{}` is not one of {}", crate::path::as_written(text.as_bytes()), listed(&known))
    })
}

/// The word of a value.
pub fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    // Every value is in its list.
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_value() {
        for (text, level) in LogLevel::WORDS {
            assert_eq!(value(&LogLevel::WORDS, text), Ok(level));
            assert_eq!(word(&LogLevel::WORDS, level), text);
        }
        let error = value(&LogTarget::WORDS, "Sys\nlog").unwrap_err();
        assert_eq!(error, "`Sys\\x0alog` is not one of stderr, file, syslog");
    }
}
