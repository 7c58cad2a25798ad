//! The arguments of the commands that operate an instance: `status`, `wait`, `verify`, `journal`, `undelete`.

use crate::commands::invocation::{
    At, Command, Format, JournalAction, On, Processes, StatusFormat, StatusPart, StatusWish,
    Verify, Wait, Which, Wish,
};
use crate::config::diagnostic::nearest;
use crate::error::{Error, Result};
use crate::help_topic::HelpTopic;
use crate::language::{listed, say};
use crate::path::printable;
use crate::shell::quoted_text;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// The default time limit of `wait`.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The values of the options that only these commands take.
#[derive(Default)]
pub(super) struct Words {
    quorum: Option<usize>,
    remotes: Vec<String>,
    plugins: Vec<String>,
    timeout: Option<Duration>,
    at: Option<String>,
}

impl Words {
    /// Takes an option with its value. Returns the option's name as it is written.
    pub(super) fn take(&mut self, option: &str, value: OsString) -> Result<&'static str> {
        let text = value.to_string_lossy().into_owned();
        match option {
            "quorum" => {
                let count = text.parse().ok().filter(|n| *n > 0);
                let error = || {
                    Error::usage(say!(
                        "--quorum {}: not a number of remotes; write 1 or more",
                        text
                    ))
                };
                self.quorum = Some(count.ok_or_else(error)?);
                Ok("--quorum")
            }
            "timeout" => {
                self.timeout = Some(duration(&text).ok_or_else(|| {
                    Error::usage(say!(
                        "--timeout {}: not a duration; write one such as 500ms, 30s, 5m or 1h",
                        text
                    ))
                })?);
                Ok("--timeout")
            }
            "at" => {
                self.at = Some(text);
                Ok("--at")
            }
            "plugin" => {
                self.plugins.push(text);
                Ok("--plugin")
            }
            _ => {
                self.remotes.push(text);
                Ok("--remote")
            }
        }
    }
}

/// Parses `500ms`, `30s`, `5m`, `1h`. A number without a unit is in seconds.
fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let ms: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(ms)?))
}

fn has(words: &super::Words, option: &str) -> bool {
    words.special.contains(&option)
}

/// An empty path is an error, for example `syncsup wait "$unset"`.
fn paths(names: &[OsString]) -> Result<Vec<PathBuf>> {
    let one = |name: &OsString| match name.is_empty() {
        true => Err(Error::usage(say!("PATH is empty; is a variable of the caller unset?"))),
        false => Ok(PathBuf::from(name)),
    };
    names.iter().map(one).collect()
}

/// The topic that `syncsup help` is given: the word, or the place that a message names.
pub(super) fn topic(given: &str) -> Result<HelpTopic> {
    let word = given.rsplit('#').next().unwrap_or(given);
    let found = HelpTopic::ALL.iter().find(|topic| topic.anchor() == word);
    found.copied().ok_or_else(|| {
        let known: Vec<&str> = HelpTopic::ALL.iter().map(|topic| topic.anchor()).collect();
        Error::usage(match nearest(word, &known) {
            Some(near) => say!("no help on `{}`; did you mean `{}`?", word, near),
            None => say!("no help on `{}`; the topics are: {}", word, listed(&known)),
        })
    })
}

pub(super) fn status(words: &super::Words, names: Vec<String>) -> Result<Command> {
    if names.iter().any(String::is_empty) {
        return Err(Error::usage(say!("NAME is empty; is a variable of the caller unset?")));
    }
    // JSON has everything.
    let selects = ["--problems", "--processes"].into_iter().find(|option| has(words, option));
    if let Some(option) = selects.filter(|_| has(words, "--json")) {
        let text = say!("`syncsup status` takes only one of --json and {}", option);
        return Err(Error::usage(text));
    }
    let format = match (has(words, "--json"), has(words, "--watch")) {
        (false, false) => StatusFormat::Text,
        (true, false) => StatusFormat::Json,
        (false, true) => StatusFormat::Watch,
        (true, true) => {
            return Err(Error::usage(say!(
                "`syncsup status` takes only one of --json and --watch"
            )));
        }
    };
    let part = match has(words, "--problems") {
        true => StatusPart::Problems,
        false => StatusPart::All,
    };
    let processes = match has(words, "--processes") {
        true => Processes::All,
        false => Processes::Few,
    };
    Ok(Command::Status(StatusWish { names, format, part, processes }))
}

pub(super) fn wait(words: super::Words) -> Result<Command> {
    let all = has(&words, "--all");
    let on = match (words.operate.quorum, &words.operate.remotes[..]) {
        (None, []) => On::All,
        (Some(n), []) if !all => On::Quorum(n),
        (None, names) if !all => On::Remotes(names.to_vec()),
        _ => {
            return Err(Error::usage(say!(
                "`syncsup wait` takes only one of --all, --quorum and --remote"
            )));
        }
    };
    let timeout = words.operate.timeout.unwrap_or(TIMEOUT);
    Ok(Command::Wait(Wait { paths: paths(&words.names[1..])?, on, timeout }))
}

pub(super) fn verify(words: super::Words) -> Result<Command> {
    let format = match (has(&words, "--json"), has(&words, "-0")) {
        (false, false) => Format::Lines,
        (true, false) => Format::Json,
        (false, true) => Format::Null,
        (true, true) => {
            return Err(Error::usage(say!("`syncsup verify` takes only one of --json and -0")));
        }
    };
    let mut paths = paths(&words.names[1..])?;
    if paths.len() > 1 {
        return Err(Error::usage(say!("`syncsup verify` takes one LOCALPATH, or none for all")));
    }
    let (checksum, repair) = (has(&words, "--checksum"), has(&words, "--repair"));
    let remotes = words.operate.remotes;
    Ok(Command::Verify(Verify { path: paths.pop(), remotes, checksum, repair, format }))
}

pub(super) fn journal(words: super::Words) -> Result<Command> {
    let action = words.names.get(1).map(OsString::as_os_str).unwrap_or(OsStr::new("list"));
    let (json, yes) = (has(&words, "--json"), has(&words, "--yes"));
    if action == "prune" {
        if words.special.iter().any(|option| *option != "--yes") {
            return Err(Error::usage(say!(
                "`syncsup journal prune` takes --yes or NAMEs, and nothing else"
            )));
        }
        let names = words.names[2..].iter().map(|n| n.to_string_lossy().into_owned()).collect();
        return Ok(Command::Prune { names, yes });
    }
    if yes {
        return Err(Error::usage(say!("only `syncsup journal prune` takes --yes")));
    }
    let paths = paths(words.names.get(2..).unwrap_or_default())?;
    let which = Which { remotes: words.operate.remotes, plugins: words.operate.plugins, paths };
    match action.to_str() {
        Some("list") => Ok(Command::Journal(JournalAction::List { which, json })),
        Some("retry" | "drop") if json => {
            Err(Error::usage(say!("only `syncsup journal list` takes --json")))
        }
        Some("retry") => Ok(Command::Journal(JournalAction::Retry(which))),
        Some("drop") => Ok(Command::Journal(JournalAction::Drop(which))),
        Some(path) if path.starts_with('/') => Err(Error::usage(say!(
            "`syncsup journal {}`: unknown action; `syncsup journal list {}` lists what fails there",
            printable(path.as_bytes()),
            quoted_text(path.as_bytes())
        ))),
        _ => Err(Error::usage(say!(
            "`syncsup journal {}`: unknown action; the actions are list, retry, drop, prune and import FILE",
            printable(action.as_encoded_bytes())
        ))),
    }
}

pub(super) fn undelete(words: super::Words) -> Result<Command> {
    let force = has(&words, "--force");
    let at = match (words.operate.at.clone(), has(&words, "--last")) {
        (Some(_), true) => {
            return Err(Error::usage(say!("`syncsup undelete` takes only one of --at and --last")));
        }
        (Some(time), false) if time.is_empty() => {
            return Err(Error::usage(say!(
                "--at needs a time that `syncsup undelete PATH` shows, or the beginning of one"
            )));
        }
        (Some(time), false) => Some(At::Time(time)),
        (None, true) => Some(At::Last),
        (None, false) => None,
    };
    if force && at.is_none() {
        return Err(Error::usage(say!("--force needs --last or --at TIME")));
    }
    let mut remotes = words.operate.remotes;
    if remotes.len() > 1 {
        return Err(Error::usage(say!("`syncsup undelete` takes one --remote")));
    }
    match &words.names[1..] {
        [path] if !path.is_empty() => {
            Ok(Command::Undelete(Wish { path: path.clone(), remote: remotes.pop(), at, force }))
        }
        _ => Err(Error::usage(say!(
            "`syncsup undelete` takes one PATH: absolute, or from the root of the localpath"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("7", 7_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "s", "-1", "1.5s", "1 s", "5d", "99999999999999999999", "18446744073709551615h"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
