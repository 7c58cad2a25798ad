//! The script for machines without systemd, as an administrator runs it.

use crate::common::instance::Instance;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Script {
    w: World,
    script: PathBuf,
    defaults: PathBuf,
}

impl Script {
    fn new() -> Script {
        let w = Setup::default().build();
        let script = w.outside.join("syncsup.init");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("units/syncsup.init");
        let text = fs::read_to_string(shipped).unwrap();
        // As `make install` does it.
        let program = Instance::program();
        fs::write(&script, text.replace("/usr/local/bin/syncsup", program.to_str().unwrap()))
            .unwrap();
        let defaults = w.outside.join("defaults");
        let s = Script { w, script, defaults };
        s.defaults(s.w.instance.config());
        s
    }

    /// What stands in /etc/default/syncsup.
    fn defaults(&self, config: &Path) {
        let (state, run) = (self.w.instance.state_dir(), self.w.instance.run_dir());
        let options =
            format!("--no-sysctl --state-dir {} --run-dir {}", state.display(), run.display());
        let text = format!("CONFIG='{}'\nOPTIONS='{options}'\n", config.display());
        fs::write(&self.defaults, text).unwrap();
    }

    fn does(&self, word: &str) -> Output {
        let mut command = Command::new("sh");
        // The mark is that of the instance, so that nothing is left when the test fails.
        let prepared = self.w.instance.prepare(Path::new("true"), &[]);
        let mark = prepared.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.envs(mark).env("SYNCSUP_DEFAULTS", &self.defaults);
        command.arg(&self.script).arg(word).output().unwrap()
    }

    #[track_caller]
    fn ends(&self, word: &str, status: i32) -> Output {
        let out = self.does(word);
        assert_eq!(out.status.code(), Some(status), "{word}: {out:?}");
        out
    }
}

#[test]
fn the_init_script_follows_the_lsb() {
    let mut s = Script::new();
    s.ends("status", 3);
    s.ends("stop", 0);
    s.ends("reload", 7);
    s.ends("try-restart", 0);
    s.ends("status", 3);
    s.ends("start", 0);
    // Watched when it returns; another start changes nothing.
    s.w.write("file", "x");
    s.w.wait_identical();
    let pid = s.w.instance.supervisor().pid;
    s.ends("start", 0);
    s.ends("force-reload", 0);
    s.ends("reload", 0);
    assert_eq!(s.w.instance.supervisor().pid, pid);
    // Running is 0, in sync or not.
    s.w.remotes[0].stop();
    s.w.write("behind", "x");
    s.w.wait_remote(0, "behind", |r| r["state"] != "in_sync");
    s.ends("status", 0);
    s.w.remotes[0].start_again();
    s.w.wait_identical();
    s.ends("restart", 0);
    assert_ne!(s.w.instance.supervisor().pid, pid);
    s.ends("try-restart", 0);
    s.w.write("after the restart", "x");
    s.w.wait_identical();
    // A configuration that is wrong is said, and the old one stays.
    let config = fs::read_to_string(s.w.instance.config()).unwrap();
    fs::write(s.w.instance.config(), "localpaths: 7\n").unwrap();
    let out = s.ends("reload", 1);
    assert!(String::from_utf8_lossy(&out.stderr).contains("syncsup.yaml:1"), "{out:?}");
    fs::write(s.w.instance.config(), config).unwrap();
    let supervisor = s.w.instance.supervisor();
    s.ends("stop", 0);
    wait_for("the end", DEADLINE, || !supervisor.runs());
    s.ends("status", 3);
    s.ends("nonsense", 2);
    s.w.instance.kill9();
}

#[test]
fn the_init_script_fails_cleanly_without_a_configuration_or_program() {
    let s = Script::new();
    let empty = s.w.outside.join("conf.d");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("README"), "no configuration").unwrap();
    s.defaults(&empty);
    s.ends("start", 6);
    s.ends("status", 3);
    // Removed, but not purged.
    let text = fs::read_to_string(&s.defaults).unwrap();
    fs::write(&s.defaults, format!("{text}PROGRAM=/nonexistent/syncsup\n")).unwrap();
    s.ends("start", 5);
    s.ends("stop", 0);
    s.ends("status", 4);
}

#[test]
fn the_scripts_have_headers_and_valid_shell() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("units");
    let text = fs::read_to_string(units.join("syncsup.init")).unwrap();
    let header = text.split("### BEGIN INIT INFO\n").nth(1).unwrap();
    let header = header.split("### END INIT INFO").next().unwrap();
    for key in [
        "Provides",
        "Required-Start",
        "Required-Stop",
        "Default-Start",
        "Default-Stop",
        "Short-Description",
    ] {
        assert!(header.contains(&format!("# {key}:")), "no {key}");
    }
    for script in
        ["syncsup.init", "syncsup.openrc", "package/postinst", "package/prerm", "package/postrm"]
    {
        let out = Command::new("sh").arg("-n").arg(units.join(script)).output().unwrap();
        assert!(out.status.success(), "{script}: {out:?}");
    }
}
