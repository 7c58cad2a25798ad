//! Walks what is replicated locally: the names in a directory, and everything below the root. Unreadable directories
//! count as empty; rsync reports them.

use super::context::Context;
use super::guard::{self, Contents, Losses};
use super::job_error::JobError;
use crate::path::RelPath;
use crate::stat::Kind;
use crate::sys::files::{Name, Root};

/// Directories that are searched for files. A tree with more directories does not count as empty.
const SEARCHED_MOST: usize = 10_000;

/// At most `most` names in a directory, with their kinds. None in a directory that is not entered.
pub fn names(context: &Context, root: &Root, dir: &RelPath, most: usize) -> Vec<(Name, Kind)> {
    context.supervisor.beat();
    let names = match dir.is_root() {
        true => root.some_names(most),
        false => root.subdir(dir).and_then(|dir| match context.enters(root, &dir.stat) {
            true => dir.some_names(most),
            false => Ok(Vec::new()),
        }),
    };
    let names = names.unwrap_or_default().into_iter();
    names
        .filter_map(|name| Some((kind(root, &dir.join(&name.name), &name)?, name)))
        .map(|(kind, name)| (name, kind))
        .collect()
}

/// True if a walk of this directory would touch one of these mount points, which do not answer.
pub fn meets(silent: &[RelPath], directory: &RelPath) -> bool {
    silent.iter().any(|mount| mount.is_within(directory) || directory.is_within(mount))
}

/// The kind of a name that was found at `path`.
pub fn kind(root: &Root, path: &RelPath, name: &Name) -> Option<Kind> {
    name.kind.or_else(|| root.lstat(path).ok().map(|stat| stat.kind))
}

/// The number of names that are replicated, and the bytes of the files among them. The count stops when it reaches `most`
/// names. Without `sizes`, no file is examined.
pub fn extent(context: &Context, root: &Root, most: u64, sizes: bool) -> (u64, u64) {
    let (mut count, mut bytes, mut left) = (0, 0, vec![RelPath::root()]);
    while let Some(dir) = left.pop().filter(|_| count < most) {
        for (name, kind) in names(context, root, &dir, usize::MAX) {
            let path = dir.join(&name.name);
            if context.filter.excludes(&path, kind == Kind::Dir) {
                continue;
            }
            context.supervisor.beat();
            count += 1;
            match kind {
                Kind::Dir => left.push(path),
                Kind::File if sizes => bytes += root.lstat(&path).map_or(0, |stat| stat.size),
                _ => {}
            }
        }
    }
    (count, bytes)
}

/// A walk of everything that is replicated below the root, directory by directory.
struct Walk<'a> {
    context: &'a Context,
    root: &'a Root,
    left: Vec<RelPath>,
}

impl<'a> Walk<'a> {
    fn new(context: &'a Context, root: &'a Root) -> Self {
        Self { context, root, left: vec![RelPath::root()] }
    }
}

/// Yields for each directory the number of names in it that are not directories.
impl Iterator for Walk<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let dir = self.left.pop()?;
        let mut files = 0;
        for (name, kind) in names(self.context, self.root, &dir, usize::MAX) {
            let path = dir.join(&name.name);
            match (kind, self.context.filter.excludes(&path, kind == Kind::Dir)) {
                (Kind::Dir, false) => self.left.push(path),
                (_, false) => files += 1,
                (_, true) => {}
            }
        }
        Some(files)
    }
}

/// Whether any file is replicated, for the delete guard. In most trees the first directory answers this.
pub fn contents(context: &Context) -> Result<Contents, JobError> {
    let root = context.open_root()?;
    let mut walk = Walk::new(context, &root);
    let something = walk.by_ref().take(SEARCHED_MOST).any(|files| files > 0);
    match something || !walk.left.is_empty() {
        true => Ok(Contents::Something),
        false => Ok(Contents::Nothing),
    }
}

/// The same losses, with no more entries on the remote than the localpath and the deletions explain. The known number
/// grows twice if two pushes create a name at the same time. At most as many names are counted as would be deleted.
pub fn fewer_entries(context: &Context, losses: Losses) -> Result<Losses, JobError> {
    if !guard::depends_on_entries(context.start.remote.max_delete, losses.deletions) {
        return Ok(losses);
    }
    let most = losses.deletions + 1;
    let (here, _) = extent(context, &context.open_root()?, most, false);
    // With the root.
    let explained = guard::remote_entries(here + 1, losses.created, losses.deletions);
    let fewer = |known: u64| if here < most { known.min(explained) } else { known };
    Ok(Losses { entries: losses.entries.map(fewer), ..losses })
}

/// The number of replicated names that are not directories. The count stops when it reaches `most`.
pub fn files(context: &Context, most: u64) -> Result<u64, JobError> {
    let root = context.open_root()?;
    let mut found = 0;
    for files in Walk::new(context, &root) {
        found += files;
        if found >= most {
            break;
        }
    }
    Ok(found)
}
