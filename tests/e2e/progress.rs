//! How far a comparison is: bars on a terminal, lines elsewhere.

use crate::common::instance::Instance;
use crate::common::proxy::FAST;
use crate::common::pty::Terminal;
use crate::common::rsyncd::Options;
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World};
use regex::Regex;
use std::fs::{self, File};
use std::process::Command;

fn slow(remotes: usize) -> World {
    let daemon = Options { proxied: true, ..Options::default() };
    let settings = "first_copy: false\n";
    let w = Setup { remotes, daemon, settings, ..Setup::default() }.build();
    let mut content = vec![0; 400_000];
    for n in 0..5 {
        fastrand::fill(&mut content);
        w.write(&format!("d/file{n}"), &content);
    }
    w
}

fn foreground(w: &World) -> Command {
    let mut command = w.instance.prepare(&Instance::program(), &["-r", "-o"]);
    command.arg(w.instance.config());
    command
}

#[test]
fn r_shows_a_bar_for_each_remote_on_a_terminal() {
    let w = slow(2);
    w.remotes.iter().for_each(|r| r.proxy().rate(400_000));
    let mut terminal = Terminal::start(&mut foreground(&w));
    let says = |terminal: &Terminal, what: &str| {
        let said = poll(DEADLINE, || terminal.text().contains(what).then_some(()));
        assert!(said.is_some(), "never said {what:?}: {:?}", terminal.text());
    };
    says(&terminal, &format!("watching {}", w.master.display()));
    for remote in &w.remotes {
        let name = format!("{} {} [", w.master.display(), remote.name());
        says(&terminal, &name);
    }
    says(&terminal, " differences pushed, ");
    says(&terminal, " MB of 2.0 MB");
    w.remotes.iter().for_each(|r| r.proxy().rate(FAST));
    w.wait_identical();
    for remote in &w.remotes {
        says(&terminal, &format!("{}: in sync\r\n", remote.name()));
    }
    // The log stands whole between the bars.
    let text = terminal.text();
    assert!(text.lines().any(|l| l.contains("INFO reconciled, ")), "{text}");
    w.probe(0);
    let text = terminal.text();
    let after = text.rsplit_once(": in sync\r\n").unwrap().1;
    assert!(!after.contains('['), "no bar after the end: {after:?}");
    assert!(w.instance.command(&["stop"]).status.success());
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn r_prints_lines_without_a_terminal() {
    let w = slow(1);
    let out = w.outside.join("out");
    let mut command = foreground(&w);
    let mut child = command
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(w.outside.join("log")).unwrap())
        .spawn()
        .unwrap();
    w.wait_identical();
    let end = format!("{} {}: in sync\n", w.master.display(), w.remotes[0].name());
    wait_for("the last line", DEADLINE, || fs::read_to_string(&out).unwrap().contains(&end));
    let text = fs::read_to_string(&out).unwrap();
    assert!(!text.contains('\r') && !text.contains('\x1b'), "{text:?}");
    assert!(w.instance.command(&["stop"]).status.success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn verify_shows_a_bar_on_a_terminal() {
    let mut w = slow(1);
    (0..2_000).for_each(|n| w.write(&format!("many/{n}"), "x"));
    w.run(&["-r"]);
    w.wait_identical();
    w.wait_in_sync();
    fs::remove_file(w.there("many/7")).unwrap();
    // With its supervisor, and without.
    for running in [true, false] {
        if !running {
            w.instance.stop();
        }
        w.remotes[0].proxy().rate(10_000);
        let mut command = w.instance.prepare(&Instance::program(), &["verify", "--checksum", "-o"]);
        command.arg(w.instance.config());
        let mut terminal = Terminal::start(&mut command);
        let bar = poll(DEADLINE, || {
            let text = terminal.text();
            (text.contains(" of 2008 entries, ") && text.contains(" of 2.0 MB")).then_some(())
        });
        assert!(bar.is_some(), "{:?}", terminal.text());
        w.remotes[0].proxy().rate(FAST);
        assert_eq!(terminal.child.wait().unwrap().code(), Some(1));
        // What it has written may still be on its way here.
        let said = poll(DEADLINE, || {
            let text = terminal.text();
            (text.contains("  missing          many/7\r\n")
                && text.contains(" (2008 entries here)\r\n"))
            .then_some(())
        });
        assert!(said.is_some(), "{:?}", terminal.text());
    }
}

/// Every log line, and every other line outside the bars, stands by itself; no bar is left behind.
#[test]
fn log_lines_and_bars_do_not_mix() {
    let w = slow(3);
    w.remotes.iter().for_each(|r| r.proxy().rate(400_000));
    let mut terminal = Terminal::start(foreground(&w).arg("-v"));
    let watching = format!("watching {}", w.master.display());
    let bars = |lines: &[String]| lines.iter().filter(|l| l.contains(" [")).count();
    let seen = poll(DEADLINE, || (bars(&terminal.screen()) > 0).then_some(()));
    assert!(seen.is_some(), "no bars: {:?}", terminal.text());
    // Many lines are logged meanwhile, however many files one push takes.
    let log = Regex::new(r"^\d{4}-\d\d-\d\dT[0-9:.]+[+-]\d\d:\d\d [A-Z]{4} ").unwrap();
    let logged = |lines: &[String]| lines.iter().filter(|l| log.is_match(l)).count();
    let mut files = 0;
    wait_for("many log lines", DEADLINE, || {
        w.write(&format!("now/{files}"), "x");
        files += 1;
        files >= 40 && logged(&terminal.screen()) > 40
    });
    let passing = |terminal: &Terminal| terminal.text().contains(" MB of 2.0 MB");
    wait_for("progress", DEADLINE, || passing(&terminal));
    w.remotes.iter().for_each(|r| r.proxy().rate(FAST));
    w.wait_identical();
    let done = |lines: &[String]| lines.iter().filter(|l| l.ends_with(": in sync")).count() == 3;
    wait_for("the end", DEADLINE, || done(&terminal.screen()));
    assert!(w.instance.command(&["stop"]).status.success());
    assert!(terminal.child.wait().unwrap().success());
    let lines = terminal.screen();
    let inside = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]").unwrap();
    assert!(logged(&lines) > 40, "{lines:#?}");
    for line in &lines {
        assert!(inside.find(line).is_none_or(|m| m.start() == 0), "through a bar: {line}");
        let bar = ["[=", "[>", "differences pushed"].iter().any(|mark| line.contains(mark));
        assert!(!bar, "a bar is left: {line}\n{lines:#?}");
    }
    assert!(lines.contains(&watching), "{lines:#?}");
}

/// Its bars are drawn over and over, each in its own line.
#[test]
fn sync_leaves_one_line_for_each_remote() {
    let mut w = slow(2);
    w.run(&[]);
    w.remotes.iter().for_each(|r| r.proxy().rate(300_000));
    let mut command = w.instance.prepare(&Instance::program(), &["sync", "-o"]);
    let mut terminal = Terminal::start(command.arg(w.instance.config()));
    // Bytes count: of five files of one size the share moves before the first of them is there.
    let moved =
        Regex::new(r"\[=+> +\] 0 of \d+ differences pushed, [0-9.]+ [kM]B of 2\.0 MB").unwrap();
    let seen = poll(DEADLINE, || moved.is_match(&terminal.text()).then_some(()));
    assert!(seen.is_some(), "{:?}", terminal.screen());
    w.remotes.iter().for_each(|r| r.proxy().rate(FAST));
    assert!(terminal.child.wait().unwrap().success());
    let names: Vec<String> = w.remotes.iter().map(|r| r.name()).collect();
    let all_done = |lines: &[String]| {
        names
            .iter()
            .all(|n| lines.iter().any(|l| l.contains(n.as_str()) && l.ends_with("] in sync")))
    };
    wait_for("the last frame", DEADLINE, || all_done(&terminal.screen()));
    let lines = terminal.screen();
    for name in &names {
        let of: Vec<&String> = lines.iter().filter(|l| l.contains(name.as_str())).collect();
        assert_eq!(of.len(), 1, "{lines:#?}");
    }
}
