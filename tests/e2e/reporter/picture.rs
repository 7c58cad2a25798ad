//! The status page as a browser shows it.

use super::{get, world};
use crate::common::wait::{DEADLINE, wait_for};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The browser of this machine, if it has one.
fn browser() -> Option<&'static str> {
    let runs = |name: &&str| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|s| s.success())
    };
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(runs)
}

/// One picture each: light, dark, and as wide as a phone; kept in `SYNCSUP_TEST_KEEP` if that is set.
#[test]
fn the_page_renders_in_light_in_dark_and_on_a_phone() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no chromium to render the status page");
        return;
    };
    let (mut w, port, _reserved) = world("");
    w.write("a", "a");
    w.run(&[]);
    w.wait_identical();
    let calm = "everything is in sync";
    wait_for("a page that shows the remote", DEADLINE, || get(port, "/").body.contains(calm));
    let mut sizes = BTreeSet::new();
    for (name, words) in [
        ("light", &["--window-size=1200,600"][..]),
        ("dark", &["--window-size=1200,600", "--blink-settings=preferredColorScheme=0"]),
        ("phone", &["--window-size=500,900"]),
    ] {
        let picture = w.outside.join(format!("{name}.png"));
        let mut command = Command::new(browser);
        command
            .arg(format!("--user-data-dir={}", w.outside.join("profile").display()))
            .arg(format!("--screenshot={}", picture.display()))
            .args(words)
            .arg(format!("http://127.0.0.1:{port}/"));
        finish(command.stdout(Stdio::null()));
        let bytes = fs::read(&picture).unwrap_or_default();
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 8_000, "{name}: {}", bytes.len());
        sizes.insert(bytes.clone());
        if let Some(keep) = std::env::var_os("SYNCSUP_TEST_KEEP") {
            fs::write(std::path::Path::new(&keep).join(format!("{name}.png")), bytes).unwrap();
        }
    }
    assert_eq!(sizes.len(), 3, "each looks different");
    // The policy lets its script run, and lets it ask again.
    let file = w.outside.join("dom");
    let mut command = Command::new(browser);
    command
        .arg(format!("--user-data-dir={}", w.outside.join("profile").display()))
        .args(["--dump-dom", "--virtual-time-budget=12000"])
        .arg(format!("http://127.0.0.1:{port}/"));
    finish(command.stdout(fs::File::create(&file).unwrap()));
    let dom = fs::read_to_string(&file).unwrap();
    assert!(dom.contains("<div class=\"tools\" data-own=\"\">") && dom.contains(calm), "{dom}");
    // It has written here that it got an answer.
    assert!(dom.contains("<output id=\"live\" class=\"\"></output>"), "{dom}");
}

/// Runs a browser to its end.
fn finish(command: &mut Command) {
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the browser does not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
