//! Assigns rsync's complaints to the names of a step. Pure.

use crate::path::RelPath;
use crate::rsync::complaint::Complaint;
use std::collections::{HashMap, HashSet};

/// The complaints of a run, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame {
    /// Names of the step, each with the message for it or for a path below it.
    pub failed: HashMap<RelPath, String>,
    /// Directories above these names that are not names of the step.
    pub above: HashMap<RelPath, String>,
    /// The first complaint that names no path, or a path outside the step. Any name of the step may be the cause.
    pub unassigned: Option<String>,
}

impl Blame {
    /// Assigns complaints to the `names` of a step.
    pub fn of(complaints: Vec<Complaint>, names: &HashSet<RelPath>) -> Blame {
        let mut out = Blame::default();
        let parents: HashSet<RelPath> = match complaints.is_empty() {
            true => HashSet::new(),
            false => names.iter().flat_map(above).collect(),
        };
        for complaint in complaints {
            let within = |path: &RelPath| {
                [path.clone()].into_iter().chain(above(path)).find(|p| names.contains(p))
            };
            let paths = &complaint.paths;
            let exact = paths.iter().find(|path| names.contains(*path)).cloned();
            if let Some(name) = exact.or_else(|| paths.iter().find_map(within)) {
                out.failed.insert(name, complaint.message);
            } else if let Some(path) = paths.iter().find(|path| parents.contains(*path)) {
                out.above.insert(path.clone(), complaint.message);
            } else {
                out.unassigned.get_or_insert(complaint.message);
            }
        }
        out
    }

    /// True if there was no complaint.
    pub fn is_empty(&self) -> bool {
        *self == Blame::default()
    }
}

/// The directories above a path, the nearest first, the root last.
fn above(path: &RelPath) -> Vec<RelPath> {
    std::iter::successors(path.parent(), RelPath::parent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_belongs_to_a_name_a_directory_above_or_no_path() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let names: HashSet<RelPath> = ["d/f", "gone", "x"].map(path).into();
        let complaint = |paths: &[&str], message: &str| Complaint {
            paths: paths.iter().map(|p| path(p)).collect(),
            message: message.into(),
        };
        let of = |complaints: Vec<Complaint>| Blame::of(complaints, &names);
        let blame = of(vec![
            complaint(&["d/f"], "1"),
            complaint(&["gone/deep/y"], "2"),
            complaint(&["d"], "3"),
            complaint(&["", "srv/x", "x"], "4"),
        ]);
        let text = |map: &HashMap<RelPath, String>| {
            let mut all: Vec<_> = map.iter().map(|(p, w)| format!("{p} {w}")).collect();
            all.sort();
            all
        };
        assert_eq!(text(&blame.failed), ["d/f 1", "gone 2", "x 4"]);
        assert_eq!((text(&blame.above), blame.unassigned), (vec!["d 3".to_owned()], None));
        assert_eq!(of(vec![complaint(&[], "who?")]).unassigned.as_deref(), Some("who?"));
        assert_eq!(of(vec![complaint(&["other"], "o")]).unassigned.as_deref(), Some("o"));
        assert!(of(vec![]).is_empty());
    }
}
