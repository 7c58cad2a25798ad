//! Measures what users feel, beside lsyncd and a bare rsync in the same run, and writes a Markdown page:
//!
//! ```text
//! make bench         a short form, less than ten minutes
//! make bench-full    five repetitions of everything, in a long form
//! ```
//!
//! Every system has a real rsync daemon on loopback, and TCP_NODELAY at the sender. Lags are measured at the receiver, by inotify. CPU
//! time is that of the system, its rsyncs and the receivers. After each work, the trees are compared.

mod arrivals;
mod extent;
mod page;
mod plot;
mod process;
mod rig;
mod system;
mod work;

#[path = "../../tests/e2e/common/proxy.rs"]
#[allow(dead_code)]
mod proxy;
#[path = "../../tests/e2e/common/tree.rs"]
#[allow(dead_code)]
mod tree;

use extent::Extent;
use page::Row;
use plot::Series;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;
use system::System;
use work::Measured;

/// The page, unless BENCH_PAGE names another one. With part of a name, it is only printed, unless BENCH_PAGE is set.
const PAGE: &str = "docs/benchmarks.md";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let full = words.iter().any(|word| word == "--full");
    let only = words.iter().find(|word| !word.starts_with("--"));
    let path = std::env::var("BENCH_PAGE").ok();
    let mut extent = if full { Extent::full() } else { Extent::short() };
    if let Some(only) = only {
        extent.works.retain(|work| work.name().contains(only.as_str()));
    }
    let systems: Vec<System> = System::ALL.into_iter().filter(System::is_installed).collect();
    let mut rows = Vec::new();
    for work in &extent.works {
        let mut row = Vec::new();
        for system in systems.iter().filter(|system| work.suits(**system)) {
            let began = Instant::now();
            let results: Result<Vec<Measured>, String> =
                (0..extent.repetitions).map(|_| work.run(*system)).collect();
            let result = results.map(Measured::median);
            let cells = result.as_ref().map_or_else(String::clone, Measured::cells);
            let seconds = began.elapsed().as_secs();
            eprintln!("{}, {}: {cells} (took {seconds} s)", work.name(), system.name());
            row.push((*system, result));
        }
        rows.push((work, row));
    }
    let lost = rows.iter().flat_map(|(_, row)| row).any(|(system, result)| {
        *system == System::Syncsup && !matches!(result, Ok(measured) if measured.lost == 0)
    });
    let text = page::text(&rows, extent.repetitions);
    if only.is_some() && path.is_none() {
        println!("{text}");
    } else if let Err(why) = write(path.as_deref().unwrap_or(PAGE), &text, &rows) {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    if lost { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Writes the page, and the plots beside it.
fn write(page: &str, text: &str, rows: &[Row<'_>]) -> Result<(), String> {
    let write = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    write(Path::new(page), text)?;
    for (plot, results) in page::plots(rows) {
        let series: Vec<Series<'_>> = results
            .iter()
            .filter_map(|(system, result)| Some((system, result.as_ref().ok()?)))
            .filter(|(_, measured)| !measured.lags.is_empty())
            .map(|(system, measured)| Series { name: system.name(), lags: &measured.lags })
            .collect();
        write(&Path::new(page).with_file_name(&plot.file), &plot::svg(&plot.title, &series)?)?;
    }
    Ok(())
}

/// The first line that a command prints.
fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().trim().to_owned()
}
