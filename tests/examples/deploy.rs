//! The deploy script, with a server that is there and one that is not.

use super::kit::{self, good, word};
use crate::common::rsyncd::Rsyncd;
use crate::common::world::write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

#[test]
fn a_release_is_activated_on_all_servers_or_none() {
    let temp = TempDir::with_prefix("syncsup-deploy-").unwrap();
    let mut slaves = [Rsyncd::start(), Rsyncd::start()];
    let (copy, www) = (temp.path().join("copy"), temp.path().join("www"));
    fs::create_dir(&www).unwrap();
    let changes = [
        ("/data/www", &*word(&www)),
        ("192.0.2.11::www", &slaves[0].name()),
        ("192.0.2.12::www", &slaves[1].name()),
        ("TIMEOUT=5m", "TIMEOUT=${TIMEOUT-30s}"),
    ];
    kit::copy("deploy", &copy, &changes);
    let mut instance = kit::instance(&temp.path().join("instance"), &copy.join("syncsup.yaml"));
    instance.start(&[], &[&www]);
    let path = kit::path_with(&instance, &temp.path().join("bin"));
    let build = temp.path().join("build");
    let deploy = |text: &str, timeout: &str| {
        for page in ["index.html", "css/site.css"] {
            write(&build.join(page), text);
        }
        let mut command = Command::new(copy.join("deploy"));
        command.arg(&build).env("PATH", &path).env("TIMEOUT", timeout).output().unwrap()
    };
    let shown = |root: &Path| {
        let site = root.join("site/current");
        let page = fs::read_to_string(site.join("index.html")).unwrap();
        assert_eq!(fs::read_to_string(site.join("css/site.css")).unwrap(), page);
        page
    };

    good(deploy("release 1", "30s"));
    let roots = [www.clone(), slaves[0].path(), slaves[1].path()];
    assert!(roots.iter().all(|root| shown(root) == "release 1"));

    // Who looks all the time finds a whole page always.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let (mut visits, mut seen) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let page = fs::read_to_string(roots[1].join("site/current/index.html"));
                let page = page.expect("a page is there at every moment");
                if seen.last() != Some(&page) {
                    seen.push(page);
                }
                visits += 1;
            }
            assert!(visits > 0);
            seen
        });
        for release in 2..=7 {
            let output = deploy(&format!("release {release}"), "30s");
            if !output.status.success() {
                stop.store(true, Ordering::Relaxed);
            }
            good(output);
        }
        stop.store(true, Ordering::Relaxed);
        let seen = visitor.join().expect("no visitor was disappointed");
        let all: Vec<String> = (1..=7).map(|n| format!("release {n}")).collect();
        assert!(seen.iter().all(|page| all.contains(page)) && seen.is_sorted(), "{seen:?}");
    });
    assert!(roots.iter().all(|root| shown(root) == "release 7"));
    assert_eq!(fs::read_dir(www.join("site/releases")).unwrap().count(), 5);

    slaves[1].stop();
    let failed = deploy("release 8", "3s");
    assert_eq!(failed.status.code(), Some(1), "{}", kit::said(&failed));
    assert!(kit::said(&failed).contains(&slaves[1].name()), "{}", kit::said(&failed));
    assert!(roots[..2].iter().all(|root| shown(root) == "release 7"));
    assert_eq!(fs::read_dir(www.join("site/releases")).unwrap().count(), 5);

    slaves[1].start_again();
    good(deploy("release 9", "90s"));
    assert!(roots.iter().all(|root| shown(root) == "release 9"));
}
