//! Walks what is replicated locally: the names in a directory, and everything below the root. Unreadable directories
//! count as empty; rsync reports them.

use super::context::Context;
use super::guard::Contents;
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
    let looked = |name: &Name| root.lstat(&dir.join(&name.name)).ok().map(|stat| stat.kind);
    let names = names.unwrap_or_default().into_iter();
    names
        .filter_map(|name| Some((name.kind.or_else(|| looked(&name))?, name)))
        .map(|(kind, name)| (name, kind))
        .collect()
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
