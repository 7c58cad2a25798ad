//! What `syncsup sync` shows: one bar per remote on a terminal, otherwise a line whenever something changes.

use super::follow::{Follow, SyncOutcome};
use crate::commands::{print, progress, status::word, table};
use crate::language::say;
use crate::message::{ReconcileProgress, RemoteStatus};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// The length of a bar. The completed part is measured in files and bytes, as a share of this.
const LENGTH: u64 = 1_000;

/// One line for each remote.
pub struct Show {
    bars: Option<Vec<ProgressBar>>,
    last: Vec<String>,
    _all: MultiProgress,
}

impl Show {
    /// Nothing is shown yet.
    pub fn new(follows: &[Follow]) -> Self {
        let all = MultiProgress::new();
        let width = follows.iter().map(|f| table::width(&f.name)).max().unwrap_or(0);
        let bars = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let bars = bars.then(|| follows.iter().map(|f| bar(&all, &f.name, width)).collect());
        Self { bars, last: vec![String::new(); follows.len()], _all: all }
    }

    /// Shows the progress of the remote `n`.
    pub fn update(&mut self, n: usize, follow: &Follow, now: Option<&RemoteStatus>) {
        // Without a terminal, a line for each new rate would say nothing new.
        let pushes = if self.bars.is_some() { progress::with_rate } else { progress::of_reconcile };
        let text = line(follow, now, pushes);
        match &self.bars {
            Some(bars) => {
                let bar = &bars[n];
                if let Some(progress) = now.and_then(|r| r.status.reconcile.as_ref()) {
                    bar.set_position((progress.share() * LENGTH as f64) as u64);
                }
                if follow.verdict == SyncOutcome::InSync {
                    bar.set_position(LENGTH);
                }
                bar.set_message(text);
                if follow.verdict != SyncOutcome::Going {
                    bar.abandon();
                }
            }
            None if self.last[n] != text => {
                print(&format!("{}: {text}\n", follow.name));
                self.last[n] = text;
            }
            None => {}
        }
    }

    /// Leaves the last state on the terminal.
    pub fn finish(&self) {
        self.bars.iter().flatten().for_each(ProgressBar::abandon);
    }
}

fn bar(all: &MultiProgress, name: &str, width: usize) -> ProgressBar {
    // The bar stays hidden until it belongs to the others. Before that, every update would draw it separately, and
    // nothing would clear it.
    let bar = all.add(ProgressBar::with_draw_target(Some(LENGTH), ProgressDrawTarget::hidden()));
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:24}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(table::padded(name, width));
    bar
}

fn line(
    follow: &Follow,
    now: Option<&RemoteStatus>,
    pushes: fn(&ReconcileProgress) -> String,
) -> String {
    match (&follow.verdict, now) {
        (SyncOutcome::InSync, _) => say!("in sync"),
        (SyncOutcome::Failed(why), _) => {
            say!("FAILED: {}", crate::path::as_written(why.as_bytes()))
        }
        (SyncOutcome::Going, None) => say!("waits"),
        (SyncOutcome::Going, Some(remote)) => match &remote.status.reconcile {
            Some(p) if p.found > 0 => pushes(p),
            Some(_) => say!("reconciling"),
            None => word(remote.status.state).into(),
        },
    }
}
