//! `-r` in the foreground: shows the progress of the reconcile that it requests. On a terminal, it draws one bar per
//! remote below the log. Otherwise, it prints a line whenever something changes.

use crate::commands::{print, progress, status, table};
use crate::language::{counted, say, words as counts};
use crate::message::{LocalPathStatus, PusherState, RemoteStatus};
use crate::sys::log::CLEAR;
use crate::sys::{output, session};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

/// Without a terminal, progress alone is printed at this interval.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// The width of a bar on a wide terminal.
const WIDTH: usize = 24;

/// What is shown.
pub struct Bars {
    terminal: bool,
    /// A block of bars is on the terminal.
    drawn: bool,
    finished: bool,
    rows: BTreeMap<String, Bar>,
}

#[derive(Default)]
struct Bar {
    phase: String,
    text: String,
    share: Option<f64>,
    said: Duration,
}

impl Bars {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        Self { terminal, drawn: false, finished: false, rows: BTreeMap::new() }
    }

    /// Shows the progress of the remotes.
    pub fn update(&mut self, localpaths: &[LocalPathStatus], now: Duration) {
        if self.finished {
            return;
        }
        let remotes = localpaths.iter().flat_map(|l| l.remotes.iter().map(move |r| (l, r)));
        let mut all = true;
        for (localpath, remote) in remotes {
            all &= remote.is_compared();
            let name = format!("{} {}", localpath.watch, remote.name);
            let row = self.rows.entry(name.clone()).or_default();
            let (phase, text, share) = words(remote);
            let new = row.phase != phase;
            let moved = row.text != text && now >= row.said + SAY_EVERY;
            if !self.terminal && (new || moved) {
                print(&format!("{name}: {text}\n"));
                row.said = now;
            }
            (row.phase, row.text, row.share) = (phase, text, share);
        }
        self.finished = all;
        if self.terminal {
            match all {
                true => self.leave(),
                false => self.draw(),
            }
        }
    }

    /// Draws the block below the cursor, which stays on an empty line. A log line clears the block and is printed at
    /// the cursor. The next block is drawn below that line.
    fn draw(&mut self) {
        let (width, height) = session::terminal_size().unwrap_or((80, 24));
        let lines = lines(&self.rows, width, height);
        let mut out = String::from(CLEAR);
        for line in &lines {
            out.push('\n');
            out.push_str(line);
        }
        out.push_str(&format!("\r\x1b[{}A", lines.len()));
        show(&out);
        self.drawn = true;
    }

    /// Removes the block. Its last text stays.
    fn leave(&mut self) {
        self.clear();
        for (name, row) in &self.rows {
            print(&format!("{name}: {}\n", row.text));
        }
    }

    /// Makes room for lines that this process prints. The next block is drawn below them.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            show(CLEAR);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

fn show(text: &str) {
    output::draw(text);
}

/// What a remote does: in one word, as a sentence, and the share that is done.
fn words(remote: &RemoteStatus) -> (String, String, Option<f64>) {
    let s = &remote.status;
    let plain = |text: &str| (text.to_owned(), text.to_owned(), None);
    if remote.is_compared() {
        return (say!("in sync"), say!("in sync"), Some(1.0));
    }
    if matches!(s.state, PusherState::Backoff | PusherState::Held | PusherState::Down) {
        let why = s.reason.as_deref().map(|why| format!(": {}", status::one_line(why)));
        return plain(&format!("{}{}", status::word(s.state), why.unwrap_or_default()));
    }
    match &s.reconcile {
        Some(p) if p.found > 0 => (say!("pushes"), progress::with_rate(p), Some(p.share())),
        Some(_) if s.state == PusherState::Reconciling => plain(&say!("reconciling")),
        _ if s.reconciles_done > 0 && s.waiting + s.owed > 0 => {
            (say!("pushes"), counted(s.waiting + s.owed, counts::NAMES_TO_PUSH), None)
        }
        _ => plain(&say!("waits")),
    }
}

/// The block: one line per remote, limited to the available height.
fn lines(rows: &BTreeMap<String, Bar>, width: usize, height: usize) -> Vec<String> {
    let wide = rows.keys().map(|name| table::width(name)).max().unwrap_or(0);
    let bar = (width.saturating_sub(wide) / 4).clamp(8, WIDTH);
    let room = height.saturating_sub(3).max(1);
    let line = |(name, row): (&String, &Bar)| {
        let shown = progress::bar(row.share.unwrap_or(0.0), bar);
        let name = table::padded(name, wide);
        table::cut(&format!("{name} {shown} {}", row.text), width.saturating_sub(1))
    };
    let mut lines: Vec<String> = rows.iter().take(room).map(line).collect();
    if rows.len() > room {
        lines.push(say!("and {} more", rows.len() - room));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{PusherStatus, ReconcileProgress};

    fn remote(state: PusherState, reconcile: Option<(u64, u64)>, done: u64) -> RemoteStatus {
        let reconcile = reconcile.map(|(found, done)| ReconcileProgress {
            found,
            done,
            bytes: 1_000 * found,
            bytes_done: 1_000 * done,
            ..Default::default()
        });
        let status = PusherStatus { state, reconcile, reconciles_done: done, ..Default::default() };
        RemoteStatus { name: "r".into(), status, ..Default::default() }
    }

    #[test]
    fn each_phase_has_its_text() {
        let text = |state, reconcile, done| words(&remote(state, reconcile, done)).1;
        assert_eq!(text(PusherState::Reconciling, Some((0, 0)), 0), "reconciling");
        assert_eq!(
            text(PusherState::Reconciling, Some((4, 1)), 0),
            "1 of 4 differences pushed, 1.0 kB of 4.0 kB"
        );
        assert_eq!(text(PusherState::InSync, None, 1), "in sync");
        assert_eq!(text(PusherState::InSync, None, 0), "waits", "not compared yet");
        let mut down = remote(PusherState::Backoff, Some((0, 0)), 0);
        down.status.reason = Some("a\nb".into());
        assert_eq!(words(&down).1, "in trouble: a; b");
    }

    #[test]
    fn the_block_fits_on_the_terminal() {
        let row = |share| Bar { text: "reconciling".into(), share, ..Bar::default() };
        let rows: BTreeMap<String, Bar> =
            (0..9).map(|n| (format!("/d r{n}"), row((n == 0).then_some(0.5)))).collect();
        let block = lines(&rows, 30, 6);
        assert_eq!(block.len(), 4);
        assert_eq!(block[0], "/d r0 [====>   ] reconciling");
        assert_eq!(block[3], "and 6 more");
        assert!(lines(&rows, 200, 50)[1].ends_with("] reconciling"));
    }
}
