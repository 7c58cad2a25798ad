//! rsync's filter rules, as far as a pusher writes them.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What a rule does with the names that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Neither side leaves them out.
    Include,
    /// Both sides leave them out.
    Exclude,
    /// The receiver keeps them.
    Protect,
}

#[derive(Debug)]
struct Rule {
    effect: Effect,
    pattern: String,
}

/// The rules of one command line, in order.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|rule| write!(f, "[{:?} {}]", rule.effect, rule.pattern))
    }
}

impl Rules {
    /// The rules of these words, and of the files that they name.
    pub fn of(words: &[OsString]) -> Self {
        let mut rules = Rules::default();
        for word in words {
            let word = word.to_string_lossy();
            let Some((option, value)) = word.split_once('=') else { continue };
            match option {
                "--exclude" => rules.add(value, Effect::Exclude),
                "--include" => rules.add(value, Effect::Include),
                "--filter" => rules.add(value, Effect::Exclude),
                "--exclude-from" | "--include-from" => {
                    let text = fs::read(value).unwrap_or_default();
                    let effect = match option {
                        "--exclude-from" => Effect::Exclude,
                        _ => Effect::Include,
                    };
                    let lines = text.split(|b| *b == 0).filter(|line| !line.is_empty());
                    lines.for_each(|line| rules.add(&String::from_utf8_lossy(line), effect));
                }
                _ => {}
            }
        }
        rules
    }

    /// The names that are put at risk.
    pub fn included(&self) -> Vec<PathBuf> {
        let risks = |rule: &&Rule| rule.effect == Effect::Include && !rule.pattern.ends_with('/');
        let names = self.0.iter().filter(risks).filter_map(|rule| rule.pattern.strip_prefix('/'));
        names.filter(|name| !name.ends_with("/***")).map(PathBuf::from).collect()
    }

    fn add(&mut self, text: &str, effect: Effect) {
        let begins = [("+ ", Effect::Include), ("- ", Effect::Exclude), ("P ", Effect::Protect)];
        let own = begins.into_iter().find_map(|(start, e)| Some((text.strip_prefix(start)?, e)));
        let (pattern, effect) = own.unwrap_or((text, effect));
        self.0.push(Rule { effect, pattern: pattern.to_owned() });
    }

    fn first(&self, name: &Path, dir: bool, skip: Option<Effect>) -> Option<Effect> {
        let rules = self.0.iter().filter(|rule| Some(rule.effect) != skip);
        let mut matching =
            rules.filter(|rule| matches(&rule.pattern, &name.to_string_lossy(), dir));
        matching.next().map(|rule| rule.effect)
    }

    /// True if the sender leaves this name out.
    pub fn hide(&self, name: &Path, dir: bool) -> bool {
        self.first(name, dir, Some(Effect::Protect)) == Some(Effect::Exclude)
    }

    /// True if the receiver keeps this name.
    pub fn protect(&self, name: &Path, dir: bool) -> bool {
        let effect = self.first(name, dir, None);
        effect == Some(Effect::Exclude) || effect == Some(Effect::Protect)
    }
}

fn matches(pattern: &str, name: &str, dir: bool) -> bool {
    if let Some(top) = pattern.strip_suffix("/***") {
        let below = name.match_indices('/').any(|(at, _)| matches(top, &name[..at], true));
        return below || (dir && matches(top, name, true));
    }
    let (pattern, only_dirs) = match pattern.strip_suffix('/') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    if only_dirs && !dir {
        return false;
    }
    match pattern.strip_prefix('/') {
        Some(pattern) => wild(pattern.as_bytes(), name.as_bytes()),
        None if pattern.contains('/') => {
            let starts = name.match_indices('/').map(|(at, _)| at + 1).chain([0]);
            starts.into_iter().any(|at| wild(pattern.as_bytes(), &name.as_bytes()[at..]))
        }
        None => wild(pattern.as_bytes(), name.rsplit('/').next().unwrap_or(name).as_bytes()),
    }
}

fn wild(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=name.len()).any(|at| wild(rest, &name[at..])),
        [b'*', rest @ ..] => {
            let most = name.iter().position(|b| *b == b'/').unwrap_or(name.len());
            (0..=most).any(|at| wild(rest, &name[at..]))
        }
        [b'?', rest @ ..] => name.first().is_some_and(|b| *b != b'/') && wild(rest, &name[1..]),
        [b'\\', c, rest @ ..] | [c, rest @ ..] => name.first() == Some(c) && wild(rest, &name[1..]),
    }
}
