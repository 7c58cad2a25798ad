//! Directories whose every name is in a batch. rsync reads such a directory itself, which costs half as much as listing
//! its names. Pure.

use crate::path::RelPath;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

/// With fewer names in a directory, reading it saves nothing.
const NAMES_FEWEST: usize = 16;

/// The directories whose names are all among `paths`. `names(directory, n)` returns up to n + 1 names of a directory,
/// or `None` if it cannot read it.
pub fn directories<'a>(
    paths: impl IntoIterator<Item = &'a RelPath>,
    mut names: impl FnMut(&RelPath, usize) -> Option<Vec<OsString>>,
) -> BTreeSet<RelPath> {
    let mut listed: BTreeMap<RelPath, BTreeSet<&std::ffi::OsStr>> = BTreeMap::new();
    for path in paths {
        // Not the root, which rsync would read with everything below it.
        if let Some(parent) = path.parent().filter(|parent| !parent.is_root()) {
            listed.entry(parent).or_default().insert(path.name());
        }
    }
    listed.retain(|directory, listed| {
        listed.len() >= NAMES_FEWEST
            && names(directory, listed.len()).is_some_and(|there| {
                there.len() == listed.len() && there.iter().all(|name| listed.contains(&**name))
            })
    });
    listed.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_with_every_name_listed_are_whole() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let below = |dir: &str, count| {
            names(count).iter().map(|n| path(&format!("{dir}{n}"))).collect::<Vec<_>>()
        };
        let paths: Vec<RelPath> = [
            below("all/", 20),
            below("some/", 20),
            below("other/", 20),
            below("few/", 3),
            below("", 20),
        ]
        .concat();
        let there = |dir: &RelPath, most: usize| -> Option<Vec<OsString>> {
            let mut there: Vec<OsString> = names(20).iter().map(OsString::from).collect();
            match dir.to_string().as_str() {
                "all" => {}
                "some" => there.push("one more".into()),
                "other" => there[3] = "other".into(),
                _ => panic!("{dir} was read"),
            }
            there.truncate(most + 1);
            Some(there)
        };
        let whole = directories(&paths, there);
        assert_eq!(whole.into_iter().collect::<Vec<_>>(), [path("all")]);
        assert!(directories(&paths, |_, _| None).is_empty());
    }
}
