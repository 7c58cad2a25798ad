//! Headquarters, two regions, and the slaves of one of them.

use super::kit::{self, Daemon, PASSWORD, good, word};
use crate::common::rsyncd::free_port;
use crate::common::tree;
use crate::common::wait::{DEADLINE, poll};
use crate::common::world::write;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

#[test]
fn a_change_reaches_both_tiers_and_a_region_catches_up() {
    let temp = TempDir::with_prefix("syncsup-tiers-").unwrap();
    let (port, _reserved) = free_port();
    kit::secret(&temp.path().join("secrets"), "headquarters:hunter2\nregion:hunter2");
    kit::secret(&temp.path().join("password"), PASSWORD);
    // A machine's copy of everything; `user` may push to it.
    let machine = |name: &str, user: &str| {
        let dir = temp.path().join(name);
        let www = dir.join("www");
        fs::create_dir_all(&www).unwrap();
        let params = format!("port: {port}\n  params: -a");
        let changes = [
            ("/data/www", &*word(&www)),
            ("auth users = headquarters", &format!("auth users = {user}")),
            ("hosts allow = 192.0.2.10", "hosts allow = 127.0.0.1"),
            ("/etc/rsyncd.secrets", &word(temp.path().join("secrets"))),
            ("/etc/rsync.password", &word(temp.path().join("password"))),
            ("/run/rsyncd", &word(dir.join("rsyncd"))),
            ("/var/log/rsyncd.log", &word(dir.join("rsyncd.log"))),
            ("params: -a", &params),
            ("198.51.100.10", "127.0.0.10"),
            ("203.0.113.10", "127.0.0.20"),
            ("10.1.0.2::", "127.0.0.2::"),
            ("10.1.0.3::", "127.0.0.3::"),
        ];
        kit::copy("two-tiers", &dir, &changes);
        dir
    };
    let daemon = |dir: &Path, address: &str| Daemon::start(&dir.join("rsyncd.conf"), address, port);
    let top = machine("headquarters", "headquarters");
    let regions = [machine("region1", "headquarters"), machine("region2", "headquarters")];
    let slaves = [machine("slave1", "region"), machine("slave2", "region")];
    let _daemons = [
        daemon(&regions[0], "127.0.0.10"),
        daemon(&regions[1], "127.0.0.20"),
        daemon(&slaves[0], "127.0.0.2"),
        daemon(&slaves[1], "127.0.0.3"),
    ];
    let mut upper = kit::instance(&temp.path().join("upper"), &top.join("headquarters.yaml"));
    let mut lower = kit::instance(&temp.path().join("lower"), &regions[0].join("region.yaml"));
    let (root, region) = (top.join("www"), regions[0].join("www"));
    upper.start(&[], &[&root]);
    lower.start(&[], &[&region]);

    write(&root.join("a/b/page.html"), "one");
    write(&root.join("gone.html"), "gone");
    good(upper.command(&["wait", "--all"]));
    good(lower.command(&["wait", "--all"]));
    let everywhere = || {
        let all = regions.iter().chain(&slaves);
        all.map(|dir| dir.join("www")).all(|www| tree::identical(&root, &www))
    };
    assert!(everywhere(), "{}\n{}", upper.report(), lower.report());

    // The region's syncsup dies; its rsync daemon takes what comes; then it goes on.
    lower.kill9();
    fs::remove_file(root.join("gone.html")).unwrap();
    fs::rename(root.join("a"), root.join("z")).unwrap();
    write(&root.join("new.html"), "new");
    good(upper.command(&["wait", "--all"]));
    assert!(!slaves[0].join("www/new.html").exists());
    lower.start(&[], &[&region]);
    let caught_up = poll(DEADLINE, || everywhere().then_some(())).is_some();
    assert!(caught_up, "{}\n{}", upper.report(), lower.report());
}
