//! What is measured, and how it is shown.

use std::time::Instant;

/// One change at one slave.
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    /// When it was written, in seconds after the beginning.
    pub at_s: f64,
    /// How long it took to arrive, in seconds.
    pub lag_s: f64,
}

impl Lag {
    /// Of a change that was written and has arrived at these times.
    pub fn between(began: Instant, written: Instant, arrived: Instant) -> Lag {
        let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
        Lag { at_s: seconds(began, written), lag_s: seconds(written, arrived) }
    }
}

/// What a system needs when nothing changes.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    pub processes: usize,
    /// Of one core.
    pub cpu_share: f64,
    /// The memory that only one process has.
    pub private_mb: f64,
}

/// What is measured. `None` means that the work has no such figure.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub p50_s: Option<f64>,
    pub p95_s: Option<f64>,
    pub p99_s: Option<f64>,
    /// The p50 of the quarter of the changes that were written first.
    pub first_s: Option<f64>,
    /// The p50 of the quarter of the changes that were written last.
    pub last_s: Option<f64>,
    /// In the order of the writes.
    pub lags: Vec<Lag>,
    /// From the end of the work to identical trees.
    pub complete_s: Option<f64>,
    pub cpu_s: f64,
    /// What went over the network, in both directions, in MB. Other programs must not use loopback.
    pub sent_mb: f64,
    /// Arrivals of the appended file.
    pub pushes: Option<usize>,
    pub idle: Option<Idle>,
    /// Names that differ at the end.
    pub lost: usize,
}

impl Measured {
    /// The median of each figure.
    pub fn median(all: Vec<Measured>) -> Measured {
        let middle = |of: fn(&Measured) -> Option<f64>| {
            let mut values: Vec<f64> = all.iter().filter_map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Measured {
            p50_s: middle(|m| m.p50_s),
            p95_s: middle(|m| m.p95_s),
            p99_s: middle(|m| m.p99_s),
            first_s: middle(|m| m.first_s),
            last_s: middle(|m| m.last_s),
            // Those of one repetition.
            lags: all.first().map(|m| m.lags.clone()).unwrap_or_default(),
            complete_s: middle(|m| m.complete_s),
            cpu_s: middle(|m| Some(m.cpu_s)).unwrap_or_default(),
            sent_mb: middle(|m| Some(m.sent_mb)).unwrap_or_default(),
            pushes: middle(|m| m.pushes.map(|n| n as f64)).map(|n| n as usize),
            idle: all.iter().find_map(|m| m.idle),
            lost: all.iter().map(|m| m.lost).max().unwrap_or(0),
        }
    }

    /// The cells of a row.
    pub fn cells(&self) -> String {
        let s = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.2} s"));
        let pushes = self.pushes.map_or("-".to_owned(), |n| n.to_string());
        let (p50, p95, complete) = (ms(self.p50_s), ms(self.p95_s), s(self.complete_s));
        let (cpu_s, sent_mb, lost) = (self.cpu_s, self.sent_mb, self.lost);
        format!("{p50} | {p95} | {complete} | {cpu_s:.2} s | {sent_mb:.1} MB | {pushes} | {lost}")
    }

    /// The cells of a row of streams.
    pub fn stream_cells(&self) -> String {
        let cells = [self.p50_s, self.p95_s, self.p99_s, self.first_s, self.last_s].map(ms);
        cells.join(" | ")
    }

    /// What lags say that are in the order of the writes.
    pub fn lags(&mut self, lags: Vec<Lag>) {
        let quarter = lags.len().div_ceil(4);
        (self.p50_s, self.p95_s) = (at(&lags, 0.5), at(&lags, 0.95));
        self.p99_s = at(&lags, 0.99);
        self.first_s = at(&lags[..quarter], 0.5);
        self.last_s = at(&lags[lags.len() - quarter..], 0.5);
        self.lags = lags;
    }
}

/// The lag that this share of the changes is below.
fn at(lags: &[Lag], share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = lags.iter().map(|lag| lag.lag_s).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * share) as usize).copied()
}

fn ms(s: Option<f64>) -> String {
    s.map_or("-".to_owned(), |s| format!("{:.1} ms", s * 1e3))
}
