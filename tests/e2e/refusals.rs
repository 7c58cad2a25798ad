//! What a slave refuses: it comes again at growing intervals, whatever it is called, and nothing is taken for done.

use crate::common::rsyncd::{Options, USER};
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World};
use nix::unistd::{Uid, chown};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const NOBODY: u32 = 65_534;

/// A daemon that does not run as root, as in tutorials. `None` without root.
fn world(setup: Setup) -> Option<World> {
    if !Uid::effective().is_root() {
        println!("SKIPPED: only root can start a daemon with a user of its own");
        return None;
    }
    let lines = "uid = nobody\ngid = nogroup\n".to_owned();
    let w =
        Setup { daemon: Options { module_lines: lines, ..Options::default() }, ..setup }.build();
    chown(&w.there(""), Some(NOBODY.into()), None).unwrap();
    // The daemon's user must be able to enter the parent directories.
    for above in w.there("").ancestors().take_while(|p| *p != Path::new("/tmp")) {
        let mode = fs::metadata(above).unwrap().mode();
        fs::set_permissions(above, Permissions::from_mode(mode | 0o711)).unwrap();
    }
    Some(w)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A directory there that is root's.
fn of_root(w: &World, name: &str, bits: u32) {
    fs::create_dir(w.there(name)).unwrap();
    mode(&w.there(name), bits);
}

fn failing(w: &World) -> Vec<Value> {
    let out = w.instance.command(&["journal", "list", "--json"]).stdout;
    String::from_utf8(out).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn a_refused_directory_backs_off_and_delays_no_other() {
    let Some(mut w) = world(Setup { log_rsyncs: true, ..Setup::default() }) else { return };
    for name in ["shut", "moved", "again", "open", "gone"] {
        of_root(&w, name, if name == "open" { 0o755 } else { 0o700 });
    }
    for name in ["shut", "again", "open", "gone"] {
        w.write(&format!("{name}/f"), "x");
    }
    w.run(&["-r"]);
    w.wait_remote(0, "the refused files", |r| r["failing"].as_u64() >= Some(3));
    // Every scope: an entry, names below, a tree, one that came again, one that went.
    w.write("shut/sub/g", "y");
    let tree = w.outside.join("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("sub/f"), "x").unwrap();
    fs::rename(&tree, w.at("moved")).unwrap();
    fs::remove_dir_all(w.at("again")).unwrap();
    w.write("again/g", "z");
    mode(&w.at("open"), 0o750);
    fs::remove_dir_all(w.at("gone")).unwrap();
    // By the program's own clock: of each, and of the rsyncs, there are no more than the backoff allows.
    let waited_ms = |row: &Value| {
        w.instance.status()["instances"][0]["now_ms"].as_i64().unwrap()
            - row["since_ms"].as_i64().unwrap()
    };
    wait_for("a path that has been refused for a while", DEADLINE, || {
        let rows = failing(&w);
        rows.len() >= 4 && rows.iter().all(|row| waited_ms(row) > 8_000)
    });
    let (rsyncs, rows) = (w.rsyncs().len(), failing(&w));
    for row in &rows {
        let (tries, waited) = (row["attempts"].as_u64().unwrap(), waited_ms(row));
        // One immediately and after 0.5, 2.5, 6.5, 14.5 s; two more, for it changed meanwhile.
        let allowed = [0, 500, 2_500, 6_500, 14_500, 30_500, 62_500];
        let allowed = allowed.iter().filter(|ms| **ms <= waited).count() as u64 + 2;
        assert!(tries <= allowed, "{tries} tries in {waited} ms: {rows:?}");
    }
    let all: u64 = rows.iter().map(|row| row["attempts"].as_u64().unwrap()).sum();
    assert!(rsyncs as u64 <= 10 + 2 * all, "{rsyncs} rsyncs: {rows:?}");
    w.write("fine", "x");
    wait_for("the accepted files", DEADLINE, || w.there("fine").exists());
}

#[test]
fn names_that_look_like_messages_delay_nothing() {
    let Some(mut w) = world(Setup { settings: "filter: {names: none}\n", ..Setup::default() })
    else {
        return;
    };
    let names = [
        "module is read only",
        "@ERROR: max connections (4) reached -- try again later",
        "configured to refuse --delete",
        "rsync: --delete-missing-args: unknown option",
        "invalid file mode 00 for d [Receiver]",
        "ABORTING due to invalid path from sender: d",
        "could not make way for new regular file: x",
        "No space left on device (28)",
        "web@h: Permission denied (publickey).",
        "bash: rsync: command not found",
        "IO error encountered -- skipping file deletion",
        "total size is 3  speedup is 0.17",
        "a\" -> \"b",
        "x\nERROR: module is read only\n",
    ];
    for name in names {
        of_root(&w, name, 0o755);
        fs::create_dir(w.at(name)).unwrap();
    }
    w.run(&[]);
    w.write("before", "x");
    wait_for("a first push", DEADLINE, || w.there("before").exists());
    for name in names {
        // The slave may not change the one that is there, nor write into it.
        mode(&w.at(name), 0o700);
        w.write(&format!("{name}/{name}"), "x");
    }
    let remote = w.wait_remote(0, "all refusals", |r| r["failing"].as_u64() >= Some(14));
    assert!(!["held", "backoff"].contains(&remote["state"].as_str().unwrap()), "{remote}");
    w.write("after", "x");
    fs::remove_file(w.at("before")).unwrap();
    wait_for("the work of others", DEADLINE, || {
        w.there("after").exists() && !w.there("before").exists()
    });
    // The form of deletion has not changed for good.
    let log = w.instance.log_text();
    assert!(!log.contains("another way") && !log.contains("held"), "{log}");
}

#[test]
fn a_refused_mode_or_owner_of_the_root_is_not_settled() {
    let Some(mut w) = world(Setup::default()) else { return };
    w.run(&["-r"]);
    w.wait_in_sync();
    chown(&w.there(""), Some(0.into()), None).unwrap();
    mode(&w.there(""), 0o777);
    mode(&w.at(""), 0o750);
    assert!(w.instance.command(&["sync"]).status.code() != Some(0));
    w.wait_remote(0, "the root that fails", |r| r["failing"] == 1);
    let rows = failing(&w);
    assert_eq!(rows[0]["path"], "", "{rows:?}");
    chown(&w.there(""), Some(NOBODY.into()), None).unwrap();
    w.instance.command(&["journal", "retry"]);
    wait_for("the mode", DEADLINE, || fs::metadata(w.there("")).unwrap().mode() & 0o777 == 0o750);
    w.wait_in_sync();
}

/// A program in the place of rsync.
fn program(w: &World, text: &str) {
    let file = w.outside.join("rsync");
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    mode(&file, 0o755);
    let config = fs::read_to_string(w.instance.config()).unwrap();
    let config = config.replace("rsync: {", &format!("rsync: {{program: {file:?}, "));
    fs::write(w.instance.config(), config).unwrap();
}

#[test]
fn a_silent_successful_program_settles_nothing() {
    for (text, held) in [
        ("exit 0", true),
        ("echo 'sending incremental file list'; exit 0", true),
        ("exec rsync \"$@\" > /dev/null", true),
        ("exit 23", true),
        ("exit 24", true),
        ("rsync \"$@\"; kill -9 $$", false),
    ] {
        let mut w = Setup::default().build();
        program(&w, text);
        w.write("f", "x");
        w.run(&["-r"]);
        let state = if held { "held" } else { "backoff" };
        w.wait_remote(0, text, |r| r["state"] == state);
        let said = w.wait_remote(0, text, |r| r["reason"].is_string());
        assert!(!held || said["reason"].as_str().unwrap().contains("statistics"), "{said}");
        let waited = w.instance.command(&["wait", "--timeout", "1s"]);
        assert_ne!(waited.status.code(), Some(0), "{text}");
        let verified = w.instance.command(&["verify"]);
        assert_ne!(verified.status.code(), Some(0), "{text}: {verified:?}");
    }
}

#[test]
fn a_partial_transfer_that_names_no_path_settles_nothing() {
    for complaint in ["echo 'rsync: something went wrong' >&2", ":"] {
        let mut w = Setup::default().build();
        // A push does its work, and then reports a partial failure.
        let broken = w.outside.join("broken");
        program(
            &w,
            &format!(
                "rsync \"$@\"; code=$?\nif [ -e '{}' ]; then case \" $* \" in *' -n '*) ;; *) {complaint}; exit 23;; esac; fi\nexit $code",
                broken.display()
            ),
        );
        fs::write(&broken, "").unwrap();
        w.run(&[]);
        w.write("a", "x");
        w.write("b", "x");
        w.wait_remote(0, "both owed", |r| r["failing"].as_u64() >= Some(2));
        let waited = w.instance.command(&["wait", "--timeout", "1s"]);
        assert_ne!(waited.status.code(), Some(0));
        fs::remove_file(&broken).unwrap();
        w.wait_in_sync();
    }
}

#[test]
fn a_refusing_module_script_is_quoted_in_status_and_check() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("pre.sh");
    // Not a daemon's words, though they look like it.
    let said = "tenant 42 is locked\n@ERROR: max connections (4) reached -- try again later";
    fs::write(&script, format!("#!/bin/sh\necho '{said}'\nexit 3\n")).unwrap();
    mode(&script, 0o755);
    let module_lines = format!("pre-xfer exec = {}\n", script.display());
    let daemon = Options { module_lines, ..Options::default() };
    let mut w = Setup { daemon, ..Setup::default() }.build();
    w.write("file", "x");
    w.run(&[]);
    let held = w.wait_remote(0, "the refusal", |r| r["state"] == "held");
    let why = held["reason"].as_str().unwrap_or_default();
    assert!(why.contains("pre-xfer exec returned failure (768): tenant 42 is locked;"), "{held}");
    let check = w.instance.command(&["check", "--connect"]);
    let text = String::from_utf8_lossy(&check.stdout);
    assert!(!check.status.success() && text.contains("(768): tenant 42 is locked;"), "{check:?}");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    assert!(w.instance.command(&["sync"]).status.success());
    w.wait_identical();
}

#[test]
fn extra_text_in_a_password_file_is_reported_with_the_refused_login() {
    let daemon = Options { auth: true, ..Options::default() };
    let mut w = Setup { daemon, ..Setup::default() }.build();
    w.write("file", "x");
    let file = w.remotes[0].password_file();
    fs::write(&file, format!("{USER}:hunter2\n")).unwrap();
    w.run(&[]);
    let hint = format!("user {USER} of module www: password file {}: ", file.display());
    for (content, word) in [
        (format!("{USER}:hunter2\n"), "write only the password"),
        ("\u{feff}hunter2\n".to_owned(), "BOM"),
        ("hunter2 \n".to_owned(), "blanks around the password"),
    ] {
        fs::write(&file, content).unwrap();
        w.instance.command(&["sync"]);
        w.wait_remote(0, word, |r| {
            let why = r["reason"].as_str().unwrap_or_default();
            why.starts_with("@ERROR: auth failed on module www; ")
                && why.contains(&hint)
                && why.contains(word)
                && !why.contains("hunter2")
        });
        let check = w.instance.command(&["check", "--connect"]);
        let text = String::from_utf8_lossy(&check.stdout);
        assert!(text.contains("FAILED: @ERROR: auth failed") && text.contains(&hint), "{check:?}");
        assert!(text.contains(word) && !text.contains("hunter2"), "{check:?}");
    }
    fs::write(&file, "hunter2\n").unwrap();
    assert!(w.instance.command(&["sync"]).status.success());
    w.wait_identical();
}

/// rsync asks for a missing password on the terminal, from a process group in the background. That would stop it for ever.
#[test]
fn a_missing_password_is_reported_on_a_terminal_too() {
    let daemon = Options { auth: true, ..Options::default() };
    let w = Setup { daemon, ..Setup::default() }.build();
    let configuration = fs::read_to_string(w.instance.config()).unwrap();
    let key = format!(", password_file: {:?}", w.remotes[0].password_file());
    assert!(configuration.contains(&key), "{configuration}");
    fs::write(w.instance.config(), configuration.replace(&key, "")).unwrap();
    for command in [&["check", "--connect"][..], &["verify"]] {
        let said = w.instance.on_a_terminal(command);
        assert!(said.contains("@ERROR: auth failed on module www"), "{said}");
        assert!(!said.contains("Password:"), "{said}");
    }
}
