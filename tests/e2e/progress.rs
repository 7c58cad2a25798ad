//! How far a comparison is: bars on a terminal, lines elsewhere.

use crate::common::instance::Instance;
use crate::common::proxy::FAST;
use crate::common::pty::Terminal;
use crate::common::rsyncd::Options;
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World};
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
fn r_in_the_foreground_shows_a_bar_for_each_remote_on_a_terminal() {
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
    says(&terminal, " differences done, ");
    says(&terminal, " MB of 2.0 MB");
    w.remotes.iter().for_each(|r| r.proxy().rate(FAST));
    w.wait_identical();
    for remote in &w.remotes {
        says(&terminal, &format!("{}: in sync\r\n", remote.name()));
    }
    // The log stands whole between the bars.
    let text = terminal.text();
    assert!(text.lines().any(|l| l.contains("INFO compared everything, ")), "{text}");
    w.probe(0);
    let text = terminal.text();
    let after = text.rsplit_once(": in sync\r\n").unwrap().1;
    assert!(!after.contains('['), "no bar after the end: {after:?}");
    assert!(w.instance.command(&["stop"]).status.success());
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn r_in_the_foreground_prints_lines_elsewhere() {
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
