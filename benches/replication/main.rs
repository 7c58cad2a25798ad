//! Measures what users feel, beside lsyncd and a bare rsync in the same run, and writes a Markdown page:
//!
//! ```text
//! make bench         a short form, a few minutes
//! make bench-full    five repetitions of everything
//! ```
//!
//! Every system has a real rsync daemon on loopback, and TCP_NODELAY at the sender. Lags are measured at the receiver, by inotify. CPU
//! time is that of the system, its rsyncs and the receivers. After each work, the trees are compared.

mod rig;
mod system;
mod work;

#[path = "../../tests/e2e/common/tree.rs"]
#[allow(dead_code)]
mod tree;

use rig::Sockets;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use system::System;
use work::{Measured, Work};

/// How much is measured.
struct Extent {
    repetitions: usize,
    works: Vec<Work>,
}

fn extent(full: bool) -> Extent {
    let (seconds, rates, tree): (u64, &[u32], usize) = match full {
        true => (20, &[50, 200, 500, 1_000], 100_000),
        false => (5, &[50, 200, 500], 20_000),
    };
    let mut works = vec![Work::Single { tree, changes: 20 }];
    let stream = |rate, remotes, sockets| Work::Stream { rate, seconds, remotes, sockets };
    works.extend(rates.iter().map(|&rate| stream(rate, 1, Sockets::AsTheyAre)));
    works.push(stream(200, 3, Sockets::AsTheyAre));
    works.extend([50, 200].map(|rate| stream(rate, 1, Sockets::NoDelay)));
    works.extend([1, 3].map(|remotes| Work::Burst { files: 10_000, remotes }));
    works.push(Work::Remove { files: 10_000 });
    works.push(Work::Appends { rate: 100, seconds });
    works.push(Work::Outage { seconds: if full { 60 } else { 20 } });
    Extent { repetitions: if full { 5 } else { 1 }, works }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let full = words.iter().any(|word| word == "--full");
    let only = words.iter().find(|word| !word.starts_with("--"));
    let page = std::env::var("BENCH_PAGE").unwrap_or_else(|_| "docs/benchmarks.md".to_owned());
    let mut extent = extent(full);
    if let Some(only) = only {
        extent.works.retain(|work| work.name().contains(only.as_str()));
    }
    let systems: Vec<System> = System::ALL.into_iter().filter(System::is_installed).collect();
    let mut rows = Vec::new();
    for work in &extent.works {
        let mut row = Vec::new();
        for system in &systems {
            let results: Result<Vec<Measured>, String> =
                (0..extent.repetitions).map(|_| work.run(*system)).collect();
            let result = results.map(Measured::median);
            eprintln!("{}, {}: {result:?}", work.name(), system.name());
            row.push((*system, result));
        }
        rows.push((work, row));
    }
    let lost = rows.iter().flat_map(|(_, row)| row).any(|(system, result)| {
        *system == System::Syncsup && !matches!(result, Ok(measured) if measured.lost == 0)
    });
    let text = text(&rows, extent.repetitions);
    if only.is_some() {
        println!("{text}");
    } else if let Err(e) = std::fs::write(&page, text) {
        eprintln!("{page}: {e}");
        return ExitCode::FAILURE;
    }
    if lost { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

type Row<'w> = (&'w Work, Vec<(System, Result<Measured, String>)>);

/// The page.
fn text(rows: &[Row<'_>], repetitions: usize) -> String {
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
         parallel: what the result costs without a watcher\n"
    );
    out += "| work | system | lag p50 | lag p95 | complete after | CPU | pushes | lost |\n";
    out += "|---|---|---|---|---|---|---|---|\n";
    for (work, row) in rows {
        for (system, result) in row {
            let cells = match result {
                Ok(measured) => measured.cells(),
                Err(why) => format!("{why} | | | | | "),
            };
            let _ = writeln!(out, "| {} | {} | {cells} |", work.name(), system.name());
        }
    }
    out += "\nThe same as ratios, syncsup to lsyncd and to `bulk`:\n\n";
    out += "| work | p50 to lsyncd | p95 to lsyncd | CPU to lsyncd | complete to bulk | CPU to bulk |\n|---|---|---|---|---|---|\n";
    for (work, row) in rows {
        let of = |wanted: System| {
            row.iter().find(|(s, _)| *s == wanted).and_then(|(_, result)| result.as_ref().ok())
        };
        let Some(ours) = of(System::Syncsup) else { continue };
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

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = first_line(Command::new("uname").arg("-sr"));
    format!("{cores} cores, {kernel}, files on tmpfs")
}

/// The first line that a command prints.
fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().trim().to_owned()
}
