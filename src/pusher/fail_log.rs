//! sersync's `rsync_fail_log.sh`: the failing paths of a remote, as a script for any POSIX shell. Pure.
//!
//! sersync executed its script and then truncated it, even after an error, and gave it mode 777. This one shows what is
//! failing now: for each path a comment and one line that repairs it by hand. A line does what a push would have done
//! when the line was written: it sends a path that existed and never deletes it, and deletes a path that was gone.

use super::plan::Plan;
use crate::config::model::{LocalPath, Remote};
use crate::figures::count;
use crate::journal::{Marked, Owed};
use crate::path::{RelPath, as_written};
use crate::rsync::argv::{self, Check, Form, Options};
use crate::rsync::trash;
use crate::shell::{octal, quoted};
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;

/// The largest number of paths shown for one remote. The journal has all of them.
pub const MOST: u32 = 1_000;

/// What all lines of one remote depend on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The receiver does not support `--delete-missing-args`, or the user's parameters contain filters.
    pub form_b: bool,
    /// What must stay on the remote, and with it the directories above it.
    pub excluded: Excluded<'a>,
    /// The inode of the root, if it could be opened. The lines delete nothing in another directory, such as an empty
    /// mount point.
    pub root: Option<u64>,
}

/// What is excluded, by the filter or by rules in the user's parameters.
#[derive(Clone, Copy, Debug)]
pub enum Excluded<'a> {
    /// Nothing, or what the user's parameters exclude before any rule of a line.
    Nothing,
    /// What rsync's patterns match: names of any kind, and of files only.
    Patterns { names: &'a [Vec<u8>], files: &'a [&'a str] },
    /// What no rule of a line can express.
    Other,
}

impl Excluded<'_> {
    fn is_nothing(self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// A row, and what a push would do with it now.
pub struct Row {
    /// The row.
    pub owed: Owed,
    /// The plan of a batch with this row only. `None` if the root could not be opened.
    pub plan: Option<Plan>,
}

/// Adds the marks that wait while no push to the remote succeeds, with rsync's `message`.
pub fn add_marks(owed: &mut Vec<Owed>, marks: Vec<Marked>, message: &str) {
    let known: HashSet<RelPath> = owed.iter().map(|row| row.path.clone()).collect();
    let new = marks.into_iter().filter(|mark| !known.contains(&mark.path));
    owed.extend(new.map(|mark| Owed {
        path: mark.path,
        scope: mark.scope,
        events: mark.events,
        error: None,
        attempts: 0,
        since_ms: mark.marked_at_ms,
        generation: 0,
    }));
    owed.truncate(MOST as usize);
    for row in owed.iter_mut().filter(|row| row.error.is_none()) {
        row.error = Some(message.to_owned());
    }
}

/// The part of one remote. It is empty if no path is failing.
pub fn part(
    localpath: &LocalPath,
    remote: &Remote,
    facts: Facts<'_>,
    rows: &[Row],
    time: impl Fn(i64) -> String,
) -> Vec<u8> {
    let mut out = Vec::new();
    for Row { owed, plan } in rows {
        let error = as_written(owed.error.as_deref().unwrap_or_default().as_bytes());
        let head = format!(
            "# {} {}: {}: {error} (since {}, {})\n",
            localpath.watch,
            remote.name(),
            if owed.path.is_root() { ".".to_owned() } else { owed.path.to_string() },
            time(owed.since_ms),
            count(u64::from(owed.attempts), "try", "tries")
        );
        out.extend(head.bytes());
        match repair(owed, plan.as_ref(), facts) {
            Some(repair) => {
                let stamp = trash::stamp(&time(owed.since_ms), 0);
                out.extend(line(localpath, remote, facts, &repair, &stamp));
            }
            None => out.extend(b"# excluded now: nothing to do\n"),
        }
    }
    if rows.len() >= MOST as usize {
        out.extend(
            format!("# {} may have more failing paths than these {MOST}\n", remote.name()).bytes(),
        );
    }
    out
}

/// The action of a line.
enum Repair<'a> {
    /// Sends this entry, if it exists.
    Send(&'a RelPath),
    /// Deletes this name, which is gone locally, and everything below it that is not excluded.
    Delete(&'a RelPath),
    /// Deletes the second path, which is gone locally, and each directory from the first path on that is then empty.
    /// Other names in them may be excluded.
    DeleteOne(&'a RelPath, &'a RelPath),
    /// Makes this directory and the names in it (or everything below) equal on the remote.
    Below(&'a RelPath, Form),
    /// Sets mode, owner and times of the root.
    Root,
}

fn repair<'a>(owed: &'a Owed, plan: Option<&'a Plan>, facts: Facts<'_>) -> Option<Repair<'a>> {
    let Some(plan) = plan else { return Some(Repair::Send(&owed.path)) };
    if let Some(absent) = plan.absent.first() {
        let listed = match facts.excluded {
            Excluded::Nothing => false,
            Excluded::Patterns { .. } => argv::too_long_for_a_rule(&absent.path),
            Excluded::Other => true,
        };
        return Some(match listed {
            true => Repair::DeleteOne(&absent.path, &owed.path),
            false => Repair::Delete(&absent.path),
        });
    }
    let below = [(&plan.tree, Form::Tree), (&plan.children, Form::Children)];
    for (paths, form) in below {
        match paths.first() {
            // rsync cannot be told what the filter excludes, so the line sends only the directory itself.
            Some(path) if facts.excluded.is_nothing() => return Some(Repair::Below(path, form)),
            Some(path) if path.is_root() => return Some(Repair::Root),
            Some(path) => return Some(Repair::Send(path)),
            None => {}
        }
    }
    let large = plan.large.first().map(|large| &large.path);
    let failed = plan.failed.first().map(|(path, _)| path);
    let entry = plan.present.first().or(plan.checksum.first()).or(large).or(failed);
    entry.map(Repair::Send).or_else(|| plan.root.then_some(Repair::Root))
}

fn line(
    localpath: &LocalPath,
    remote: &Remote,
    facts: Facts<'_>,
    repair: &Repair,
    stamp: &str,
) -> Vec<u8> {
    let delete = localpath.inotify.delete;
    let force = delete && facts.excluded.is_nothing();
    let options = Options {
        check: Check::Content,
        dry: false,
        delete,
        force,
        stats: false,
        unchanged: false,
    };
    let command = |form: &Form, options: Options| -> Vec<u8> {
        let mut arguments = argv::argv(&remote.peer, form, options);
        // A push uses these forms as a dry run.
        arguments.retain(|argument| argument != "-n");
        if remote.trash_keep_ms.is_some() {
            trash::keep(&mut arguments, stamp);
        }
        arguments.iter().map(|w| quoted(w.as_bytes())).collect::<Vec<_>>().join(&b' ')
    };
    let mut out = [b"cd ".as_slice(), &directory(localpath.watch.as_bytes()), b" && "].concat();
    let sends = matches!(repair, Repair::Send(_) | Repair::Root);
    if let Some(inode) = facts.root.filter(|_| !sends) {
        out.extend(format!("ls -di . | grep -q '^ *{inode} ' && ").bytes());
    }
    let piped = |list: Vec<u8>, form: &Form| {
        [b"printf '", octal(&list).as_slice(), b"' | ", &command(form, options)].concat()
    };
    let at_risk = |top: &RelPath, rules: Vec<u8>| {
        let parent = top.parent().unwrap_or_else(RelPath::root);
        let form = Form::DeleteB { rules: "/dev/fd/3".into() };
        let inner = piped(argv::list_directories([&parent]), &form);
        [b"printf '", octal(&rules).as_slice(), b"' | { ", &inner, b"; } 3<&0"].concat()
    };
    out.extend(match repair {
        Repair::Send(path) => piped(argv::list([*path]), &Form::Send),
        Repair::Delete(path) => match facts.excluded {
            Excluded::Patterns { names, files } => {
                at_risk(path, argv::risk_rules_except(&[(*path).clone()], names, files))
            }
            _ if facts.form_b => at_risk(path, argv::risk_rules(&[(*path).clone()], &[])),
            _ => piped(argv::list([*path]), &Form::Batch { delete }),
        },
        Repair::DeleteOne(top, path) => {
            let names: Vec<RelPath> = path.prefixes().filter(|p| p.is_within(top)).collect();
            at_risk(top, argv::risk_rules(&[], &names))
        }
        Repair::Below(path, form) => piped(argv::list_directories([*path]), form),
        Repair::Root => command(&Form::Root, options),
    });
    out.push(b'\n');
    out
}

/// A directory's path as a word of the shell. The suffix keeps a newline at its end.
fn directory(path: &[u8]) -> Vec<u8> {
    if path.ends_with(b"\n") { quoted(&[path, b"/."].concat()) } else { quoted(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_at_the_end_of_the_localpath_is_kept() {
        assert_eq!(directory(b"/a\n"), b"\"$(printf '/a\\012/.')\"");
    }
}
