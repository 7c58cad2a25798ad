//! Four directories, five rsync daemons and an ssh server.

use super::kit::{self, Daemon, PASSWORD, good, word};
use crate::common::rsyncd::free_port;
use crate::common::sshd::Sshd;
use crate::common::world::write;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

#[test]
fn every_directory_reaches_its_slaves_and_no_others() {
    let temp = TempDir::with_prefix("syncsup-farm-").unwrap();
    let at = |name: &str| word(temp.path().join(name));
    let (port, _reserved) = free_port();
    let slave = |number: &str, module: &str| -> PathBuf {
        let dir = if module == "pictures" { "pictures".into() } else { format!("www/{module}") };
        temp.path().join("slaves").join(number).join(dir)
    };
    kit::secret(&temp.path().join("secrets"), "rsync_backup:hunter2\nrsync_blog:hunter2");
    kit::secret(&temp.path().join("password"), PASSWORD);
    let daemons = ["58", "59", "60", "61", "70"].map(|number| {
        let copy = temp.path().join("copies").join(number);
        let there = |file: &str| word(copy.join(file));
        let changes = [
            ("/data0", &*at(&format!("slaves/{number}"))),
            ("/run/rsyncd", &there("rsyncd")),
            ("/var/log/rsyncd.log", &there("log")),
            ("/etc/rsyncd.secrets", &at("secrets")),
            ("hosts allow = 192.168.1.50", "hosts allow = 127.0.0.1"),
        ];
        kit::copy("web-farm", &copy, &changes);
        for module in ["www", "bbs", "blog", "pictures"] {
            fs::create_dir_all(slave(number, module)).unwrap();
        }
        Daemon::start(&copy.join("rsyncd.conf"), &format!("127.0.0.{number}"), port)
    });

    let sshd = Sshd::start();
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    let over_ssh = format!(
        "{{host: 127.0.0.1, path: {:?}, user: {user}, ssh: {{port: {}, options: {}}}}}",
        sshd.path(),
        sshd.port,
        sshd.options("user")
    );
    let changes = [
        ("deploy@192.168.1.62:/srv/blog", &*over_ssh),
        ("params: -az", &format!("params: -az\n  port: {port}")),
        ("port: 874", &format!("port: {port}")),
        ("192.168.1.", "127.0.0."),
        ("/data0", &at("master")),
        ("/etc/rsync.password", &at("password")),
        ("/var/log/syncsup/", &at("")),
    ];
    kit::copy("web-farm", &temp.path().join("master-copy"), &changes);
    let master = |path: &str| temp.path().join("master").join(path);
    let watched = ["www/www", "www/bbs", "www/blog", "pictures"].map(master);
    watched.iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    write(&master("www/www/before.html"), "before");
    let mut instance = kit::instance(
        &temp.path().join("instance"),
        &temp.path().join("master-copy/web-farm.yaml"),
    );
    instance.start(&[], &watched.each_ref().map(|p| &**p));
    for name in ["index.html", "page.tmp", "cache/x", "data/cache/y"] {
        for dir in ["www/www", "www/bbs", "www/blog"] {
            write(&master(dir).join(name), format!("{dir}/{name}"));
        }
    }
    write(&master("pictures/a.png"), "a picture");
    good(instance.command(&["wait", "--all"]));

    let expected =
        [("58", "www bbs"), ("59", "www bbs"), ("60", "www blog"), ("61", "bbs"), ("70", "")];
    for (number, modules) in expected {
        for module in ["www", "bbs", "blog"] {
            let dir = slave(number, module);
            if !modules.contains(module) {
                assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "{}", dir.display());
                continue;
            }
            let text = fs::read_to_string(dir.join("index.html")).unwrap();
            assert_eq!(text, format!("www/{module}/index.html"));
            assert!(!dir.join("page.tmp").exists() && !dir.join("cache/x").exists());
            assert_eq!(dir.join("data/cache/y").exists(), module != "bbs", "{}", dir.display());
            assert_eq!(dir.join("before.html").exists(), module == "www");
        }
    }
    assert_eq!(fs::read_to_string(sshd.path().join("index.html")).unwrap(), "www/blog/index.html");
    assert!(slave("70", "pictures").join("a.png").exists());

    // Deletions, but not of pictures.
    fs::remove_file(master("www/bbs/index.html")).unwrap();
    fs::remove_file(master("pictures/a.png")).unwrap();
    good(instance.command(&["wait", "--all"]));
    for number in ["58", "59", "61"] {
        assert!(!slave(number, "bbs").join("index.html").exists());
    }
    assert!(slave("70", "pictures").join("a.png").exists());
    good(instance.command(&["status"]));
    drop((instance, daemons));
}
