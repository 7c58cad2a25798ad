//! `on_failure` and `on_recovery`.

use super::HOSTILE;
use crate::common::instance::Instance;
use crate::common::wait::{DEADLINE, holds_for, poll, wait_for};
use crate::common::world::Setup;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[test]
fn an_outage_and_a_recovery_are_reported_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let (script, record) = (dir.path().join("tell.sh"), dir.path().join("told"));
    let line = "$1 $SYNCSUP_EVENT $SYNCSUP_LOCALPATH $SYNCSUP_REMOTE $SYNCSUP_STATE $SYNCSUP_SINCE [$SYNCSUP_REASON]";
    fs::write(&script, format!("#!/bin/sh\necho \"{line}\" >> '{}'\n", record.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let settings = format!(
        "on_failure: '{0} \"down $(x)\"'\non_recovery: [{0:?}, back]\nalarm_after: 500ms\n",
        script.display()
    );
    let setup = Setup { remotes: 2, rsync: ", timeout: 5s", ..Setup::default() };
    let mut w = Setup { settings: settings.replace("\"\"", "\"").leak(), ..setup }.build();
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    w.remotes[0].stop();
    w.write("x", "x");
    let told = || -> Vec<String> {
        let text = fs::read_to_string(&record).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let met = poll(DEADLINE, || Some(told()).filter(|t| t.len() == 1));
    let first = met.unwrap_or_else(|| panic!("{:?}\n{}", told(), w.instance.report())).remove(0);
    let (master, name) = (w.master.display().to_string(), w.remotes[0].name());
    let head = format!("down $(x) failure {master} {name} backoff 20");
    // It may go down in the middle of a greeting: rsync has several words for that.
    assert!(first.starts_with(&head) && first.contains("[rsync: "), "{first}");
    // Not again, whatever is killed.
    w.instance.kill9();
    w.run(&[]);
    w.write("y", "x");
    w.wait_remote(0, "trouble", |r| r["state"] == "backoff");
    holds_for("one report", Duration::from_secs(3), || told().len() == 1);
    w.remotes[0].start_again();
    w.wait_identical_within(DEADLINE * 3);
    wait_for("the recovery", DEADLINE, || told().len() == 2);
    let second = told().remove(1);
    assert!(second.starts_with(&format!("back recovery {master} {name} ok 20")), "{second}");
    holds_for("one report", Duration::from_secs(2), || told().len() == 2);
}

#[test]
fn hostile_names_reach_alarm_commands_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let master = at("-m $(touch pwned) `x`\n\"q' \u{1b}[1m");
    fs::create_dir(&master).unwrap();
    let (tell, told) = (at("tell.sh"), at("told"));
    let (call, called) = (at("call.sh"), at("called"));
    for (script, words, record) in [
        (&tell, "\"$SYNCSUP_EVENT\" \"$SYNCSUP_LOCALPATH\" \"$SYNCSUP_REMOTE\"", &told),
        (&call, "\"$1\"", &called),
    ] {
        let text = format!("#!/bin/sh\nprintf '%s\\0' {words} >> '{}'\n", record.display());
        fs::write(script, text).unwrap();
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // Nothing listens there; plugins do not wait for a remote that is down.
    let remote = "127.0.0.1:1::www $(touch pwned) 'x\"";
    let text = format!(
        "fail_log: {{path: {log:?}}}\non_failure: {tell:?}\nalarm_after: 100ms\nlocalpaths:\n  \
         - watch: {master:?}\n    remotes: [{remote:?}]\n    plugins: [{{command: {{prefix: {call:?}}}}}]\n",
        log = at("fail.sh"),
    );
    let text = text.replace("\\u{1b}", "\\e");
    let mut instance = Instance::new(&at("instance"), "syncsup.yaml", &text);
    instance.launch(&["-r"]);
    wait_for("the failure", DEADLINE, || told.exists());
    let wanted = ["failure".as_bytes(), master.as_os_str().as_bytes(), remote.as_bytes()];
    wait_for("its message", DEADLINE, || fs::read(&told).is_ok_and(|t| t.ends_with(b"\"\0")));
    let said = fs::read(&told).unwrap();
    assert_eq!(said.split(|&b| b == 0).take(3).collect::<Vec<_>>(), wanted);
    for name in HOSTILE {
        fs::write(master.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let calls = || -> BTreeSet<Vec<u8>> {
        let text = fs::read(&called).unwrap_or_default();
        text.split(|&b| b == 0).filter(|w| !w.is_empty()).map(<[u8]>::to_vec).collect()
    };
    wait_for("the calls", DEADLINE, || calls().len() >= HOSTILE.len());
    let wanted = HOSTILE.map(|n| master.join(OsStr::from_bytes(n)).as_os_str().as_bytes().to_vec());
    assert_eq!(calls(), BTreeSet::from(wanted));
    // Each line of the fail log is a comment or a command, whatever the names are.
    wait_for("the fail log", DEADLINE, || {
        fs::read_to_string(at("fail.sh")).is_ok_and(|t| t.matches("\ncd ").count() >= HOSTILE.len())
    });
    let log = fs::read_to_string(at("fail.sh")).unwrap();
    assert!(log.lines().all(|l| l.starts_with('#') || l.starts_with("cd ")), "{log}");
    assert!(!log.contains('\u{1b}') && !instance.log_text().contains('\u{1b}'));
    let syntax = std::process::Command::new("sh").arg("-n").arg(at("fail.sh")).status().unwrap();
    assert!(syntax.success(), "{log}");
    instance.stop();
    for place in [&master, &at("instance"), &dir.path().to_owned()] {
        assert!(!place.join("pwned").exists());
    }
}

#[test]
fn a_script_with_crlf_is_reported_when_it_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("tell.sh");
    fs::write(&script, "#!/bin/sh\r\nexit 0\r\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let settings = format!(
        "on_failure: {script:?}\nalarm_after: 100ms\nplugins: [{{command: {{prefix: {script:?}}}}}]\n"
    );
    let mut w = Setup { settings: settings.leak(), ..Setup::default() }.build();
    w.run(&[]);
    w.write("x", "x");
    let name = script.display().to_string();
    let words = "its first line ends in a carriage return";
    let said = |start: &str| {
        let log = w.instance.log_text();
        log.lines().any(|l| l.contains(start) && l.contains(&name) && l.contains(words))
    };
    wait_for("the call", DEADLINE, || {
        let out = w.instance.command(&["journal", "list"]).stdout;
        let text = String::from_utf8_lossy(&out).into_owned();
        text.contains(&name) && text.contains(words)
    });
    w.remotes[0].stop();
    w.write("y", "x");
    wait_for("the alarm", DEADLINE, || said("on_failure for "));
    let check = w.instance.command(&["check"]);
    assert!(String::from_utf8_lossy(&check.stderr).contains(words), "{check:?}");
}
