//! The pair of NFS servers: two machines, each with a real rsync daemon, a real syncsup and the shipped scripts. The test
//! is keepalived (it runs what `keepalived.conf` names, and moves the address only where `pair check` lets it) and the
//! clients (they write where NFS is served). systemd and exportfs are replaced by what they would start or do.

use super::kit::{self, PASSWORD, good, said, word};
use crate::common::instance::Instance;
use crate::common::procs::{Proc, signal_group};
use crate::common::rsyncd::free_port;
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::write;
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

struct Machine {
    dir: PathBuf,
    address: String,
    port: u16,
    instance: Instance,
    path: String,
}

struct Pair {
    nfs1: Machine,
    nfs2: Machine,
    _temp: TempDir,
    _reserved: UnixListener,
}

impl Pair {
    /// Both machines run; nfs1 is master, and nfs2 stands by.
    fn start() -> Pair {
        let temp = TempDir::with_prefix("syncsup-nfs-").unwrap();
        let (port, reserved) = free_port();
        let machine = |name: &str, address: &str, other: &str| {
            Machine::build(&temp.path().join(name), address, other, port)
        };
        let nfs1 = machine("nfs1", "127.0.0.11", "127.0.0.12");
        let nfs2 = machine("nfs2", "127.0.0.12", "127.0.0.11");
        nfs1.boot();
        nfs2.boot();
        assert!(!nfs1.may_serve() && !nfs2.may_serve(), "no machine may serve yet");
        good(nfs1.pair("force"));
        nfs1.takes_address();
        let pair = Pair { nfs1, nfs2, _temp: temp, _reserved: reserved };
        pair.nfs1.client_writes("old.txt", "old");
        pair.nfs1.client_writes("both.txt", "first");
        pair.nfs1.tend();
        pair.equal(&pair.nfs1);
        pair
    }

    /// Both have the same, as the master finds by content.
    #[track_caller]
    fn equal(&self, master: &Machine) {
        good(master.run("syncsup wait --all && syncsup verify --checksum"));
    }
}

impl Machine {
    fn build(dir: &Path, address: &str, other: &str, port: u16) -> Machine {
        let at = |name: &str| word(dir.join(name));
        let conf = at("instance/syncsup.yaml");
        let changes = [
            ("hosts allow = 10.0.0.2", "hosts allow = 127.0.0.1"),
            ("pair@10.0.0.2/state", &*format!("pair@{other}:{port}/state")),
            ("\"10.0.0.2::nfs\"", &format!("\"{other}::nfs\"")),
            ("rsync:\n", &format!("rsync:\n  port: {port}\n")),
            ("/srv/nfs", &at("nfs")),
            ("/run/nfs-pair", &at("run")),
            ("/etc/nfs-pair", &at("etc")),
            ("/run/rsyncd", &at("rsyncd")),
            ("/var/log/rsyncd.log", &at("rsyncd.log")),
            ("/usr/local/sbin/pair", &at("pair")),
            ("systemctl start --no-block syncsup.service", &format!("syncsup -d -o '{conf}'")),
            ("systemctl stop syncsup.service", "{ syncsup stop || [ $? = 3 ]; }"),
            ("systemctl restart rsync.service", &format!("'{}'", at("restart-rsyncd"))),
            ("exportfs -a;", &format!("touch '{}';", at("served"))),
            ("exportfs -ua;", &format!("rm -f '{}';", at("served"))),
        ];
        kit::copy("nfs-master", dir, &changes);
        fs::copy(dir.join("pair.conf"), dir.join("etc.conf")).unwrap();
        kit::secret(&dir.join("etc.password"), PASSWORD);
        kit::secret(&dir.join("etc.secrets"), &format!("pair:{PASSWORD}"));
        kit::for_this_user(&dir.join("rsyncd.conf"));
        fs::create_dir(dir.join("nfs")).unwrap();
        let restart = format!(
            "cd '{}'\n\
             if pid=$(cat rsyncd.pid 2>/dev/null); then\n\
             kill -KILL \"-$pid\"; n=0\n\
             while kill -0 \"-$pid\" 2>/dev/null && [ $n -lt 200 ]; do sleep 0.02; n=$((n+1)); done\n\
             fi\n\
             rm -f rsyncd.pid rsyncd.lock\n\
             exec rsync --daemon --config=rsyncd.conf --address={address} --port={port}",
            dir.display()
        );
        kit::script(&dir.join("restart-rsyncd"), &restart);
        let instance = kit::instance(&dir.join("instance"), &dir.join("syncsup.yaml"));
        let path = kit::path_with(&instance, &dir.join("bin"));
        Machine { dir: dir.to_owned(), address: address.to_owned(), port, instance, path }
    }

    /// Runs a line of shell on the machine.
    fn run(&self, line: &str) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("PATH", &self.path).env("PAIR_CONF", self.at("etc.conf"));
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn pair(&self, verb: &str) -> Output {
        self.run(&format!("'{}' {verb}", self.at("pair").display()))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn nfs(&self, name: &str) -> PathBuf {
        self.dir.join("nfs").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.nfs(name)).unwrap_or_default()
    }

    /// The machine comes up: nothing of `/run` is there, its rsync daemon runs, syncsup is not enabled.
    fn boot(&self) {
        for run in [self.at("run"), self.instance.run_dir()] {
            let _ = fs::remove_dir_all(run);
        }
        let _ = fs::remove_file(self.at("served"));
        fs::create_dir(self.at("run")).unwrap();
        self.connect();
    }

    /// Its rsync daemon can be reached.
    fn connect(&self) {
        assert!(self.run(&format!("'{}'", self.at("restart-rsyncd").display())).status.success());
        kit::wait_greeting(&self.address, self.port);
    }

    /// And not any more.
    fn disconnect(&self) {
        let pid = fs::read_to_string(self.at("rsyncd.pid")).ok();
        let proc = pid.and_then(|pid| pid.trim().parse().ok()).and_then(Proc::read);
        if let Some(proc) = proc.filter(|p| p.command.contains("--daemon") && p.runs()) {
            signal_group(proc.group, Signal::SIGKILL);
            wait_for("the daemon's end", DEADLINE, || !proc.runs());
        }
        let _ = fs::remove_file(self.at("rsyncd.pid"));
    }

    /// Kills everything on it together.
    fn die(&mut self) {
        self.instance.kill9();
        self.disconnect();
    }

    /// What `keepalived.conf` names for `key`.
    fn keepalived(&self, key: &str) -> Output {
        let text = fs::read_to_string(self.at("keepalived.conf")).unwrap();
        let line = text.lines().find_map(|l| l.trim().strip_prefix(key)).unwrap();
        self.run(line.trim().trim_matches('"'))
    }

    fn may_serve(&self) -> bool {
        self.keepalived("script ").status.success()
    }

    /// keepalived gives it the address.
    #[track_caller]
    fn takes_address(&self) {
        assert!(self.may_serve());
        good(self.keepalived("notify_master "));
        assert!(self.may_serve() && self.at("served").exists());
    }

    #[track_caller]
    fn client_writes(&self, name: &str, text: &str) {
        assert!(self.at("served").exists(), "clients can write only where NFS is served");
        write(&self.nfs(name), text);
    }

    /// The timer, until it goes well.
    #[track_caller]
    fn tend(&self) {
        let mut last = String::new();
        let met = poll(DEADLINE * 4, || {
            let output = self.pair("tend");
            last = said(&output);
            output.status.success().then_some(())
        });
        assert!(met.is_some(), "{last}\n{}", self.instance.report());
    }

    /// Every version of a file in its trash.
    fn trash(&self, name: &str) -> Vec<String> {
        let dirs = fs::read_dir(self.nfs(".syncsup-trash")).into_iter().flatten().flatten();
        dirs.filter_map(|dir| fs::read_to_string(dir.path().join(name)).ok()).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.die();
    }
}

#[test]
fn a_dead_master_is_replaced_and_restored_before_the_switch_back() {
    let mut pair = Pair::start();
    let nfs1 = &mut pair.nfs1;
    assert!(pair.nfs2.may_serve());

    // The last things that nfs1 takes do not reach nfs2 any more.
    pair.nfs2.disconnect();
    nfs1.client_writes("last-words.txt", "nobody else has this");
    nfs1.client_writes("both.txt", "last of nfs1");
    nfs1.die();
    pair.nfs2.connect();

    let nfs2 = &pair.nfs2;
    nfs2.takes_address();
    nfs2.client_writes("meanwhile/new.txt", "written on nfs2");
    nfs2.client_writes("both.txt", "written on nfs2");
    fs::remove_file(nfs2.nfs("old.txt")).unwrap();

    // It returns, and may not serve. Not even a syncsup started by hand can do harm.
    nfs1.boot();
    assert!(!nfs1.may_serve());
    good(nfs1.keepalived("notify_fault "));
    assert!(!nfs1.keepalived("notify_master ").status.success() && !nfs1.at("served").exists());
    good(nfs1.run(&format!("syncsup -r -d -o '{}'", nfs1.instance.config().display())));
    nfs1.instance.wait_status("the master refuses", |status| {
        let remote = &status["instances"][0]["localpaths"][0]["remotes"][0];
        remote["reason"].as_str().is_some_and(|r| r.contains("pre-xfer exec returned failure"))
    });
    assert_eq!(nfs2.read("both.txt"), "written on nfs2");
    assert_eq!(nfs2.read("meanwhile/new.txt"), "written on nfs2");
    assert!(!nfs2.nfs("old.txt").exists() && !nfs2.nfs("last-words.txt").exists());
    good(nfs1.keepalived("notify_fault "));
    assert!(!nfs1.may_serve(), "a demotion forgets that anything was whole");

    // It is brought up to date, and only then may stand by. What only it had is kept.
    nfs2.client_writes("meanwhile/more.txt", "while it is brought up to date");
    nfs2.tend();
    assert!(nfs1.may_serve() && nfs2.may_serve());
    assert_eq!(nfs1.read("both.txt"), "written on nfs2");
    assert_eq!(nfs1.read("meanwhile/new.txt"), "written on nfs2");
    assert!(!nfs1.nfs("old.txt").exists() && !nfs1.nfs("last-words.txt").exists());
    assert_eq!(nfs1.trash("last-words.txt"), ["nobody else has this"]);
    assert!(nfs1.trash("both.txt").contains(&"last of nfs1".to_owned()));
    good(nfs2.run("syncsup undelete last-words.txt --last"));

    // Switch back: when nfs1 may take the address, everything is there and nfs2 takes no more writes.
    nfs2.client_writes("meanwhile/last.txt", "just before the switch");
    good(nfs2.pair("give"));
    assert!(!nfs2.may_serve() && !nfs2.at("served").exists());
    assert_eq!(nfs1.read("meanwhile/last.txt"), "just before the switch");
    assert_eq!(nfs1.read("meanwhile/more.txt"), "while it is brought up to date");
    assert_eq!(nfs1.read("last-words.txt"), "nobody else has this");
    good(nfs2.keepalived("notify_fault "));
    nfs1.takes_address();
    nfs1.client_writes("both.txt", "after the switch back");
    nfs1.tend();
    assert!(pair.nfs2.may_serve());
    pair.equal(&pair.nfs1);
    assert_eq!(pair.nfs2.read("both.txt"), "after the switch back");
    assert_eq!(pair.nfs2.read("last-words.txt"), "nobody else has this");
    assert_eq!(pair.nfs2.read("meanwhile/new.txt"), "written on nfs2");
}

#[test]
fn two_masters_delete_nothing_of_each_other_and_keep_the_losing_versions() {
    let pair = Pair::start();
    let (nfs1, nfs2) = (&pair.nfs1, &pair.nfs2);
    // They do not hear each other, and both take the address.
    nfs2.takes_address();
    nfs1.client_writes("both.txt", "nfs1");
    // Not of the same size: both machines have one clock here, and within one tick of it the times would be equal too.
    nfs2.client_writes("both.txt", "this is nfs2");
    nfs1.client_writes("one.txt", "nfs1");
    nfs2.client_writes("two.txt", "nfs2");
    for machine in [nfs1, nfs2] {
        let tended = machine.pair("tend");
        assert!(!tended.status.success(), "{}", said(&tended));
    }
    assert!(!nfs1.pair("give").status.success() && nfs1.at("served").exists());
    assert!(nfs1.read("both.txt") == "nfs1" && !nfs1.nfs("two.txt").exists());
    assert!(nfs2.read("both.txt") == "this is nfs2" && !nfs2.nfs("one.txt").exists());

    // They hear each other again: keepalived leaves nfs1 the address.
    good(nfs2.keepalived("notify_backup "));
    assert!(!nfs2.may_serve(), "its copy is not nfs1's");
    assert!(!nfs2.pair("force").status.success(), "nfs1 is the master");
    // A refused pusher retries after a minute; a new one immediately.
    nfs1.instance.pushers().iter().for_each(|p| p.signal(Signal::SIGKILL));
    nfs1.tend();
    assert!(nfs2.may_serve());
    pair.equal(nfs1);
    assert!(nfs2.read("both.txt") == "nfs1" && nfs2.read("one.txt") == "nfs1");
    assert!(!nfs1.nfs("two.txt").exists());
    assert!(nfs2.trash("both.txt").contains(&"this is nfs2".to_owned()));
    assert_eq!(nfs2.trash("two.txt"), ["nfs2"]);
}

#[test]
fn a_promotion_cuts_off_incoming_pushes() {
    let pair = Pair::start();
    let nfs2 = &pair.nfs2;
    let big = pair.nfs1.at("big");
    fs::write(&big, vec![7; 8 << 20]).unwrap();
    let mut sender = Command::new("rsync")
        .args(["--bwlimit=500", "--password-file"])
        .arg(nfs2.at("etc.password"))
        .arg(&big)
        .arg(format!("rsync://pair@{}:{}/nfs/", nfs2.address, nfs2.port))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let partly = || fs::read_dir(nfs2.at("nfs")).unwrap().flatten();
    wait_for("the transfer to be under way", DEADLINE, || {
        partly().any(|entry| entry.file_name().to_string_lossy().starts_with(".big."))
    });
    nfs2.takes_address();
    let end = poll(Duration::from_secs(10), || sender.try_wait().unwrap());
    let _ = sender.kill();
    let _ = sender.wait();
    assert!(end.is_some_and(|status| !status.success()), "{end:?}");
    assert!(!nfs2.nfs("big").exists());
}

/// keepalived itself reads its file, where there is one.
#[test]
fn keepalived_accepts_its_configuration() {
    let temp = TempDir::with_prefix("syncsup-keepalived-").unwrap();
    let changes = [("/usr/local/sbin/pair", "/bin/true")];
    kit::copy("nfs-master", temp.path(), &changes);
    // An interface of that name, in a network of its own.
    let line = format!(
        "ip link add eth0 type veth peer name eth1 && ip link set eth0 up && keepalived -t -f '{}'",
        temp.path().join("keepalived.conf").display()
    );
    let ready = Command::new("sh")
        .args(["-c", "keepalived --version && unshare -n ip link add a type veth peer name b"])
        .output()
        .unwrap();
    if !ready.status.success() {
        println!("SKIPPED: there is no keepalived, or no network of one's own");
        return;
    }
    good(Command::new("unshare").args(["-n", "sh", "-c", &line]).output().unwrap());
}
