//! The values of a YAML configuration's keys, and how they are stored.

use super::diagnostic::{Notes, nearest};
use super::model::{MaxDelete, NameRules, OpenRule, StandbyMode};
use super::node::{Node, Value};
use super::notation::duration_ms;
use super::{credentials, params, values};
use crate::filter::Globs;
use crate::language::say;
use crate::path::OsBytes;

/// Stores the value of a key if it exists and is valid.
pub(super) fn set<T>(
    place: &mut T,
    node: Option<&Node>,
    what: &str,
    notes: &mut Notes,
    read: impl Fn(&Node) -> Result<T, String>,
) {
    if let Some(node) = node
        && let Some(value) = notes.take(node.line, what, read(node))
    {
        *place = value;
    }
}

/// As [`set`], but `null` removes the inherited value.
pub(super) fn set_option<T>(
    place: &mut Option<T>,
    node: Option<&Node>,
    what: &str,
    notes: &mut Notes,
    read: impl Fn(&Node) -> Result<T, String>,
) {
    set(place, node, what, notes, |n| if n.is_null() { Ok(None) } else { read(n).map(Some) });
}

pub(super) fn path(node: &Node) -> Result<OsBytes, String> {
    values::absolute(node.text()?.as_bytes())
}

/// The path of a file with a password, or the name of a credential.
pub(super) fn secret(node: &Node) -> Result<OsBytes, String> {
    credentials::path(node.text()?)
}

pub(super) fn port(node: &Node) -> Result<u16, String> {
    values::port(node.text()?)
}

/// A duration for every file, or one for each glob.
pub(super) fn open_after(node: &Node) -> Result<Vec<OpenRule>, String> {
    let rule = |glob: &str, node: &Node| match duration_ms(node.text()?, None)? {
        ms if ms < 1_000 => Err(say!("{} is too short; write at least 1s", node.kind())),
        after_ms => Ok(OpenRule { glob: glob.to_owned(), after_ms }),
    };
    let rules: Vec<OpenRule> = match &node.value {
        Value::Null => Vec::new(),
        Value::Scalar { .. } => vec![rule("*", node)?],
        Value::Map(pairs) => {
            let each = pairs.iter().map(|(key, node)| {
                rule(&key.text, node).map_err(|why| format!("`{}`: {why}", key.text))
            });
            each.collect::<Result<_, _>>()?
        }
        Value::List(_) => return Err(say!("is a list; write a duration, or a map of globs")),
    };
    Globs::new(rules.iter().map(|rule| rule.glob.as_str()))?;
    Ok(rules)
}

pub(super) fn minutes(node: &Node) -> Result<u32, String> {
    let text = node.text()?;
    match duration_ms(text, None)? {
        ms if ms > 0 && ms % 60_000 == 0 => {
            u32::try_from(ms / 60_000).map_err(|_| say!("`{}` is too long", text))
        }
        _ => Err(say!("`{}` is not a whole number of minutes; write at least 1m", text)),
    }
}

pub(super) fn seconds(node: &Node) -> Result<u32, String> {
    let text = node.text()?;
    match duration_ms(text, Some(1000))? {
        ms if ms > 0 && ms % 1000 == 0 => {
            u32::try_from(ms / 1000).map_err(|_| say!("`{}` is too long", text))
        }
        _ => Err(say!("`{}` is not a whole number of seconds; write at least 1s", text)),
    }
}

/// A whole number of percent, such as `25%`.
pub(super) fn percent(node: &Node) -> Result<u32, String> {
    let text = node.text()?;
    let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
    match number {
        Some(percent @ 1..=100) => Ok(percent),
        _ => Err(say!("`{}` is not a share of a core; write 1% to 100%", text)),
    }
}

/// `auto`, or a number of milliseconds.
pub(super) fn delay(node: &Node) -> Result<Option<u64>, String> {
    match node.text()? {
        "auto" => Ok(None),
        text => match duration_ms(text, None) {
            Ok(ms) => Ok(Some(ms)),
            Err(why) => Err(say!("{}, or `auto`", why)),
        },
    }
}

pub(super) fn standby(node: &Node) -> Result<StandbyMode, String> {
    match node.text()? {
        "active" => Ok(StandbyMode::Active),
        "always" => Ok(StandbyMode::Always),
        // YAML 1.1 reads this word as false; here the text is used.
        "off" => Ok(StandbyMode::Off),
        text => Err(say!("`{}` is not active, always or off", text)),
    }
}

pub(super) fn max_delete(node: &Node) -> Result<MaxDelete, String> {
    match node.text()? {
        "half" => Ok(MaxDelete::Half),
        "unlimited" => Ok(MaxDelete::Unlimited),
        text => text
            .parse()
            .map(MaxDelete::Entries)
            .map_err(|_| say!("`{}` is not half, unlimited or a number", text)),
    }
}

pub(super) fn names(node: &Node) -> Result<NameRules, String> {
    match node.text()? {
        "sersync" => Ok(NameRules::Sersync),
        "editors" => Ok(NameRules::Editors),
        "none" => Ok(NameRules::None),
        text => {
            let near = nearest(text, &["sersync", "editors", "none"])
                .map(|n| say!("; did you mean `{}`?", n));
            Err(say!("`{}` is not sersync, editors or none{}", text, near.unwrap_or_default()))
        }
    }
}

pub(super) fn words(node: &Node) -> Result<Vec<String>, String> {
    node.items()?.iter().map(|i| i.text().map(str::to_owned)).collect()
}

/// One string is split as a shell would; a list is used unchanged.
pub(super) fn param_words(node: &Node) -> Result<Vec<OsBytes>, String> {
    match &node.value {
        Value::Scalar { text, .. } => params::split(text.as_bytes()),
        Value::List(_) => Ok(words(node)?.iter().map(|w| OsBytes::from(w.as_str())).collect()),
        _ => Err(say!("is {}; write a string or a list", node.kind())),
    }
}
