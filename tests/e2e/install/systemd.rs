//! The service from the package, under a real systemd, in its whole sandbox.

use super::machine::{Machine, Package};
use super::package::traces;
use crate::common::rsyncd::{Options, Rsyncd, free_port};
use crate::common::sshd::Sshd;
use crate::common::tree;
use crate::common::wait::{DEADLINE, holds_for, poll, wait_for};
use crate::common::world::{populate, write};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// How long a slave is watched for what must not come.
const QUIET: Duration = Duration::from_secs(2);

/// A machine with the package on it, and its slaves.
struct Service {
    machine: Machine,
    slave: Rsyncd,
    dir: TempDir,
    _package: Arc<Package>,
}

impl Service {
    fn install() -> Option<Service> {
        let dir = TempDir::with_prefix("syncsup-test-").unwrap();
        let package = Package::make()?;
        let machine = Machine::boot("systemd", &[dir.path(), package.dir()])?;
        let modules = ["tmp", "home", "volume", "usr"];
        let slave = Rsyncd::start_with(&modules, Options::default());
        for name in ["tmp", "over-ssh"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        machine.installs(&package);
        // There is no systemd-journald.
        let log = dir.path().join("log");
        let text = format!("[Service]\nStandardError=append:{}\n", log.display());
        for unit in ["syncsup.service.d", "syncsup@.service.d"] {
            machine.does(&format!("mkdir -p /etc/systemd/system/{unit}"));
            machine.writes(&format!("/etc/systemd/system/{unit}/log.conf"), &text);
        }
        machine.does("systemctl daemon-reload");
        Some(Service { machine, slave, dir, _package: package })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn module(&self, name: &str) -> String {
        format!("{{host: 127.0.0.1, port: {}, module: {name}}}", self.slave.port)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    fn show(&self, property: &str) -> String {
        self.machine.does(&format!("systemctl show -P {property} syncsup.service"))
    }

    #[track_caller]
    fn systemctl(&self, words: &str) {
        let out = self.machine.runs(&format!("systemctl {words}"));
        let state = || self.machine.runs("systemctl status --full --lines=20 syncsup");
        assert!(out.status.success(), "systemctl {words}: {out:?}\n{:?}\n{}", state(), self.log());
    }

    /// Waits until a file has come to a slave.
    #[track_caller]
    fn comes(&self, module: &str, path: &str, content: &str) {
        let there = self.slave.module(module).join(path);
        let came = poll(DEADLINE, || {
            fs::read(&there).is_ok_and(|c| c == content.as_bytes()).then_some(())
        });
        let status = || self.machine.runs("syncsup status");
        assert!(came.is_some(), "{} never came: {:?}\n{}", there.display(), status(), self.log());
    }

    /// A localpath in `status --json`.
    fn local(&self, watch: &str) -> serde_json::Value {
        let out = self.machine.runs("syncsup status --json");
        let status: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        let locals = status["instances"][0]["localpaths"].as_array().cloned().unwrap_or_default();
        locals.into_iter().find(|l| l["watch"] == watch).unwrap_or_default()
    }
}

/// One localpath of a configuration.
fn localpath(watch: &Path, remote: &str) -> String {
    format!("  - {{watch: {watch:?}, remotes: [{remote}]}}\n")
}

/// Trees where sandboxes hide them, and a configuration with all that a sandbox may break.
fn configure(s: &Service, sshd: &Sshd, http_port: u16) {
    let m = &s.machine;
    // In /tmp, in a home and another user's alone, on a volume, in /usr.
    m.does("mkdir -p /home/www/site /srv/volume /usr/local/share/site /var/spool/site");
    m.does("mount -t tmpfs tmpfs /srv/volume && echo one >/srv/volume/one && mkdir /srv/volume/d");
    m.does("echo mine >/home/www/site/own && chmod 600 /home/www/site/own && chmod 700 /home/www /home/www/site");
    m.does("chown -R 65534 /home/www && echo u >/usr/local/share/site/u");
    // ssh's key in root's home.
    m.does("mkdir -p -m 700 /root/.ssh");
    let mut options = sshd.options("user");
    for name in ["user", "known"] {
        let (file, home) = (sshd.file(name), format!("/root/.ssh/syncsup-test-{name}"));
        m.writes(&home, &fs::read_to_string(&file).unwrap());
        m.does(&format!("chmod 600 {home}"));
        options = options.replace(file.to_str().unwrap(), &home);
    }
    let over_ssh = format!(
        "{{host: '{}', path: {:?}, ssh: {{port: {}, options: {options}}}}}",
        sshd.host(),
        sshd.path(),
        sshd.port
    );
    let script = "/usr/local/bin/told";
    m.writes(
        script,
        "#!/bin/sh\n{ echo \"$*\"; touch /usr/forbidden /etc/forbidden /root/forbidden; } >>/var/spool/site/told 2>&1\n",
    );
    m.does(&format!("chmod 755 {script}"));
    let mut config = format!(
        "sysctl: false\nfail_log: {{path: /tmp/rsync_fail_log.sh}}\nalarm_after: 1s\non_failure: {script} failed\n\
         plugins: [{{command: {{prefix: {script} changed}}}}]\nhttp: 127.0.0.1:{}\nlocalpaths:\n",
        http_port
    );
    config += &localpath(&s.at("tmp"), &s.module("tmp"));
    config += &localpath(Path::new("/home/www/site"), &s.module("home"));
    config += &localpath(Path::new("/srv/volume"), &s.module("volume"));
    config += &localpath(Path::new("/usr/local/share/site"), &s.module("usr"));
    config += &localpath(&s.at("over-ssh"), &over_ssh);
    m.writes("/etc/syncsup/conf.d/all.yaml", &config);
}

#[test]
fn the_service_works_in_its_sandbox() {
    let Some(s) = Service::install() else { return };
    let m = &s.machine;
    assert_eq!(s.show("ActiveState"), "inactive", "it was started unasked");
    let sshd = Sshd::start();
    let before = m.processes();

    let (http_port, _reserved) = free_port();
    configure(&s, &sshd, http_port);

    // `start` returns when everything is watched.
    s.systemctl("start syncsup");
    let watched = || s.show("StatusText").starts_with("5 of 5 localpaths watched");
    wait_for("the status of the unit", DEADLINE, watched);
    write(&s.at("tmp/d/f"), "in /tmp");
    s.comes("tmp", "d/f", "in /tmp");
    s.comes("home", "own", "mine\n");
    s.comes("volume", "one", "one\n");
    s.comes("usr", "u", "u\n");
    write(&s.at("over-ssh/d/f"), "over ssh");
    wait_for("the changes over ssh", DEADLINE, || tree::identical(&s.at("over-ssh"), &sshd.path()));
    m.does("echo changed >/home/www/site/own");
    s.comes("home", "own", "changed\n");
    // The limits may be raised, and nothing else below /proc/sys. (Not tried: systemd gives the service a /proc of its
    // own, in which they are those of the machine that runs the test.)
    let mounts = m.does(&format!("cat /proc/{}/mountinfo", s.show("MainPID")));
    let mode = |at: &str| {
        let line = mounts.lines().find(|l| l.split(' ').nth(4) == Some(at));
        line.and_then(|l| l.split([' ', ',']).nth(5)).unwrap_or_default().to_owned()
    };
    assert_eq!(
        (mode("/proc/sys"), mode("/proc/sys/fs/inotify")),
        ("ro".into(), "rw".into()),
        "{mounts}"
    );
    assert_eq!((mode("/usr"), mode("/etc")), ("ro".into(), "ro".into()), "{mounts}");

    // Plugins and alarms are called, and cannot touch the system.
    let own = "changed /home/www/site/own";
    let told = || String::from_utf8_lossy(&m.runs("cat /var/spool/site/told").stdout).into_owned();
    wait_for("a plugin whose calls are refused three times each", DEADLINE, || {
        let told = told();
        let calls = told.lines().filter(|line| !line.starts_with("touch:")).count();
        told.contains(own) && told.matches("Read-only file system").count() == 3 * calls
    });
    m.does("! test -e /usr/forbidden && ! test -e /etc/forbidden && ! test -e /root/forbidden");
    m.does("test -e /tmp/rsync_fail_log.sh");

    // What the host unmounts is held, and goes on when it is mounted again.
    // A standby keeps it busy for a few seconds.
    wait_for("the volume is unmounted", DEADLINE, || m.runs("umount /srv/volume").status.success());
    wait_for("the volume is held", DEADLINE, || s.local("/srv/volume")["state"] == "held");
    let volume = s.slave.module("volume");
    holds_for("the slave's files", QUIET, || {
        volume.join("one").exists() && volume.join("d").exists()
    });
    m.does("mount -t tmpfs tmpfs /srv/volume && echo two >/srv/volume/two");
    m.does("syncsup release /srv/volume || syncsup sync /srv/volume");
    s.comes("volume", "two", "two\n");

    reload_and_kills(&s);

    // With what the package has for plugins that need more, they may write in homes, and still not the system.
    m.does(
        "install -D -m 644 /usr/share/doc/syncsup/plugins.conf \
         /etc/systemd/system/syncsup.service.d/plugins.conf && systemctl daemon-reload",
    );
    s.systemctl("restart syncsup");
    m.does("echo for the plugin >/home/www/site/own");
    wait_for("the plugin in /root", DEADLINE, || {
        m.runs("test -e /root/forbidden").status.success()
    });
    m.does("! test -e /usr/forbidden && ! test -e /etc/forbidden");

    s.systemctl("stop syncsup");
    assert_eq!(s.show("Result"), "success", "{}", s.log());
    wait_for("the end of all", DEADLINE, || m.processes() == before);
    for word in ["Operation not permitted", "Permission denied", "EPERM", "panicked"] {
        let lines: Vec<String> =
            s.log().lines().filter(|l| l.contains(word)).map(str::to_owned).collect();
        assert!(lines.is_empty(), "the sandbox refused something: {lines:?}");
    }
}

/// A reload, good and bad; a watcher that dies; a supervisor that stands still.
fn reload_and_kills(s: &Service) {
    let m = &s.machine;
    s.systemctl("reload syncsup");
    m.writes("/etc/syncsup/conf.d/wrong.yaml", "localpaths: 7\n");
    let out = m.runs("systemctl reload syncsup");
    assert!(!out.status.success(), "a wrong configuration was taken: {out:?}");
    m.does("rm /etc/syncsup/conf.d/wrong.yaml");
    s.systemctl("reload syncsup");
    write(&s.at("tmp/after the reload"), "x");
    s.comes("tmp", "after the reload", "x");

    let watcher = s.local("/home/www/site")["watcher"]["pid"].as_i64().expect("a watcher");
    m.does(&format!("kill -KILL {watcher}"));
    m.does("echo again >/home/www/site/own");
    s.comes("home", "own", "again\n");

    m.does("mkdir -p /run/systemd/system/syncsup.service.d");
    m.writes(
        "/run/systemd/system/syncsup.service.d/fast.conf",
        "[Service]\nWatchdogSec=4s\nRestartSec=0\n",
    );
    s.systemctl("daemon-reload");
    s.systemctl("restart syncsup");
    let old = s.show("MainPID");
    // Longer than the watchdog: it is heard.
    holds_for("the service", Duration::from_secs(6), || s.show("MainPID") == old);
    m.does(&format!("kill -STOP {old}"));
    write(&s.at("tmp/while it stood still"), "x");
    wait_for("another supervisor", DEADLINE, || {
        s.show("MainPID") != old && s.show("ActiveState") == "active"
    });
    s.comes("tmp", "while it stood still", "x");
}

/// A value of /proc/PID/status of a process of the machine.
fn status(m: &Machine, pid: &str, key: &str) -> String {
    m.does(&format!("sed -n 's/^{key}:[[:space:]]*//p' /proc/{pid}/status"))
}

#[test]
fn the_service_of_root_becomes_one_of_a_user() {
    let Some(s) = Service::install() else { return };
    let m = &s.machine;
    if !m.runs("systemd-sysusers && id -u syncsup").status.success() {
        return eprintln!("SKIPPED: there is no systemd-sysusers");
    }
    let script = "/usr/local/bin/told";
    m.does("mkdir -p /home/www/site /srv/volume && mount -t tmpfs tmpfs /srv/volume");
    m.does("echo mine >/home/www/site/own && chmod 600 /home/www/site/own");
    m.does("chown -R 65534 /home/www && chmod 700 /home/www /home/www/site && echo one >/srv/volume/one");
    let config = |fail_log: &str| {
        let plugin = format!("plugins: [{{command: {{prefix: {script}}}}}]");
        let mut config =
            format!("sysctl: false\nfail_log: {{path: {fail_log}}}\n{plugin}\nlocalpaths:\n");
        config += &localpath(&s.at("tmp"), &s.module("tmp"));
        config += &localpath(Path::new("/home/www/site"), &s.module("home"));
        config += &localpath(Path::new("/srv/volume"), &s.module("volume"));
        config
    };
    m.writes(
        script,
        "#!/bin/sh\n{ echo \"$*\"; touch /etc/forbidden /var/forbidden /home/www/site/forbidden; } >>/tmp/told 2>&1\n",
    );
    m.does(&format!("chmod 755 {script}"));
    m.writes("/etc/syncsup/conf.d/all.yaml", &config("/var/log/fail.sh"));
    s.systemctl("start syncsup");
    s.comes("home", "own", "mine\n");
    m.does("syncsup wait --timeout 50s");
    s.systemctl("stop syncsup");
    assert_eq!(m.does("stat -c %U /var/lib/syncsup/*/journal.db | sort -u"), "root");
    m.does("rm -f /tmp/told /var/forbidden");

    m.does(
        "install -D -m 644 /usr/share/doc/syncsup/unprivileged.conf \
         /etc/systemd/system/syncsup.service.d/unprivileged.conf && systemctl daemon-reload",
    );
    m.does("chmod 600 /etc/syncsup/conf.d/all.yaml");
    s.systemctl("start syncsup");
    let unwritable = "fail log /var/log/fail.sh cannot be written";
    wait_for("a warning", DEADLINE, || s.log().contains(unwritable));
    m.writes("/etc/syncsup/conf.d/all.yaml", &config("/var/log/syncsup/fail.sh"));
    s.systemctl("reload syncsup");
    assert_eq!(s.log().matches(unwritable).count(), 1, "{}", s.log());
    // The state of root is its own now, and nothing is copied again.
    assert_eq!(m.does("stat -c %U /var/lib/syncsup/* /run/syncsup/* | sort -u"), "syncsup");
    let id = m.does("id -u syncsup");
    let all = m.does("ps -e -o uid=,args= | grep -E '^ *[0-9]+ (syncsup: |/usr/bin/syncsup )'");
    assert!(all.lines().count() >= 7, "supervisor, watchers, pushers: {all}");
    assert!(all.lines().all(|line| line.trim().starts_with(&format!("{id} "))), "{all}");
    let main = s.show("MainPID");
    for set in ["CapBnd", "CapPrm", "CapAmb"] {
        assert_eq!(status(m, &main, set), format!("{:016x}", 1 << 2 | 1 << 19), "{set}");
    }
    m.does("echo changed >/home/www/site/own && echo two >/srv/volume/two");
    write(&s.at("tmp/d/f"), "in /tmp");
    s.comes("home", "own", "changed\n");
    s.comes("volume", "two", "two\n");
    s.comes("tmp", "d/f", "in /tmp");
    assert_eq!(s.log().matches("why: the remote is new").count(), 3, "{}", s.log());
    wait_for("a command that can write nothing", DEADLINE, || {
        let told = m.runs("cat /tmp/told");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let calls = told.lines().filter(|line| !line.starts_with("touch:")).count();
        calls > 0 && told.lines().filter(|line| line.starts_with("touch:")).count() == 3 * calls
    });
    m.does("! test -e /etc/forbidden && ! test -e /var/forbidden && ! test -e /home/www/site/forbidden");
    wait_for("the fail log with the refused calls", DEADLINE, || {
        m.runs("test -s /var/log/syncsup/fail.sh").status.success()
    });
    // Root's commands find it.
    assert_ne!(m.runs("syncsup status").status.code(), Some(3));
    m.does("syncsup sync");
    reload_and_kills(&s);
    wait_for("the volume is unmounted", DEADLINE, || m.runs("umount /srv/volume").status.success());
    wait_for("the volume is held", DEADLINE, || s.local("/srv/volume")["state"] == "held");
    assert!(s.slave.module("volume").join("two").exists());
    s.systemctl("stop syncsup");
    for word in ["panicked", "cannot give up"] {
        assert!(!s.log().contains(word), "{word}: {}", s.log());
    }

    // Back to root, as the file says.
    m.does("rm /etc/systemd/system/syncsup.service.d/unprivileged.conf && mount -t tmpfs tmpfs /srv/volume");
    m.does("chown -R 0:0 /var/lib/syncsup /run/syncsup && systemctl daemon-reload");
    s.systemctl("start syncsup");
    m.does("echo again as root >/home/www/site/own");
    s.comes("home", "own", "again as root\n");
    s.systemctl("stop syncsup");
}

#[test]
fn instances_run_beside_each_other_and_leave_no_trace() {
    let Some(s) = Service::install() else { return };
    let m = &s.machine;
    let before = m.processes();
    m.does("rm -r /etc/systemd/system/syncsup.service.d");
    let clean = {
        let Some(other) = Machine::boot("nothing", &[]) else { return };
        traces(&other)
    };
    for name in ["one", "two"] {
        fs::create_dir(s.at(name)).unwrap();
    }
    let config = |name: &str, module: &str| {
        format!("sysctl: false\nlocalpaths:\n{}", localpath(&s.at(name), &s.module(module)))
    };
    m.writes("/etc/syncsup/conf.d/one.yaml", &config("one", "tmp"));
    m.writes("/etc/syncsup/two.yaml", &config("two", "home"));
    s.systemctl("enable --now syncsup syncsup@two");
    populate(&s.at("one"), 2, 2);
    populate(&s.at("two"), 2, 2);
    let arrived = |name: &str, module: &str| tree::identical(&s.at(name), &s.slave.module(module));
    wait_for("both", DEADLINE, || arrived("one", "tmp") && arrived("two", "home"));
    // One stops; the other keeps its sockets.
    s.systemctl("stop syncsup");
    assert_ne!(m.runs("syncsup status").status.code(), Some(3), "its socket is gone");
    write(&s.at("two/after"), "x");
    wait_for("the other", DEADLINE, || arrived("two", "home"));
    s.systemctl("reload syncsup@two");
    // Debian's init-functions lead from the script to the unit.
    let debian = m.runs("test -e /lib/lsb/init-functions.d/40-systemd").status.success();
    m.does(if debian { "/etc/init.d/syncsup start" } else { "systemctl start syncsup" });
    assert_eq!(s.show("ActiveState"), "active");

    m.does("dpkg -r syncsup");
    assert_eq!(s.show("ActiveState"), "inactive");
    assert_eq!(m.processes(), before, "something runs on");
    m.does("ls /etc/syncsup/two.yaml /var/lib/syncsup/*/journal.db");
    m.does("dpkg -P syncsup && rm -r /etc/syncsup /etc/systemd/system/syncsup@.service.d");
    assert_eq!(traces(m), clean);
    assert!(arrived("one", "tmp") && arrived("two", "home"), "the data was touched");
}
