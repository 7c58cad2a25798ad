//! What is logged, in which form and where.

use crate::common::instance::Instance;
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;

fn log(w: &World) -> String {
    fs::read_to_string(w.instance.log()).unwrap_or_default()
}

/// Takes the root away, so that something is an error.
fn take_root_away(w: &World) {
    fs::rename(&w.master, w.outside.join("away")).unwrap();
    wait_for("the hold", DEADLINE, || w.state() == "held");
}

#[test]
fn every_line_of_a_json_log_is_an_object() {
    let mut w = Setup { remotes: 2, ..Setup::default() }.build();
    fs::write(w.at("a\nb \u{1b}[1m"), "x").unwrap();
    w.run(&["--log-format", "json", "-v", "-r"]);
    w.wait_identical();
    take_root_away(&w);
    let text = log(&w);
    let mut said = Vec::new();
    for line in text.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for key in ["time", "level", "message"] {
            assert!(object[key].is_string(), "{key}: {line}");
        }
        assert!(line.starts_with("{\"time\":"), "{line}");
        said.push(object);
    }
    let some = |what: &dyn Fn(&Value) -> bool| said.iter().any(what);
    assert!(some(&|o| o["level"] == "info" && o["message"] == "starting"), "{text}");
    // Every process writes like that, and says what it is about.
    let (watch, name) = (w.master.display().to_string(), w.remotes[1].name());
    assert!(some(&|o| o["message"] == "watching" && o["localpath"] == watch.as_str()), "{text}");
    for process in ["child", "role"] {
        let is_its = |o: &Value| o[process] == "pusher" && o["remote"] == name.as_str();
        assert!(some(&is_its), "{process} {name}: {text}");
    }
    assert!(some(&|o| o["level"] == "error"), "{text}");
    w.instance.stop();
}

/// The journal is a stream whose device and inode systemd puts into a variable.
#[test]
fn the_journal_gets_priorities_and_no_second_time() {
    let mut w = Setup::default().build();
    let log_file = OpenOptions::new().create(true).append(true).open(w.instance.log()).unwrap();
    let stat = log_file.metadata().unwrap();
    let stream = format!("{}:{}", stat.dev(), stat.ino());
    w.instance.environment.push(("JOURNAL_STREAM".into(), stream.into()));
    w.run(&["-r"]);
    w.write("file", "x");
    w.wait_identical();
    take_root_away(&w);
    let text = log(&w);
    let level = |line: &str| match line.get(..3) {
        Some(number @ ("<2>" | "<3>" | "<4>" | "<6>" | "<7>")) => number.as_bytes()[1],
        _ => panic!("no priority: {line}"),
    };
    let errors: Vec<&str> = text.lines().filter(|line| level(line) <= b'3').collect();
    assert!(!errors.is_empty() && errors.iter().all(|line| line.starts_with("<3>ERRO ")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<6>INFO watching, ")), "{text}");
    w.instance.stop();
}

#[test]
fn a_variable_about_another_stream_changes_nothing() {
    let mut w = Setup::default().build();
    w.instance.environment.push(("JOURNAL_STREAM".into(), "8:1234".into()));
    w.run(&[]);
    let text = log(&w);
    assert!(text.lines().all(|line| line.starts_with("20")), "{text}");
    w.instance.stop();
}

#[test]
fn the_level_holds_for_every_process() {
    let mut w = Setup { settings: "log: {level: warning}\n", ..Setup::default() }.build();
    w.run(&["-r"]);
    w.write("file", "x");
    w.wait_identical();
    take_root_away(&w);
    let text = log(&w);
    assert!(text.contains(" ERRO held"), "{text}");
    assert!(!text.contains(" INFO ") && !text.contains(" DEBG "), "{text}");
    w.instance.stop();
}

#[test]
fn an_instance_in_the_foreground_can_log_to_the_file_of_a_daemon() {
    let mut w = Setup { settings: "log: {target: file}\n", ..Setup::default() }.build();
    w.run(&[]);
    let file = w.instance.state_dir().join("syncsup.log");
    wait_for("the log file", DEADLINE, || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains(" INFO watching"))
    });
    assert!(!log(&w).contains("watching"), "{}", log(&w));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    w.instance.stop();
}

#[test]
fn a_daemon_can_keep_standard_error() {
    let mut w =
        Setup { settings: "log: {target: stderr, format: json}\n", ..Setup::default() }.build();
    let path = w.outside.join("stderr");
    let mut command = w.instance.prepare(&Instance::program(), &["-d", "-o"]);
    command.arg(w.instance.config()).stderr(File::create(&path).unwrap()).stdout(Stdio::null());
    assert!(command.status().unwrap().success());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().any(|line| line.contains("\"message\":\"watching\"")), "{text}");
    assert!(!w.instance.state_dir().join("syncsup.log").exists());
    w.instance.stop();
}

#[test]
fn the_system_log_gets_each_line_with_its_priority() {
    with_private_mounts(|| {
        let mut w = Setup { settings: "log: {target: syslog}\n", ..Setup::default() }.build();
        // A /dev with a log of its own.
        let dev = w.outside.join("dev");
        fs::create_dir(&dev).unwrap();
        let tmpfs = Mounted::tmpfs(&dev);
        let nodes = ["null", "zero", "full", "random", "urandom", "shm"];
        let mut bound = Vec::new();
        for node in nodes.map(Path::new) {
            let (from, at) = (Path::new("/dev").join(node), dev.join(node));
            match from.is_dir() {
                true => fs::create_dir(&at).unwrap(),
                false => drop(File::create(&at).unwrap()),
            }
            bound.push(Mounted::bind(&from, &at));
        }
        let socket = UnixDatagram::bind(dev.join("log")).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _dev = tmpfs.moved_to(Path::new("/dev"));
        w.run(&["-r"]);
        w.write("file", "x");
        w.wait_identical();
        take_root_away(&w);
        let mut buffer = vec![0; 1 << 16];
        let mut lines = Vec::new();
        let found = poll(DEADLINE, || {
            while let Ok(length) = socket.recv(&mut buffer) {
                lines.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            }
            // daemon.error, daemon.info
            let both = ["<27>", "<30>"].map(|p| lines.iter().any(|line| line.starts_with(p)));
            (both == [true, true]).then_some(())
        });
        assert!(found.is_some(), "{lines:#?}");
        let form = |line: &String| {
            let (_, rest) = line.split_once('>').unwrap();
            // Nov 22 09:02:03 syncsup[123]: text
            rest.as_bytes()[6] == b' ' && rest[16..].starts_with("syncsup[") && rest.contains("]: ")
        };
        assert!(lines.iter().all(form), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("]: ERRO held")), "{lines:#?}");
        assert!(!log(&w).contains("watching"), "{}", log(&w));
        w.instance.stop();
        drop(bound);
    });
}

#[test]
fn a_missing_system_log_hides_nothing() {
    if Path::new("/dev/log").exists() {
        println!("SKIPPED: this machine has a system log");
        return;
    }
    let mut w = Setup { settings: "log: {target: syslog}\n", ..Setup::default() }.build();
    w.run(&[]);
    let text = log(&w);
    assert!(
        text.lines().any(|line| line.starts_with("20") && line.contains("INFO watching")),
        "{text}"
    );
    w.instance.stop();
}

#[test]
fn a_reload_says_that_the_log_stays() {
    let mut w = Setup::default().build();
    w.run(&[]);
    let config = w.instance.config().to_owned();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("log: {{format: json}}\n{text}")).unwrap();
    let out = w.instance.command(&["reload"]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success()
            && said.contains("log has changed, which takes effect at the next start"),
        "{said}"
    );
    w.instance.stop();
}
