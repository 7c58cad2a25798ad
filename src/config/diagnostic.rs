//! All errors and warnings of a configuration, with their places.

use super::model::{Config, Place};
use crate::language::{listed, phrase, said, say};
use crate::path::as_written;
use std::fmt;
use std::path::Path;

/// Whether the configuration can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It works, but probably not as intended.
    Warning,
    /// Nothing is started with this configuration.
    Error,
}

/// One finding. Shown as `FILE:LINE: text`, with the column if it concerns one character.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// The severity.
    pub severity: Severity,
    /// File and line. Line 0 means the whole file, an empty file name the machine.
    pub place: Place,
    /// The column in characters, from 1; 0 if the line is sufficient.
    pub column: usize,
    /// What is wrong and what to do.
    pub text: String,
}

/// The configuration of one file, as far as it could be parsed, and the findings.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// Only usable without errors.
    pub config: Config,
    /// In the order of their lines.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// True if nothing may be started with it.
    pub fn has_errors(&self) -> bool {
        has_errors(&self.diagnostics)
    }
}

/// True if one of them is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.severity == Severity::Error)
}

/// Keeps what one of several files sets for `key`. All that set it must set the same.
pub(super) fn keep_one<T: PartialEq>(
    key: &str,
    kept: &mut Option<T>,
    new: Option<T>,
    place: impl Fn(&T) -> &Place,
) -> Option<Diagnostic> {
    let new = new?;
    let Some(first) = kept else {
        *kept = Some(new);
        return None;
    };
    (*first != new).then(|| {
        let Place { file, line } = place(first);
        let at = format!("{}:{line}", file.display());
        Diagnostic::error(
            place(&new),
            say!("{} differs from the one at {}; keep one of them", key, at),
        )
    })
}

impl Diagnostic {
    /// An error of a line.
    pub fn error(place: &Place, text: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place: place.clone(), column: 0, text: text.into() }
    }

    /// A warning about a line.
    pub fn warning(place: &Place, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, text) }
    }

    /// The text for a log, whose lines have their own level.
    pub fn without_severity(&self) -> String {
        format!("{}{}", self.where_from(), as_written(self.text.as_bytes()))
    }

    /// `FILE:LINE: `, as far as known.
    fn where_from(&self) -> String {
        let file = as_written(self.place.file.as_os_str().as_encoded_bytes());
        match (self.place.file.as_os_str().is_empty(), self.place.line, self.column) {
            (true, _, _) => String::new(),
            (_, 0, _) => format!("{file}: "),
            (_, line, 0) => format!("{file}:{line}: "),
            (_, line, column) => format!("{file}:{line}:{column}: "),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.where_from())?;
        if self.severity == Severity::Warning {
            f.write_str(&say!("warning: "))?;
        }
        f.write_str(&as_written(self.text.as_bytes()))
    }
}

/// Collects the findings of one file.
pub(crate) struct Notes<'a> {
    file: &'a Path,
    pub(crate) list: Vec<Diagnostic>,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(file: &'a Path) -> Self {
        Self { file, list: Vec::new() }
    }

    pub(crate) fn place(&self, line: usize) -> Place {
        Place { file: self.file.to_owned(), line }
    }

    pub(crate) fn error(&mut self, line: usize, text: impl Into<String>) {
        self.error_at(line, 0, text);
    }

    pub(crate) fn error_at(&mut self, line: usize, column: usize, text: impl Into<String>) {
        let place = self.place(line);
        self.list.push(Diagnostic { severity: Severity::Error, place, column, text: text.into() });
    }

    pub(crate) fn warn(&mut self, line: usize, text: impl Into<String>) {
        let place = self.place(line);
        self.list.push(Diagnostic {
            severity: Severity::Warning,
            place,
            column: 0,
            text: text.into(),
        });
    }

    /// The value; or reports its error at that line.
    pub(crate) fn take<T>(
        &mut self,
        line: usize,
        what: &str,
        result: Result<T, String>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(text) => {
                self.error(line, format!("{what}: {text}"));
                None
            }
        }
    }

    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|d| (d.place.line, d.column));
        self.list
    }
}

const EXCLUDE: &str = phrase!(
    "write it in `filter`: `filter: {exclude_glob: ['*.tmp']}`, or `exclude` for regular expressions"
);

const RSYNC: &str = phrase!("it is a key of `rsync`");

/// The syncsup key for a word of rsync, lsyncd or sersync, and the section of a key that stands somewhere else.
const ELSEWHERE: [(&str, &str); 18] = [
    (
        "excludefrom",
        phrase!(
            "use rsync's option in `rsync`: `params: -a --exclude-from=FILE`, or the rules in `exclude_glob`"
        ),
    ),
    (
        "includefrom",
        phrase!(
            "use rsync's option in `rsync`: `params: -a --include-from=FILE --exclude-from=FILE`"
        ),
    ),
    ("exclude", EXCLUDE),
    ("excludeglob", EXCLUDE),
    ("passwordfile", phrase!("it is a key of `auth`, in `rsync`")),
    ("auth", RSYNC),
    ("params", RSYNC),
    ("port", RSYNC),
    ("timeout", RSYNC),
    ("ssh", RSYNC),
    ("fsync", RSYNC),
    ("source", phrase!("the directory is `watch`")),
    ("target", phrase!("a remote is an item of `remotes`")),
    ("init", phrase!("the reconcile of a new remote is `first_copy`")),
    ("maxprocesses", phrase!("that is the option `-n`")),
    ("bwlimit", phrase!("write it in `rsync`: `params: -a --bwlimit=RATE`")),
    ("commonparams", phrase!("it is `params`, in `rsync`")),
    ("localpath", phrase!("it is `localpaths`, a list of maps with `watch` and `remotes`")),
];

/// `; did you mean "x"?` if a known word is similar, else the equivalent of another program's word, else the list of
/// known words.
pub(crate) fn did_you_mean(word: &str, known: &[&str]) -> String {
    let plain = word.to_lowercase().replace(['-', '_'], "");
    let theirs = ELSEWHERE.iter().find(|(name, _)| *name == plain);
    // Unless it is a syncsup word in another spelling.
    let ours = known.iter().any(|k| k.to_lowercase().replace('_', "") == plain);
    if let Some((_, here)) = theirs.filter(|_| !ours) {
        return say!("; {}", said(here));
    }
    match nearest(word, known) {
        Some(near) => say!("; did you mean `{}`?", near),
        None if known.is_empty() => say!("; nothing is expected here"),
        None => say!("; known here: {}", listed(known)),
    }
}

/// The known word that differs from `word` by case, or by at most a third of its letters.
pub(crate) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |s: &str| s.to_lowercase().replace(['-', '_'], "");
    let word = plain(given);
    let (_, best) =
        known.iter().map(|k| (distance(&word, &plain(k)), *k)).min_by_key(|&(d, _)| d)?;
    is_near(&word, &plain(best)).then_some(best).filter(|best| parts_are_near(given, best))
}

fn is_near(word: &str, known: &str) -> bool {
    distance(word, known) <= (known.len() / 3).max(1)
}

/// `exclude_from` does not match `exclude_glob`, although the beginnings are equal: each part must be similar.
fn parts_are_near(word: &str, known: &str) -> bool {
    let parts = |s: &str| s.to_lowercase().split(['-', '_']).map(str::to_owned).collect::<Vec<_>>();
    let (word, known) = (parts(word), parts(known));
    word.len() != known.len() || word.iter().zip(&known).all(|(w, k)| is_near(w, k))
}

/// Edit distance. Swapped neighbours count once (`ture`).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let swapped = if swap { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                swapped.min(replaced).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_words_are_suggested() {
        assert_eq!(nearest("ture", &["true", "false"]), Some("true"));
        assert_eq!(nearest("flase", &["true", "false"]), Some("false"));
        assert_eq!(nearest("commonparam", &["commonParams", "auth"]), Some("commonParams"));
        assert_eq!(nearest("password-file", &["user", "password_file"]), Some("password_file"));
        assert_eq!(nearest("remotse", &["watch", "remotes"]), Some("remotes"));
        assert_eq!(nearest("exclude-glob", &["exclude", "exclude_glob"]), Some("exclude_glob"));
        assert_eq!(nearest("max_delte", &["max_delete", "max_lag"]), Some("max_delete"));
        // Similar only at the beginning.
        for (word, known) in [
            ("exclude_from", "exclude_glob"),
            ("on_success", "on_recovery"),
            ("large_size", "large_file"),
            ("verify_interval", "verify_schedule"),
        ] {
            assert_eq!(nearest(word, &[known, "x"]), None, "{word}");
        }
        assert!(
            did_you_mean("exclude_from", &["exclude", "exclude_glob"])
                .contains("--exclude-from=FILE")
        );
        assert!(
            did_you_mean("excludeFrom", &["exclude", "exclude_glob"])
                .contains("--exclude-from=FILE")
        );
        for word in ["exclude", "exclude_glob"] {
            assert!(did_you_mean(word, &["watch", "remotes"]).contains("filter: {exclude_glob: ["));
        }
        assert!(did_you_mean("Exclude", &["exclude", "exclude_glob"]).contains("did you mean"));
        assert!(did_you_mean("init", &["watch", "remotes"]).contains("first_copy"));
        assert_eq!(nearest("banana", &["watch", "remotes"]), None);
    }
}
