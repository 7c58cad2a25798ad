//! Directories many of whose names are in a batch. rsync reads such a directory itself, which costs a third of listing its
//! names. Pure.

use crate::path::RelPath;
use crate::stat::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// With fewer names in a directory, reading it saves nothing.
const NAMES_FEWEST: usize = 16;

/// With one of this number of names in a batch, reading a directory costs no more than listing the names.
const SHARE: usize = 3;

/// What rsync may send of a directory that it reads, although it is not in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Nothing, because another push may send it at the same time.
    Nothing,
    /// Small files.
    SmallFiles,
}

/// The directories at least a third of whose names are among `paths`. `names(directory, n)` returns up to n names of a
/// directory, or `None` if it cannot read it. A directory with a name that is not among the paths counts only if that is
/// a file, and `harmless`: it may be sent along.
pub fn directories<'a>(
    paths: impl IntoIterator<Item = &'a RelPath>,
    mut names: impl FnMut(&RelPath, usize) -> Option<Vec<(OsString, Option<Kind>)>>,
    harmless: impl Fn(&RelPath) -> bool,
) -> BTreeSet<RelPath> {
    let mut listed: BTreeMap<RelPath, BTreeSet<&OsStr>> = BTreeMap::new();
    for path in paths {
        // Not the root, which rsync would read with everything below it.
        if let Some(parent) = path.parent().filter(|parent| !parent.is_root()) {
            listed.entry(parent).or_default().insert(path.name());
        }
    }
    listed.retain(|directory, listed| {
        let most = SHARE * listed.len();
        let along =
            |name: &OsStr, kind| kind == Some(Kind::File) && harmless(&directory.join(name));
        listed.len() >= NAMES_FEWEST
            && names(directory, most + 1).is_some_and(|there| {
                there.len() <= most
                    && there
                        .iter()
                        .all(|(name, kind)| listed.contains(&**name) || along(name, *kind))
            })
    });
    listed.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_with_many_names_listed_are_whole() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let below = |dir: &str, count| {
            names(count).iter().map(|n| path(&format!("{dir}{n}"))).collect::<Vec<_>>()
        };
        let dirs = ["all/", "most/", "some/", "subdir/", "unknown/", "large/", ""];
        let mut paths: Vec<RelPath> = dirs.iter().flat_map(|dir| below(dir, 20)).collect();
        paths.extend(below("few/", 3));
        let there = |dir: &RelPath, most: usize| -> Option<Vec<(OsString, Option<Kind>)>> {
            let file = |name: &String| (OsString::from(name), Some(Kind::File));
            let mut there: Vec<_> = names(20).iter().map(file).collect();
            match dir.to_string().as_str() {
                "all" => {}
                "most" => there.extend(names(60)[20..].iter().map(file)),
                "some" => there.extend(names(61)[20..].iter().map(file)),
                "subdir" => there.push(("new".into(), Some(Kind::Dir))),
                "unknown" => there.push(("new".into(), None)),
                "large" => there.push(("large".into(), Some(Kind::File))),
                _ => panic!("{dir} was read"),
            }
            there.truncate(most);
            Some(there)
        };
        let found = |harmless: fn(&RelPath) -> bool| {
            let found = directories(&paths, there, harmless).into_iter();
            found.map(|dir| dir.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found(|path| path.name() != "large"), ["all", "most"]);
        assert_eq!(found(|_| false), ["all"]);
        assert!(directories(&paths, |_, _| None, |_| true).is_empty());
    }
}
