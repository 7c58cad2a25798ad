//! The Markdown page.

use crate::first_line;
use crate::system::System;
use crate::work::{Measured, Stream, Work};
use std::fmt::Write as _;
use std::process::Command;

/// What a work has measured of each system.
pub type Results = Vec<(System, Result<Measured, String>)>;

/// A work, and its results.
pub type Row<'w> = (&'w Work, Results);

/// All of it.
pub fn text(rows: &[Row<'_>], repetitions: usize) -> String {
    let mut out = String::from(
        "# Benchmarks\n\nWritten by `make bench` or `make bench-full`. Everything runs on one machine, over loopback, so that \
         the figures compare systems and do not predict a network.\n\n",
    );
    let _ = writeln!(out, "- {}", machine());
    for system in System::ALL.into_iter().filter(System::is_installed) {
        let _ = writeln!(out, "- {}: {}", system.name(), system.version());
    }
    let _ = writeln!(
        out,
        "- medians of {repetitions}; lags are from close() in the writer to the name at the receiver; CPU is that of the \
         system, its rsyncs and the receivers\n- `bulk` is one bare `rsync -a --delete` per remote after the work, in \
         parallel: what the result costs without a watcher\n- where a remote is back, the lag is that of the first file; \
         where a system starts, it is the time until all directories are watched\n"
    );
    out += "| work | system | lag p50 | lag p95 | complete after | CPU | sent | pushes | lost |\n";
    out += "|---|---|---|---|---|---|---|---|---|\n";
    for (work, row) in rows {
        for (system, result) in row {
            let cells = match result {
                Ok(measured) => measured.cells(),
                Err(why) => format!("{why} | | | | | | "),
            };
            let _ = writeln!(out, "| {} | {} | {cells} |", work.name(), system.name());
        }
    }
    out += &streams(rows);
    for (plot, _) in plots(rows) {
        let _ = writeln!(out, "\n![{}]({})", plot.title, plot.file);
    }
    out += &idle(rows);
    out += "\nThe same as ratios, syncsup to lsyncd and to `bulk`:\n\n";
    out += "| work | p50 to lsyncd | p95 to lsyncd | CPU to lsyncd | complete to bulk | CPU to bulk |\n|---|---|---|---|---|---|\n";
    for (work, row) in rows {
        let of = |wanted: System| {
            row.iter().find(|(s, _)| *s == wanted).and_then(|(_, result)| result.as_ref().ok())
        };
        let Some(ours) = of(System::Syncsup).filter(|_| row.len() > 1) else { continue };
        let ratio = |rival: Option<&Measured>, what: fn(&Measured) -> Option<f64>| {
            let ratio = rival.and_then(|rival| Some(what(ours)? / what(rival)?));
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
        };
        let (lsyncd, bulk) = (of(System::Lsyncd), of(System::Bulk));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            work.name(),
            ratio(lsyncd, |m| m.p50_s),
            ratio(lsyncd, |m| m.p95_s),
            ratio(lsyncd, |m| Some(m.cpu_s)),
            ratio(bulk, |m| m.complete_s),
            ratio(bulk, |m| Some(m.cpu_s)),
        );
    }
    out
}

/// More about the lags of streams.
fn streams(rows: &[Row<'_>]) -> String {
    let mut table = Table::new(
        "The lags of streams; the quarters are those of the changes in the order of their writes, and a lag that grows from \
         the first to the last means that the system does not keep up",
        &["work", "system", "p50", "p95", "p99", "p50, first quarter", "p50, last quarter"],
    );
    let streams = rows.iter().filter(|(work, _)| matches!(work, Work::Stream(_)));
    for (work, system, measured) in streams.flat_map(measured) {
        if measured.p50_s.is_some() {
            table.row(work, system, &measured.stream_cells());
        }
    }
    table.text()
}

/// A file beside the page.
pub struct Plot {
    pub file: String,
    pub title: String,
}

/// The plots of the page, with what they show.
pub fn plots<'r>(rows: &'r [Row<'_>]) -> Vec<(Plot, &'r Results)> {
    let plot = |(work, results): &'r Row<'_>| {
        let Work::Stream(stream) = work else { return None };
        let is_plotted =
            [200, 1_000].map(|rate| Stream::plain(rate, stream.seconds)).contains(stream);
        let file = format!("lag-{}.svg", stream.rate);
        is_plotted.then(|| (Plot { file, title: format!("lag, {}", work.name()) }, results))
    };
    rows.iter().filter_map(plot).collect()
}

/// What a system needs when nothing changes.
fn idle(rows: &[Row<'_>]) -> String {
    let header = ["work", "system", "processes", "CPU, of one core", "private memory"];
    let mut table = Table::new("Without changes", &header);
    for (work, system, measured) in rows.iter().flat_map(measured) {
        if let Some(idle) = measured.idle {
            let (processes, share, mb) = (idle.processes, idle.cpu_share * 100.0, idle.private_mb);
            table.row(work, system, &format!("{processes} | {share:.2}% | {mb:.0} MB"));
        }
    }
    table.text()
}

/// The results of a work that are figures.
fn measured<'r>(row: &'r Row<'_>) -> impl Iterator<Item = (&'r Work, System, &'r Measured)> {
    let (work, results) = row;
    results.iter().filter_map(|(system, result)| Some((*work, *system, result.as_ref().ok()?)))
}

/// A table that is left out without rows.
struct Table {
    header: String,
    rows: String,
}

impl Table {
    fn new(title: &str, columns: &[&str]) -> Table {
        let (names, lines) = (columns.join(" | "), "---|".repeat(columns.len()));
        Table { header: format!("\n{title}:\n\n| {names} |\n|{lines}\n"), rows: String::new() }
    }

    fn row(&mut self, work: &Work, system: System, cells: &str) {
        let _ = writeln!(self.rows, "| {} | {} | {cells} |", work.name(), system.name());
    }

    fn text(self) -> String {
        if self.rows.is_empty() { self.rows } else { self.header + &self.rows }
    }
}

/// The machine that has measured.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = first_line(Command::new("uname").arg("-sr"));
    format!("{cores} cores, {kernel}, files on tmpfs")
}
