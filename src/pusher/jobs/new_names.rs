//! The new names of what was moved: the remote gives them to the files that it has under the old names.

use crate::path::RelPath;
use crate::pusher::context::Context;
use crate::pusher::plan::Renamed;
use crate::pusher::walk;
use crate::rsync::argv;
use crate::stat::{Kind, Stat};
use crate::sys::files::Root;
use crate::sys::placeholders::Placeholders;
use std::collections::HashSet;
use std::path::Path;

/// The largest number of files that get new names in one push: the largest ones of those that were moved.
const FILES_MOST: usize = 10_000;
/// The largest number of directories that are read to find them.
const DIRECTORIES_MOST: usize = 10_000;

/// Placeholders for moved files, under their old and new names.
pub struct NewNames {
    placeholders: Placeholders,
    /// The old and the new name of each.
    pub files: Vec<[RelPath; 2]>,
}

/// One file that was moved.
struct Moved {
    from: RelPath,
    to: RelPath,
    stat: Stat,
}

impl NewNames {
    /// Makes placeholders for the files of `renamed`. `None` if there are none, or if they cannot be made: then the files
    /// are sent.
    pub fn of(context: &Context, root: &Root, renamed: &[Renamed]) -> Option<Self> {
        let silent = context.journal.silent_mounts().ok()?;
        // What was moved into a moved directory came from elsewhere.
        let own: HashSet<&RelPath> = renamed.iter().map(|renamed| &renamed.to).collect();
        let mut files = Vec::new();
        let answers = |renamed: &&Renamed| !walk::meets(&silent, &renamed.to);
        for Renamed { from, to } in renamed.iter().filter(answers) {
            moved(context, root, (from, to), &own, &mut files);
        }
        keep_largest(&mut files);
        if files.is_empty() {
            return None;
        }
        let prefix = argv::placeholders_prefix(&context.name);
        let placeholders = Placeholders::new(&context.start.state_dir, &prefix).ok()?;
        let mut added = Vec::with_capacity(files.len());
        for Moved { from, to, stat } in files {
            context.supervisor.beat();
            // A name may be too long here, or a file too large.
            if placeholders.add([&from, &to], stat.size, stat.mtime_ns).is_ok() {
                added.push([from, to]);
            }
        }
        (!added.is_empty()).then_some(Self { placeholders, files: added })
    }

    /// The list for rsync.
    pub fn list(&self) -> Vec<u8> {
        argv::list(self.files.iter().flatten())
    }

    /// The directory that contains the placeholders.
    pub fn directory(&self) -> &Path {
        self.placeholders.path()
    }
}

fn keep_largest(files: &mut Vec<Moved>) {
    if files.len() > FILES_MOST {
        files.sort_unstable_by_key(|file| std::cmp::Reverse(file.stat.size));
        files.truncate(FILES_MOST);
    }
}

/// Adds the files with content at or below a moved path.
fn moved(
    context: &Context,
    root: &Root,
    (from, to): (&RelPath, &RelPath),
    own: &HashSet<&RelPath>,
    files: &mut Vec<Moved>,
) {
    let (mut left, mut read) = (Vec::new(), 0);
    let mut look = |from: RelPath, to: RelPath, kind: Kind, left: &mut Vec<_>| {
        context.supervisor.beat();
        if files.len() > 2 * FILES_MOST {
            keep_largest(files);
        }
        let excluded = |path: &RelPath| context.filter.excludes(path, kind == Kind::Dir);
        match kind {
            _ if excluded(&from) || excluded(&to) => {}
            Kind::Dir => left.push((from, to)),
            Kind::File => {
                let stat = root.lstat(&to).ok().filter(|stat| stat.kind == Kind::File);
                files.extend(stat.filter(|stat| stat.size > 0).map(|stat| Moved {
                    from,
                    to,
                    stat,
                }));
            }
            _ => {}
        }
    };
    if let Ok(stat) = root.lstat(to) {
        look(from.clone(), to.clone(), stat.kind, &mut left);
    }
    while let Some((from, to)) = left.pop() {
        read += 1;
        if read > DIRECTORIES_MOST {
            break;
        }
        for (name, kind) in walk::names(context, root, &to, usize::MAX) {
            let path = to.join(&name.name);
            if !own.contains(&path) {
                look(from.join(&name.name), path, kind, &mut left);
            }
        }
    }
}
