//! The progress of a verification, on a terminal.

use super::pair::Pair;
use crate::commands::{progress, table};
use crate::language::{Language, counted, say, words};
use crate::message::{ReconcileRate, VerifyAt};
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Before that, a rate says little.
const RATE_AFTER: Duration = Duration::from_secs(2);

/// A bar for one remote. A thread counts what must be compared.
pub struct BusyLine {
    bar: Option<ProgressBar>,
    shown: Cell<bool>,
    checksum: bool,
    to_do: Arc<ToDo>,
}

/// The local entries to compare.
#[derive(Default)]
struct ToDo {
    entries: AtomicU64,
    bytes: AtomicU64,
    /// The count is complete.
    known: AtomicBool,
    /// The count is no longer needed.
    over: AtomicBool,
}

impl BusyLine {
    /// Nothing is shown yet.
    pub fn new(pair: &Pair, checksum: bool) -> Self {
        let to_do = Arc::new(ToDo::default());
        let bar = Self::shows().then(|| {
            let (top, counts) = (pair.below.below(pair.watch.as_path()), to_do.clone());
            std::thread::spawn(move || counts.count(top));
            let bar = ProgressBar::new(1_000);
            let style = ProgressStyle::with_template("{prefix} [{bar:24}] {msg}");
            if let Ok(style) = style {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(pair.remote.clone());
            bar.set_message("verifying");
            bar
        });
        Self { bar, shown: Cell::new(false), checksum, to_do }
    }

    /// True if there is a terminal for the bar.
    pub fn shows() -> bool {
        std::io::stderr().is_terminal()
    }

    /// Shows the bar.
    pub fn show(&self) {
        if let Some(bar) = &self.bar
            && !self.shown.replace(true)
        {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    /// Updates the progress.
    pub fn at(&self, at: VerifyAt) {
        let Some(bar) = &self.bar else { return };
        let known = self.to_do.known.load(Ordering::Acquire);
        let all = VerifyAt {
            entries: self.to_do.entries.load(Ordering::Relaxed),
            bytes: self.to_do.bytes.load(Ordering::Relaxed),
        };
        let all = known.then_some(all);
        let share = share(at, all, self.checksum);
        let rate = rate(at, share, self.checksum, bar.elapsed());
        let rate = rate.map(|rate| progress::of_rate(&rate, Language::current()));
        bar.set_position(share);
        bar.set_message(words(at, all, self.checksum) + &rate.unwrap_or_default());
        self.show();
    }

    /// Hides the bar, because something else is printed now.
    pub fn hide(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

impl Drop for BusyLine {
    fn drop(&mut self) {
        self.to_do.over.store(true, Ordering::Relaxed);
        self.hide();
    }
}

impl ToDo {
    /// Walks the tree. It does not follow symbolic links.
    fn count(&self, top: PathBuf) {
        let mut open = vec![top];
        self.entries.fetch_add(1, Ordering::Relaxed);
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if self.over.load(Ordering::Relaxed) {
                    return;
                }
                self.entries.fetch_add(1, Ordering::Relaxed);
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => open.push(entry.path()),
                    Ok(kind) if kind.is_file() => {
                        let bytes = entry.metadata().map_or(0, |m| m.len());
                        self.bytes.fetch_add(bytes, Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
        }
        self.known.store(true, Ordering::Release);
    }
}

/// The share that is done, in thousandths. If content is compared, the slave is still reading when the local end has
/// finished.
fn share(at: VerifyAt, all: Option<VerifyAt>, checksum: bool) -> u64 {
    let of = |done: u64, all: u64| done.min(all).saturating_mul(1_000) / all.max(1);
    match all {
        Some(all) if checksum && all.bytes > 0 => {
            (of(at.entries, all.entries) + of(at.bytes, all.bytes)) / 2
        }
        Some(all) => of(at.entries, all.entries),
        None => 0,
    }
}

/// How fast content is read, and how long the rest takes as far as that is known; `None` until `elapsed` is long enough.
fn rate(at: VerifyAt, share: u64, checksum: bool, elapsed: Duration) -> Option<ReconcileRate> {
    let ms = elapsed.as_millis() as u64;
    if elapsed < RATE_AFTER {
        return None;
    }
    let bytes_per_s = if checksum { at.bytes.saturating_mul(1_000) / ms } else { 0 };
    // In thousandths, like the milliseconds in a second.
    let left_s =
        (0 < share && share < 1_000).then(|| ms.saturating_mul(1_000 - share) / share / 1_000);
    Some(ReconcileRate { bytes_per_s, left_s })
}

/// `3 of 5 entries, 1.2 MB of 3.0 MB`. Without the totals while they are being counted.
fn words(at: VerifyAt, all: Option<VerifyAt>, checksum: bool) -> String {
    let Some(all) = all else {
        return counted(at.entries, words::ENTRIES_COMPARED);
    };
    let bytes = match checksum {
        true => Language::current().say(
            words::OF_BYTES,
            &[&table::bytes(at.bytes.min(all.bytes)), &table::bytes(all.bytes)],
        ),
        false => String::new(),
    };
    say!("{} of {} entries{}", at.entries.min(all.entries), all.entries, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_a_text_and_a_share() {
        let at = VerifyAt { entries: 3, bytes: 5_000 };
        let all = Some(VerifyAt { entries: 5, bytes: 4_000 });
        assert_eq!(words(at, None, true), "3 entries compared");
        assert_eq!(words(at, all, true), "3 of 5 entries, 4.0 kB of 4.0 kB");
        assert_eq!(words(at, all, false), "3 of 5 entries");
        assert_eq!((share(at, all, true), share(at, all, false)), (800, 600));
        assert_eq!(share(at, None, true), 0);
    }

    #[test]
    fn the_rest_takes_as_long_in_proportion() {
        let at = VerifyAt { entries: 3, bytes: 5_000_000 };
        let rate = |share, checksum, s| rate(at, share, checksum, Duration::from_secs(s));
        let of = |bytes_per_s, left_s| Some(ReconcileRate { bytes_per_s, left_s });
        assert_eq!(rate(200, true, 1), None);
        assert_eq!(rate(200, true, 10), of(500_000, Some(40)));
        assert_eq!(rate(0, true, 10), of(500_000, None), "the total is not known");
        assert_eq!(rate(1_000, false, 10), of(0, None));
    }

    #[test]
    fn entries_are_counted_as_rsync_lists_them() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/f"), "12345").unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        let to_do = ToDo::default();
        to_do.count(dir.path().to_owned());
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        assert_eq!((of(&to_do.entries), of(&to_do.bytes)), (4, 5));
        assert!(to_do.known.load(Ordering::Relaxed));
    }
}
