//! Decides what is replicated: one filter for events, scans, reconciles and pushes. Pure, over bytes.

use crate::language::say;
use crate::path::{OsBytes, RelPath};
use crate::rsync::argv::TRASH;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The rules of one filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FilterRules {
    /// Regular expressions. One that matches a whole path excludes the path and everything below it.
    pub exclude: Vec<OsBytes>,
    /// Globs with the syntax of .gitignore: `*.tmp`, `cache/**`.
    pub exclude_glob: Vec<String>,
    /// Names that are skipped without a configured rule.
    pub names: NameRules,
    /// Files and directories of syncsup (state, sockets, logs, the fail log) that lie inside the localpath. They are
    /// not configured: [`own_files`] determines them.
    #[serde(default)]
    pub inside: Vec<RelPath>,
}

/// Names that are skipped without a rule of the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameRules {
    /// sersync's rule: an event about a file (not a directory) that begins with `.`, ends with `~` or is called `4913`
    /// does not mark it; reconciles send it.
    Sersync,
    /// Temporary files of editors (files `*~`, `.*.swp`, `.*.swx`, `4913`, `.#*`, `#*#`) are excluded everywhere.
    #[default]
    Editors,
    /// No name is skipped.
    None,
}

/// Compiled rules. They decide whether a path, or a directory above it, is excluded from replication.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    regexes: Option<RegexSet>,
    globs: Option<GlobSet>,
    dir_globs: Option<GlobSet>,
    inside: Vec<RelPath>,
    names: NameRules,
    patterns: Patterns,
}

/// The part of the rules that rsync's patterns can express.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    /// Patterns for rsync. Each matches exactly what one rule matches.
    pub exact: Vec<Vec<u8>>,
    /// True if no pattern expresses some of the rules: the directories that these exclude must be searched for.
    pub others: bool,
}

impl Patterns {
    /// The patterns for a remote that converts names or does not. With conversion, a byte of a character may equal
    /// another character, and match the end of a wildcard: `*~`.
    pub fn with(&self, converts: bool) -> Patterns {
        let mut out = self.clone();
        if converts {
            out.exact.retain(|pattern| !pattern.contains(&b'*'));
            out.others |= out.exact.len() < self.exact.len();
        }
        out
    }
}

/// The list of [`FilterRules`] that contains a bad rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleList {
    /// `exclude`: regular expressions.
    Exclude,
    /// `exclude_glob`.
    ExcludeGlob,
}

/// A rule that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The list that contains it.
    pub list: RuleList,
    /// Its index in that list.
    pub index: usize,
    /// What is wrong and what to write instead, on one line.
    pub text: String,
}

/// The most memory for all patterns of one filter, in bytes.
const SIZE_LIMIT: usize = 64 << 20;

impl Filter {
    /// Compiles the rules, or returns everything that is wrong with them.
    pub fn new(rules: &FilterRules) -> Result<Self, Vec<FilterError>> {
        let mut errors = Vec::new();
        let regexes = compile_regexes(&rules.exclude, &mut errors);
        let (globs, dir_globs) = compile_globs(&rules.exclude_glob, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let (inside, patterns) = (rules.inside.clone(), patterns(rules));
        Ok(Self { regexes, globs, dir_globs, inside, names: rules.names, patterns })
    }

    /// True if the path or any directory above it is excluded. `is_dir` refers to the path itself; for a deleted path,
    /// to what it was. The root is never excluded.
    pub fn excludes(&self, path: &RelPath, is_dir: bool) -> bool {
        // This is not a rule, so it makes no push more careful: the name can only exist in the root.
        let first = path.as_bytes().split(|&b| b == b'/').next();
        if first == Some(TRASH.as_bytes()) {
            return true;
        }
        if self.is_empty() || path.is_root() {
            return false;
        }
        if self.inside.iter().any(|own| path.is_within(own)) {
            return true;
        }
        if !is_dir && self.names == NameRules::Editors && is_editor_name(path.name().as_bytes()) {
            return true;
        }
        if self.has_no_rules() {
            return false;
        }
        let bytes = path.as_bytes();
        let mut framed = Vec::with_capacity(bytes.len() + 2);
        framed.push(b'/');
        framed.extend_from_slice(bytes);
        framed.push(b'/');
        let end = framed.len() - 1;
        let above = (1..end).filter(|&i| framed[i] == b'/');
        above
            .map(|i| (i, true))
            .chain([(end, is_dir)])
            .any(|(i, dir)| self.matches(&framed[..=i], dir))
    }

    /// True if an event about this path does not mark: sersync's rule for names (files that begin with `.`, end with
    /// `~` or are called `4913`), which applies only to events. [`Filter::excludes`] applies in addition.
    pub fn skips_event(&self, path: &RelPath, is_dir: bool) -> bool {
        if is_dir || self.names != NameRules::Sersync {
            return false;
        }
        let name = path.name().as_bytes();
        name.starts_with(b".") || name.ends_with(b"~") || name == b"4913"
    }

    /// True if it excludes nothing except the reserved name [`TRASH`].
    pub fn is_empty(&self) -> bool {
        self.has_no_rules() && self.inside.is_empty() && self.names != NameRules::Editors
    }

    /// Options that make rsync exclude the same names in directories that it reads itself; `None` if no options can.
    pub fn as_rsync_options(&self) -> Option<Vec<OsBytes>> {
        if !self.is_expressible() {
            return None;
        }
        // A pattern of an exclude option may begin like a rule: `+ name`.
        let exclude = |pattern: &Vec<u8>| OsBytes::from([b"--filter=- ", &pattern[..]].concat());
        let mut options: Vec<OsBytes> = self.patterns.exact.iter().map(exclude).collect();
        let files = self.file_patterns();
        if !files.is_empty() {
            options.push("--include=*/".into());
            options
                .extend(files.iter().map(|pattern| format!("--exclude={pattern}").as_str().into()));
        }
        Some(options)
    }

    /// True if rsync's patterns can express all rules.
    pub fn is_expressible(&self) -> bool {
        !self.patterns.others
    }

    /// Patterns for rsync that exclude only what is not a directory.
    pub fn file_patterns(&self) -> &'static [&'static str] {
        if self.names == NameRules::Editors { EDITOR_PATTERNS } else { &[] }
    }

    /// The part that rsync's patterns can express, without the rules about editors' names.
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    fn has_no_rules(&self) -> bool {
        self.regexes.is_none() && self.globs.is_none() && self.dir_globs.is_none()
    }

    /// Matches one component; `framed` is `/path/`, whose slashes may be part of a candidate.
    fn matches(&self, framed: &[u8], is_dir: bool) -> bool {
        let end = framed.len() - 1;
        if let Some(set) = &self.regexes {
            // The union of what sersync tries: the name in the root, `/sub/name` below it, `sub/` for directories.
            let hit = set.is_match(&framed[1..end]) || set.is_match(&framed[..end]);
            if hit || (is_dir && (set.is_match(&framed[1..]) || set.is_match(framed))) {
                return true;
            }
        }
        let path = Path::new(OsStr::from_bytes(&framed[1..end]));
        let hits = |set: &Option<GlobSet>| set.as_ref().is_some_and(|s| s.is_match(path));
        hits(&self.globs) || (is_dir && hits(&self.dir_globs))
    }
}

/// The given absolute paths that lie inside `watch`, for [`FilterRules::inside`]. The localpath itself is left out: it
/// would exclude everything.
pub fn own_files<'a>(watch: &Path, paths: impl IntoIterator<Item = &'a Path>) -> Vec<RelPath> {
    let below = paths.into_iter().filter_map(|p| RelPath::strip(p, watch));
    below.filter(|p| !p.is_root()).collect()
}

fn patterns(rules: &FilterRules) -> Patterns {
    let regexes = rules.exclude.iter().map(|regex| of_regex(regex.as_bytes()));
    let globs = rules.exclude_glob.iter().map(|glob| of_glob(glob));
    let own =
        rules.inside.iter().map(|own| literal(own.as_bytes()).then(|| anchored(own.as_bytes())));
    let all: Vec<Option<Vec<u8>>> = regexes.chain(globs).chain(own).collect();
    let others = all.iter().any(Option::is_none);
    Patterns { exact: all.into_iter().flatten().collect(), others }
}

/// True for a text that rsync's matcher takes literally, also beside a wildcard.
fn literal(text: &[u8]) -> bool {
    !text.is_empty() && !text.iter().any(|b| b"*?[\\".contains(b))
}

fn anchored(path: &[u8]) -> Vec<u8> {
    [b"/", path.strip_prefix(b"/").unwrap_or(path)].concat()
}

/// The pattern for a glob that contains only names and `*`, which means the same to rsync.
fn of_glob(glob: &str) -> Option<Vec<u8>> {
    let body = glob.strip_suffix('/').unwrap_or(glob);
    let plain = !body.is_empty()
        && !body.contains("**")
        && !body.bytes().any(|b| b"?[]{}\\!".contains(&b) || b.is_ascii_control());
    let pattern = if body.contains('/') { anchored(glob.as_bytes()) } else { glob.into() };
    plain.then_some(pattern)
}

/// The pattern for a regular expression that is a plain path, or that matches every name with a plain ending.
fn of_regex(regex: &[u8]) -> Option<Vec<u8>> {
    let (ends, rest) = match regex.strip_prefix(b"(.*)").or_else(|| regex.strip_prefix(b".*")) {
        Some(rest) => (true, rest),
        None => (false, regex.strip_prefix(b"^").unwrap_or(regex)),
    };
    let rest = rest.strip_suffix(b"$").filter(|r| !r.ends_with(b"\\")).unwrap_or(rest);
    let (mut text, mut bytes) = (Vec::new(), rest.iter());
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next().filter(|b| b.is_ascii_punctuation())?),
            // Outside ASCII a character may have several bytes. That makes no difference at this point.
            b if b.is_ascii_alphanumeric() || b"/_-,~ @%=:;\"'<>!`".contains(&b) || b >= 0x80 => {
                text.push(b)
            }
            _ => return None,
        }
    }
    let above = text.strip_suffix(b"/").unwrap_or(&text);
    if !literal(above) || above == b"/" || text.windows(2).any(|pair| pair == b"//") {
        return None;
    }
    match ends {
        false => Some(anchored(&text)),
        true if !text.contains(&b'/') => Some([b"*", text.as_slice()].concat()),
        true => None,
    }
}

/// [`is_editor_name`] as patterns of rsync.
const EDITOR_PATTERNS: &[&str] = &["*~", "4913", ".#*", ".?*.swp", ".?*.swx", "#*#"];

/// True for the name of an editor's temporary file.
fn is_editor_name(name: &[u8]) -> bool {
    name.ends_with(b"~")
        || name == b"4913"
        || name.starts_with(b".#")
        || (name.starts_with(b".")
            && (name.ends_with(b".swp") || name.ends_with(b".swx"))
            && name.len() > 5)
        || (name.len() > 1 && name.starts_with(b"#") && name.ends_with(b"#"))
}

/// `None` if there is no pattern, or if `errors` contains the reason.
fn compile_regexes(patterns: &[OsBytes], errors: &mut Vec<FilterError>) -> Option<RegexSet> {
    if patterns.is_empty() {
        return None;
    }
    let mut whole = Vec::with_capacity(patterns.len());
    for (index, pattern) in patterns.iter().enumerate() {
        match whole_regex(pattern.as_bytes()) {
            Ok(text) => whole.push(text),
            Err(text) => errors.push(FilterError { list: RuleList::Exclude, index, text }),
        }
    }
    if whole.len() < patterns.len() {
        return None;
    }
    match RegexSetBuilder::new(whole).size_limit(SIZE_LIMIT).build() {
        Ok(set) => Some(set),
        Err(error) => {
            let text = say!("the patterns are too large together: {}", error);
            errors.push(FilterError { list: RuleList::Exclude, index: patterns.len() - 1, text });
            None
        }
    }
}

/// Checks one pattern and anchors it, so that it matches only whole strings of bytes. An error is one line with a hint.
pub fn whole_regex(pattern: &[u8]) -> Result<String, String> {
    checked_regex(pattern).map(|(flags, text)| format!("{flags}\\A(?:{text})\\z"))
}

/// Checks one pattern that may match anywhere in a string of bytes. Errors as in [`whole_regex`].
pub fn search_regex(pattern: &[u8]) -> Result<String, String> {
    checked_regex(pattern).map(|(flags, text)| format!("{flags}{text}"))
}

fn checked_regex(pattern: &[u8]) -> Result<(&'static str, String), String> {
    let text = pattern_text(pattern);
    if text.is_empty() {
        return Err(say!("an empty regular expression matches nothing; remove it"));
    }
    let compiles =
        |text: &str| RegexBuilder::new(text).size_limit(SIZE_LIMIT).build().map(|_: Regex| ());
    // Bytes are tried first, so that `.` matches any byte. Only a pattern that needs characters (`[é]`, `\p{Han}`) is
    // parsed as characters.
    let mut failure = None;
    for flags in ["(?s-u)", "(?s)"] {
        match compiles(&format!("{flags}{text}")) {
            Ok(()) => return Ok((flags, text)),
            Err(error) => failure.get_or_insert(error),
        };
    }
    let why = failure.map(|e| e.to_string()).unwrap_or_default();
    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let shown = crate::path::as_written(pattern);
    let hint = if let Some(tail) = shown.strip_prefix('*') {
        say!("; `*` does not mean 'anything' here, write `(.*){}`", escape_glob_tail(tail))
    } else if why.contains("look-") {
        say!("; write the pattern without look-ahead")
    } else {
        say!("; write it as a regular expression that matches the whole path")
    };
    Err(say!("`{}` is not a regular expression: {}{}", shown, why, hint))
}

/// `.php` -> `\.php`, for the hint.
fn escape_glob_tail(tail: &str) -> String {
    if tail.starts_with('.') { format!("\\{tail}") } else { tail.to_owned() }
}

/// A pattern as text. Bytes that are not UTF-8 are escaped and match themselves.
fn pattern_text(pattern: &[u8]) -> String {
    let mut text = String::with_capacity(pattern.len());
    for chunk in pattern.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "(?-u:\\x{byte:02X})");
        }
    }
    text
}

fn compile_globs(
    globs: &[String],
    errors: &mut Vec<FilterError>,
) -> (Option<GlobSet>, Option<GlobSet>) {
    let mut any = (GlobSetBuilder::new(), 0);
    let mut dirs = (GlobSetBuilder::new(), 0);
    for (index, pattern) in globs.iter().enumerate() {
        match git_glob(pattern) {
            Ok((glob, dir_only)) => {
                let (set, count) = if dir_only { &mut dirs } else { &mut any };
                set.add(glob);
                *count += 1;
            }
            Err(text) => errors.push(FilterError { list: RuleList::ExcludeGlob, index, text }),
        }
    }
    let mut build = |(builder, count): (GlobSetBuilder, usize)| match (count, builder.build()) {
        (0, _) => None,
        (_, Ok(set)) => Some(set),
        (_, Err(error)) => {
            let text = say!("the globs are too large together: {}", error);
            errors.push(FilterError { list: RuleList::ExcludeGlob, index: globs.len() - 1, text });
            None
        }
    };
    (build(any), build(dirs))
}

/// Globs with the syntax of .gitignore. Their order matters.
#[derive(Clone, Debug, Default)]
pub struct Globs(Vec<globset::GlobMatcher>);

impl Globs {
    /// Compiles them. An error names the glob and what is wrong with it.
    pub fn new<'a>(globs: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let compile = |glob: &str| match git_glob(glob)? {
            (_, true) => {
                Err(say!("`{}` matches directories; write `{}**` for what is below", glob, glob))
            }
            (compiled, false) => Ok(compiled.compile_matcher()),
        };
        globs.into_iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// The index of the first one that matches the path.
    pub fn first(&self, path: &RelPath) -> Option<usize> {
        self.0.iter().position(|glob| glob.is_match(path.as_path()))
    }
}

/// One glob with the syntax of .gitignore, and whether it applies to directories only.
fn git_glob(pattern: &str) -> Result<(globset::Glob, bool), String> {
    if pattern.starts_with('!') {
        return Err(say!(
            "`{}`: exceptions with `!` are not supported; write narrower globs",
            pattern
        ));
    }
    let (body, dir_only) = match pattern.strip_suffix('/') {
        Some(body) => (body, true),
        None => (pattern, false),
    };
    let anchored = body.contains('/');
    let body = body.strip_prefix('/').unwrap_or(body);
    if body.is_empty() {
        return Err(say!("`{}` matches nothing; remove it", pattern));
    }
    if body.split('/').any(|c| c.is_empty() || c == "." || c == "..") {
        return Err(say!(
            "`{}`: globs are relative to the localpath, without `.`, `..` or `//`",
            pattern
        ));
    }
    let text = if anchored { body.to_owned() } else { format!("**/{body}") };
    let glob = GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).build();
    glob.map(|g| (g, dir_only)).map_err(|e| say!("`{}` is not a glob: {}", pattern, e.kind()))
}

#[cfg(test)]
mod tests;
