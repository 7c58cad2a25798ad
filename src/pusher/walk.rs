//! What is replicated here: the names in a directory, and everything below the root. What cannot be read counts for
//! nothing: rsync says so.

use super::context::Context;
use super::guard::Contents;
use super::stuck::Stuck;
use crate::path::RelPath;
use crate::stat::Kind;
use crate::sys::files::{Name, Root};

/// Directories that are looked into for something to replicate; a tree of more than that is not empty.
const LOOKED_INTO_MOST: usize = 10_000;

/// The names in a directory that is entered, at most `most`, with their kinds.
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

/// Everything below the root that is replicated, directory by directory.
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

/// The number of names in each directory that are no directories.
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

/// Looks for something that is replicated, as the delete guard wants to know. In most trees it finds some at once.
pub fn contents(context: &Context) -> Result<Contents, Stuck> {
    let root = context.open_root()?;
    let mut walk = Walk::new(context, &root);
    let something = walk.by_ref().take(LOOKED_INTO_MOST).any(|files| files > 0);
    match something || !walk.left.is_empty() {
        true => Ok(Contents::Something),
        false => Ok(Contents::Nothing),
    }
}

/// How many names are replicated and no directories: up to `most`, or somewhat more.
pub fn files(context: &Context, most: u64) -> Result<u64, Stuck> {
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
