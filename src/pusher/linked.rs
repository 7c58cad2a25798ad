//! Files that the remote may have under two names: a rename gave them the second one, and the first one was not deleted
//! after it, because it is in use again here. A change of the attributes of one name would change the other one, too.
//! So until the names have files of their own, each push of such a name sends the file and replaces it. Pure.

use crate::journal::{Events, Owe, Scope};
use crate::path::RelPath;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

/// These files.
#[derive(Debug, Default)]
pub struct Linked {
    /// Each name, and the number of its file.
    names: BTreeMap<RelPath, u64>,
    /// The names of each file, at least two.
    files: HashMap<u64, Vec<RelPath>>,
    /// The last number given to a file.
    last: u64,
    /// The journal's records of them.
    records: Vec<(i64, Vec<[RelPath; 2]>)>,
    /// Names have been parted since the records were last looked at.
    parted: bool,
}

impl Linked {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// True if this name may share its file with another one.
    pub fn contains(&self, name: &RelPath) -> bool {
        self.names.contains_key(name)
    }

    /// True if this name may share its file with one that is not among `own`.
    pub fn is_beyond(&self, name: &RelPath, own: &HashSet<&RelPath>) -> bool {
        let names = self.names.get(name).and_then(|file| self.files.get(file));
        names.is_some_and(|names| names.iter().any(|name| !own.contains(name)))
    }

    /// True if such a name is at or below `path`.
    pub fn is_any_within(&self, path: &RelPath) -> bool {
        self.within(path).next().is_some()
    }

    /// Such names at or below `path`.
    pub fn within(&self, path: &RelPath) -> impl Iterator<Item = &RelPath> {
        let from = self.names.range((Bound::Included(path.clone()), Bound::Unbounded));
        // Names such as `path.old` stand between `path` and what is below it.
        let near = from.map(|(name, _)| name);
        let near = near.take_while(|name| name.as_bytes().starts_with(path.as_bytes()));
        near.filter(|name| name.is_within(path))
    }

    /// Every such name.
    pub fn names(&self) -> impl Iterator<Item = &RelPath> {
        self.names.keys()
    }

    /// Adds files of the journal's record `id`: their first and second names.
    pub fn add(&mut self, id: i64, files: Vec<[RelPath; 2]>) {
        for pair in &files {
            // The remote may fail to give the second name. So what that shares with others is not forgotten.
            let mut all = Vec::new();
            for name in pair {
                match self.names.get(name).and_then(|file| self.files.remove(file)) {
                    Some(names) => all.extend(names),
                    None if all.contains(name) => {}
                    None => all.push(name.clone()),
                }
            }
            self.last += 1;
            self.names.extend(all.iter().map(|name| (name.clone(), self.last)));
            self.files.insert(self.last, all);
        }
        self.records.push((id, files));
    }

    /// This name has a file of its own, or is gone.
    pub fn part(&mut self, name: &RelPath) {
        let Some(file) = self.names.remove(name) else { return };
        self.parted = true;
        let names = self.files.entry(file).or_default();
        names.retain(|other| other != name);
        if names.len() <= 1 {
            for last in self.files.remove(&file).into_iter().flatten() {
                self.names.remove(&last);
            }
        }
    }

    /// Removes and returns the records that the journal need not keep any longer.
    pub fn ended(&mut self) -> Vec<i64> {
        if !std::mem::take(&mut self.parted) {
            return Vec::new();
        }
        let names = &self.names;
        let ended = |(_, files): &mut (i64, Vec<[RelPath; 2]>)| {
            !files.iter().flatten().any(|name| names.contains_key(name))
        };
        self.records.extract_if(.., ended).map(|(id, _)| id).collect()
    }
}

/// A name that is pushed because it may share its file with another one.
pub fn part(path: RelPath, now_ms: i64) -> Owe {
    Owe {
        path,
        scope: Scope::Entry,
        // If it is gone here, it goes there.
        events: Events::MOVE | Events::DELETE,
        error: None,
        attempts: 0,
        next_try_ms: now_ms,
        since_ms: now_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn linked(records: &[&[[&str; 2]]]) -> Linked {
        let mut linked = Linked::default();
        for (id, files) in (1..).zip(records) {
            linked.add(id, files.iter().map(|pair| pair.map(p)).collect());
        }
        linked
    }

    #[test]
    fn two_names_are_linked_until_one_is_parted() {
        for name in ["old/f", "new/f"] {
            let mut linked = linked(&[&[["old/f", "new/f"]]]);
            assert!(linked.contains(&p("old/f")) && linked.contains(&p("new/f")));
            assert_eq!(linked.ended(), [0_i64; 0]);
            linked.part(&p(name));
            assert!(linked.is_empty());
            assert_eq!(linked.ended(), [1]);
        }
    }

    #[test]
    fn a_file_that_was_renamed_twice_has_three_names() {
        let mut linked = linked(&[&[["a", "b"], ["x", "y"]], &[["b", "c"]]]);
        linked.part(&p("b"));
        let left: Vec<_> = linked.names().cloned().collect();
        assert_eq!(left, ["a", "c", "x", "y"].map(p), "the first and the third are still one file");
        assert_eq!(linked.ended(), [0_i64; 0]);
        linked.part(&p("c"));
        assert!(!linked.contains(&p("a")));
        assert_eq!(linked.ended(), [2], "the first record has names of another file");
        linked.part(&p("x"));
        assert_eq!(linked.ended(), [1]);
    }

    /// `mv cur old; mv new cur`: the remote may refuse the second one.
    #[test]
    fn a_name_that_is_to_get_another_file_may_still_have_its_own() {
        for again in [&[["new", "cur"]][..], &[["new", "cur"], ["new", "cur"]]] {
            let mut linked = linked(&[&[["cur", "old"]], again]);
            let [cur, new, old] = ["cur", "new", "old"].map(p);
            assert!(linked.is_beyond(&cur, &HashSet::from([&cur, &new])));
            linked.part(&new);
            assert!(linked.contains(&cur) && linked.contains(&old));
            assert!(!linked.is_beyond(&cur, &HashSet::from([&cur, &old])));
            assert_eq!(linked.ended(), [0_i64; 0]);
            linked.part(&cur);
            assert!(linked.is_empty());
            assert_eq!(linked.ended(), [1, 2]);
        }
    }

    #[test]
    fn names_below_a_path_are_found() {
        let linked = linked(&[&[["d.old/f", "d/f"], ["d0", "e"]]]);
        let within = |path: &str| linked.within(&p(path)).cloned().collect::<Vec<_>>();
        assert_eq!(within("d"), [p("d/f")]);
        assert_eq!(within("d/f"), [p("d/f")]);
        assert_eq!(within("d/f/g"), []);
        assert_eq!(within("").len(), 4);
        assert!(linked.is_any_within(&p("d.old")) && !linked.is_any_within(&p("f")));
    }
}
