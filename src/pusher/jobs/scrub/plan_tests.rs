use super::*;
use crate::journal::VerifyRun;
use chrono::Utc;
use std::cell::Cell;
use std::collections::BTreeMap;

const S: fn(u64) -> Duration = Duration::from_secs;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn every(rate: Option<u64>) -> VerifySchedule {
    VerifySchedule { when: VerifyWhen::Every(3_600), rate, checksum: true }
}

fn cron(text: &str) -> VerifySchedule {
    VerifySchedule { when: VerifyWhen::Cron(text.into()), ..every(None) }
}

/// Files and their sizes. Their parents are the directories.
#[derive(Default)]
struct Files {
    sizes: BTreeMap<RelPath, u64>,
    reads: Cell<usize>,
}

impl Files {
    fn new(files: &[(&str, u64)]) -> Self {
        let sizes = files.iter().map(|(name, bytes)| (path(name), *bytes)).collect();
        Self { sizes, reads: Cell::default() }
    }
}

impl Tree for Files {
    fn directories(&self, dir: &RelPath) -> Vec<OsString> {
        let all = self.entries(dir, usize::MAX).into_iter();
        all.filter(|e| e.dir && e.name != "excluded").map(|e| e.name).collect()
    }

    fn entries(&self, dir: &RelPath, most: usize) -> Vec<Entry> {
        self.reads.set(self.reads.get() + 1);
        let mut entries: BTreeMap<OsString, Entry> = BTreeMap::new();
        for (file, bytes) in self.sizes.iter().filter(|(f, _)| f.is_within(dir) && *f != dir) {
            let mut above = file.clone();
            while above.parent().is_some_and(|p| p != *dir) {
                above = above.parent().unwrap();
            }
            let name = above.name().to_owned();
            let is_dir = above != *file;
            let bytes = if is_dir { 0 } else { *bytes };
            entries.insert(name.clone(), Entry { name, dir: is_dir, bytes });
        }
        entries.into_values().take(most).collect()
    }
}

/// A part in short: `a:` for the names in a, `b+c` for both with everything below.
fn word(part: &Part) -> String {
    match part {
        Part::Names(dir) => format!("{dir}:"),
        Part::Whole(dirs) => dirs.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"),
    }
}

fn run(files: &Files, after: Option<Compared>, bound: Bound) -> Vec<(String, Compared)> {
    let mut planner = Planner::new(after.as_ref(), bound);
    let mut parts = Vec::new();
    for _ in 0..10_000 {
        match planner.step(files) {
            Step::More => {}
            Step::Part(part) => parts.push((word(&part), part.end())),
            Step::End => return parts,
        }
    }
    panic!("it never ends: {parts:?}");
}

fn words(parts: &[(String, Compared)]) -> Vec<&str> {
    parts.iter().map(|(word, _)| word.as_str()).collect()
}

fn tree() -> Files {
    Files::new(&[
        ("file", 900_000),
        ("a/x", 10),
        ("b/x", 10),
        ("c/big/one", 300_000),
        ("c/big/two", 300_000),
        ("c/more", 300_000),
        ("c/small/x", 10),
        ("d/x", 10),
        ("e/x", 400_000),
        ("f/x", 200_000),
    ])
}

#[test]
fn every_directory_is_in_one_part_and_large_ones_are_divided() {
    // A part of 500,000 bytes.
    let bound = Bound::new(&every(Some(100_000)), 0);
    let parts = run(&tree(), None, bound);
    let wanted = [":", "a+b", "c:", "c/big:", "c/small", "d+e", "f"];
    assert_eq!(words(&parts)[1..], wanted[1..]);
    assert_eq!(parts[0].1, Compared::Names(RelPath::root()));
    // Without a rate everything fits into one part, except the names in the root, which are always a part.
    let parts = run(&tree(), None, Bound::new(&every(None), 0));
    assert_eq!(words(&parts)[1..], ["a+b+c+d+e+f"]);
    // After it gave way, the parts are smaller.
    let parts = run(&tree(), None, Bound::new(&every(None), 12));
    assert_eq!(words(&parts)[1..], ["a+b", "c+d", "e+f"]);
    // Only names count if content is not compared.
    let metadata = VerifySchedule { checksum: false, ..every(Some(100_000)) };
    let parts = run(&tree(), None, Bound::new(&metadata, 0));
    assert_eq!(words(&parts)[1..], ["a+b+c+d+e+f"]);
    assert_eq!(words(&run(&Files::default(), None, bound)).len(), 1, "an empty root");
}

#[test]
fn a_run_can_continue_after_any_part() {
    let (files, bound) = (tree(), Bound::new(&every(Some(100_000)), 0));
    let all = run(&files, None, bound);
    for (n, (_, end)) in all.iter().enumerate() {
        let rest = run(&files, Some(end.clone()), bound);
        assert_eq!(words(&rest), words(&all[n + 1..]), "after {end:?}");
    }
    // Meanwhile it or its parent is gone, or it has become a file.
    let rest = run(&files, Some(Compared::Names(path("c/gone"))), bound);
    assert_eq!(words(&rest), ["c/small", "d+e", "f"]);
    let rest = run(&files, Some(Compared::Whole(path("cc/x/y"))), bound);
    assert_eq!(words(&rest), ["d+e", "f"]);
    let rest = run(&files, Some(Compared::Names(path("e/x"))), bound);
    assert_eq!(words(&rest), ["f"]);
    let rest = run(&files, Some(Compared::Whole(path("z"))), bound);
    assert!(rest.is_empty());
}

#[test]
fn an_excluded_directory_is_no_part_but_counts_if_rsync_reads_it() {
    let files = Files::new(&[("a/excluded/x", 600_000), ("a/b/x", 10), ("excluded/x", 10)]);
    let parts = run(&files, None, Bound::new(&every(Some(100_000)), 0));
    assert_eq!(words(&parts)[1..], ["a:", "a/b"]);
}

#[test]
fn neighbours_share_a_part_up_to_its_bounds_and_are_read_once() {
    let names: Vec<String> = (0..2_500).map(|n| format!("d{n:05}/x")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|n| (n.as_str(), 1)).collect();
    let files = Files::new(&files);
    let mut planner = Planner::new(None, Bound::new(&every(None), 0));
    let mut sizes = Vec::new();
    loop {
        match planner.step(&files) {
            Step::More => {}
            Step::Part(part) => sizes.push(part.directories().len()),
            Step::End => break,
        }
    }
    assert_eq!(sizes, [1, 1_000, 1_000, 500]);
    assert_eq!(files.reads.get(), 2_501);
}

#[test]
fn a_part_holds_only_paths_within_its_directories() {
    let part = Part::Whole(["a", "b-", "c"].map(path).to_vec());
    for yes in ["a", "a/x/y", "b-/x", "c/d"] {
        assert!(part.holds(&path(yes)), "{yes}");
    }
    for no in ["", "a-", "b", "b/x", "d", "0"] {
        assert!(!part.holds(&RelPath::new(no).unwrap_or_default()), "{no}");
    }
    assert!(Part::Names(path("a")).holds(&path("a/extra/below")));
    assert!(!Part::Names(path("a")).holds(&path("b")));
}

#[test]
fn the_rate_and_half_of_the_time_limit_the_next_part() {
    let cost = Cost { names: 0, bytes: 1_000_000 };
    let by_rate = every(Some(100_000));
    assert_eq!(next_part(&by_rate, cost, S(100), S(102)), S(110));
    // A slow disk: nothing is read half of the time.
    assert_eq!(next_part(&by_rate, cost, S(100), S(108)), S(116));
    assert_eq!(next_part(&every(None), cost, S(100), S(103)), S(106));
    let metadata = VerifySchedule { checksum: false, ..by_rate };
    let names = Cost { names: 1_000, bytes: 1 << 40 };
    assert_eq!(next_part(&metadata, names, S(100), S(100)), S(100) + Duration::from_millis(10_240));
    assert_eq!((retry(1), retry(2), retry(40)), (S(10), S(20), S(600)));
}

#[test]
fn a_run_begins_a_period_after_the_last_one_began() {
    let schedule = every(None);
    let mut state = first(&schedule, "r", 1_000_000);
    assert!((1_000_000..1_300_000).contains(&state.since_ms), "{state:?}");
    let begin = due(&schedule, &state, "r", &Utc).unwrap();
    assert_eq!(begin, state.since_ms + 3_600_000);
    state.run = Some(VerifyRun { began_ms: begin, repaired: 3, ..VerifyRun::default() });
    assert!(!ended(&schedule, &mut state, "r", begin + 60_000, &Utc));
    assert_eq!(due(&schedule, &state, "r", &Utc), Some(begin + 3_600_000));
    let last = state.last.clone().unwrap();
    assert_eq!((last.repaired, last.ended_ms), (3, Some(begin + 60_000)));
    // Longer than the period: the next one begins immediately.
    state.run = Some(VerifyRun { began_ms: begin, ..VerifyRun::default() });
    assert!(ended(&schedule, &mut state, "r", begin + 4_000_000, &Utc));
    assert!(due(&schedule, &state, "r", &Utc).unwrap() < begin + 4_000_000);
    // The clock was set back by a day.
    resume(&schedule, &mut state, "r", begin - 86_400_000, &Utc);
    assert_eq!(due(&schedule, &state, "r", &Utc), Some(begin - 86_400_000 + 3_600_000));
}

#[test]
fn a_missed_run_by_cron_waits_for_the_next_time() {
    let schedule = cron("0 2 * * *");
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp_millis();
    let mut state = first(&schedule, "r", at("2026-11-22T01:00:00Z"));
    let night = due(&schedule, &state, "r", &Utc).unwrap();
    assert!((at("2026-11-22T02:00:00Z")..at("2026-11-22T02:05:00Z")).contains(&night));
    // After a restart soon after the time the run begins; after one at noon it waits for the next night.
    resume(&schedule, &mut state, "r", at("2026-11-22T02:30:00Z"), &Utc);
    assert_eq!(due(&schedule, &state, "r", &Utc), Some(night));
    let mut late = state.clone();
    resume(&schedule, &mut late, "r", at("2026-11-22T12:00:00Z"), &Utc);
    assert_eq!(due(&schedule, &late, "r", &Utc), Some(night + 86_400_000));
    // A run that had begun continues at any time.
    state.run = Some(VerifyRun { began_ms: night, ..VerifyRun::default() });
    resume(&schedule, &mut state, "r", at("2026-11-22T12:00:00Z"), &Utc);
    assert!(state.run.is_some());
    // It lasted through the next night, whose run is skipped.
    assert!(ended(&schedule, &mut state, "r", at("2026-11-23T09:00:00Z"), &Utc));
    assert_eq!(due(&schedule, &state, "r", &Utc), Some(night + 2 * 86_400_000));
}
