//! `on_failure` and `on_recovery`.

use crate::common::wait::{DEADLINE, holds_for, poll, wait_for};
use crate::common::world::Setup;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[test]
fn a_remote_that_goes_down_and_comes_back_is_told_once_each() {
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
    assert!(first.starts_with(&head) && first.contains("Connection re"), "{first}");
    // Not again, whatever is killed.
    w.instance.kill9();
    w.run(&[]);
    w.write("y", "x");
    w.wait_remote(0, "trouble", |r| r["state"] == "backoff");
    holds_for("told once", Duration::from_secs(3), || told().len() == 1);
    w.remotes[0].start_again();
    w.wait_identical_within(DEADLINE * 3);
    wait_for("the recovery", DEADLINE, || told().len() == 2);
    let second = told().remove(1);
    assert!(second.starts_with(&format!("back recovery {master} {name} ok 20")), "{second}");
    holds_for("told once", Duration::from_secs(2), || told().len() == 2);
}
