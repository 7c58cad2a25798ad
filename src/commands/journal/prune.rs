//! `syncsup journal prune`: lists and removes the journals of localpaths that are no longer configured.

use crate::commands::invocation::Invocation;
use crate::commands::{print, table};
use crate::error::{Error, Exit, Result};
use crate::figures;
use crate::instance::run_as;
use crate::instance::state_dirs::{self, Standing, StateDir};
use crate::language::{counted, listed, say, words};
use crate::path::printable;
use crate::sys::{clock, log};

/// Lists the journals, or removes those of `names`, or all with `yes`. A journal that is in use or configured is never
/// removed.
pub fn run(invocation: &Invocation, names: &[String], yes: bool) -> Result<Exit> {
    let state = &invocation.directories.state;
    run_as::assume_owner(&invocation.directories, &log::logger(false))?;
    // The default configuration files count too, if they exist.
    let files = match invocation.files.is_empty() {
        true => invocation.files_or_default().unwrap_or_default(),
        false => invocation.files_or_default()?,
    };
    let mut found = state_dirs::all(state, &files)
        .map_err(|e| Error::system(say!("cannot look into {}", state.display()), e))?;
    if !names.is_empty() {
        return remove(&chosen(&found, names)?);
    }
    if yes {
        found.retain(|f| f.standing == Standing::Removed);
        return remove(&found.iter().collect::<Vec<_>>());
    }
    found.retain(|f| matches!(f.standing, Standing::Removed | Standing::Unknown(_)));
    print(&shown(&found, clock::local_time));
    Ok(Exit::Ok)
}

/// The journals that the names select. A name is a directory's name or a localpath.
fn chosen<'f>(found: &'f [StateDir], names: &[String]) -> Result<Vec<&'f StateDir>> {
    let mut all: Vec<&StateDir> = Vec::new();
    for name in names {
        let path = match name.len() {
            1 => name,
            _ => name.trim_end_matches('/'),
        };
        let is = |f: &&StateDir| {
            f.id == *name || f.of.as_ref().is_some_and(|of| of.watch.as_bytes() == path.as_bytes())
        };
        let meant: Vec<&StateDir> = found.iter().filter(is).collect();
        let name = printable(name.as_bytes());
        if meant.is_empty() {
            let text =
                say!("{}: no such journal; `syncsup journal prune` lists the journals", name);
            return Err(Error::usage(text));
        }
        for one in meant {
            match &one.standing {
                Standing::Removed | Standing::Unknown(_) => {}
                Standing::InUse { pid } => {
                    let by = pid.map_or(String::new(), |pid| say!(" (pid {})", pid));
                    let text = say!("{}: in use by an instance{}; nothing was removed", name, by);
                    return Err(Error::new(Exit::AlreadyRunning, text));
                }
                Standing::Configured(file) => {
                    let text = say!(
                        "{}: {} configures its localpath; remove the localpath there first; nothing was removed",
                        name,
                        file.display()
                    );
                    return Err(Error::new(Exit::No, text));
                }
            }
            if all.iter().all(|f| f.id != one.id) {
                all.push(one);
            }
        }
    }
    Ok(all)
}

fn remove(found: &[&StateDir]) -> Result<Exit> {
    for one in found {
        state_dirs::remove(one)
            .map_err(|e| Error::system(say!("cannot remove the journal {}", one.id), e))?;
        print(&say!("removed {} ({}): {}\n", one.id, figures::bytes(one.bytes), of(one)));
    }
    if found.is_empty() {
        print(&nothing());
    }
    Ok(Exit::Ok)
}

fn nothing() -> String {
    say!("every journal belongs to a localpath that is configured or in use\n")
}

/// One line per journal, and what can be done.
fn shown(found: &[StateDir], time: impl Fn(i64) -> String) -> String {
    if found.is_empty() {
        return nothing();
    }
    let mut rows = vec![vec![say!("NAME"), say!("SIZE"), say!("LAST USED"), say!("OF")]];
    for one in found {
        rows.push(vec![one.id.clone(), figures::bytes(one.bytes), time(one.used_ms), of(one)]);
    }
    let removed = found.iter().filter(|f| f.standing == Standing::Removed);
    let unknown = found.len() - removed.clone().count();
    let bytes = figures::bytes(removed.clone().map(|f| f.bytes).sum());
    let mut out = table::columns(&rows);
    if unknown < found.len() {
        let count = counted(removed.count() as u64, words::JOURNALS);
        out += &say!(
            "`syncsup journal prune --yes` removes {}, {}; with a NAME only that one\n",
            count,
            bytes
        );
    }
    if unknown > 0 {
        let count = counted(unknown as u64, words::JOURNALS);
        out += &say!("{} marked with ? may still be needed: only NAME removes them\n", count);
    }
    out
}

/// The localpath of the journal, and why the journal is considered left over.
fn of(found: &StateDir) -> String {
    let mut text = match &found.of {
        None => String::new(),
        Some(of) => {
            let to = match (&of.remotes[..], &of.module) {
                ([], None) => String::new(),
                ([], Some(kind)) => format!(" (-m {})", printable(kind.as_bytes())),
                (remotes, _) => {
                    let names: Vec<String> =
                        remotes.iter().map(|r| printable(r.as_bytes())).collect();
                    say!(" to {}", listed(&names))
                }
            };
            format!("{}{to}", of.watch)
        }
    };
    if let Standing::Unknown(why) = &found.standing {
        let why = printable(why.as_bytes());
        text = format!("? {text}{}{why}", if text.is_empty() { "" } else { ": " });
    }
    text
}
