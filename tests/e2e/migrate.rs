//! `syncsup migrate`: from a sersync that is there to what takes its place.

use crate::common::instance::Instance;
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::rsyncd::{Options, Rsyncd, USER};
use crate::common::tree::Tree;
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::write;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// sersync unpacked in a directory, as its tutorials have it.
struct Installed {
    slave: Rsyncd,
    dir: PathBuf,
    master: PathBuf,
    temp: TempDir,
}

impl Installed {
    fn new() -> Installed {
        Installed::named("GNU-Linux-x86")
    }

    fn named(name: &str) -> Installed {
        let temp = TempDir::with_prefix("syncsup-test-").unwrap();
        let (dir, master) = (temp.path().join(name), temp.path().join("data"));
        fs::create_dir(&dir).unwrap();
        fs::create_dir(&master).unwrap();
        let slave = Rsyncd::start_with(&["www"], Options { auth: true, ..Options::default() });
        let text = format!(
            r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<head version="2.5">
    <host hostip="localhost" port="8008"></host>
    <debug start="false"/>
    <fileSystem xfs="true"/>
    <filter start="true"><exclude expression="(.*)\.svn"></exclude></filter>
    <inotify><delete start="true"/><createFolder start="true"/></inotify>
    <sersync>
        <localpath watch="{}"><remote ip="127.0.0.1" name="www"/></localpath>
        <rsync>
            <commonParams params="-artuz"/>
            <auth start="true" users="{USER}" passwordfile="{}"/>
            <userDefinedPort start="true" port="{}"/>
        </rsync>
        <failLog path="{}" timeToExecute="60"/>
    </sersync>
</head>
"#,
            master.display(),
            slave.password_file().display(),
            slave.port,
            dir.join("rsync_fail_log.sh").display(),
        );
        fs::write(dir.join("confxml.xml"), text).unwrap();
        fs::write(dir.join("other.xml"), "<html/>").unwrap();
        fs::copy("/bin/sh", dir.join("sersync2")).unwrap();
        Installed { slave, dir, master, temp }
    }

    /// A process that looks like sersync's.
    fn run_sersync(&self) -> Sersync {
        self.run_with(&["-n", "20", "-dro"])
    }

    /// The same with these words before the file.
    fn run_with(&self, args: &[&str]) -> Sersync {
        let mut command = Command::new(self.dir.join("sersync2"));
        command.args(["-c", "read x"]).args(args).arg(self.dir.join("confxml.xml"));
        command.stdin(Stdio::piped()).current_dir(self.temp.path());
        // A child that another test is just starting may still have the copy open.
        let busy = |e: &std::io::Error| e.kind() == ErrorKind::ExecutableFileBusy;
        let process =
            poll(DEADLINE, || Some(command.spawn()).filter(|p| !p.as_ref().is_err_and(busy)));
        let process = process.expect("a copy that no process has open").unwrap();
        // A process that was just started has no command line yet.
        let line = format!("/proc/{}/cmdline", process.id());
        wait_for("its command line", DEADLINE, || fs::read(&line).is_ok_and(|l| !l.is_empty()));
        Sersync(process)
    }

    fn migrate(&self, args: &[&str]) -> Output {
        Command::new(Instance::program()).arg("migrate").args(args).arg(&self.dir).output().unwrap()
    }

    /// Every file there, with its content and mode.
    fn files(&self) -> BTreeMap<String, (Vec<u8>, u32)> {
        let entries = fs::read_dir(&self.dir).unwrap().flatten();
        entries
            .map(|e| {
                let mode = e.metadata().unwrap().permissions().mode() & 0o777;
                (e.file_name().into_string().unwrap(), (fs::read(e.path()).unwrap(), mode))
            })
            .collect()
    }
}

struct Sersync(Child);

impl Drop for Sersync {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_replacement_is_written_beside_sersync_and_works() {
    let s = Installed::new();
    let mut running = s.run_sersync();
    let before = s.files();
    // Shown only.
    let out = s.migrate(&["--dry-run"]);
    let shown = text(&out.stdout);
    assert!(out.status.success(), "{out:?}");
    assert!(shown.contains("would write") && shown.contains("    localpaths:"), "{shown}");
    assert_eq!(s.files(), before, "--dry-run wrote something");

    let out = s.migrate(&[]);
    let shown = text(&out.stdout);
    assert!(out.status.success(), "{out:?}");
    assert!(shown.contains(&format!("runs, pid {}", running.0.id())), "{shown}");
    assert!(shown.contains(&format!("kill {}", running.0.id())), "{shown}");
    let mut after = s.files();
    let (yaml, mode) = after.remove("confxml.yaml").expect("a configuration");
    let (unit, _) = after.remove("syncsup-confxml.service").expect("a unit");
    assert_eq!(after, before, "something else was touched");
    assert!(running.0.try_wait().unwrap().is_none(), "sersync was ended");
    assert_eq!(mode, 0o600);
    let config = s.dir.join("confxml.yaml");
    let exec =
        format!("ExecStart={} -r -n 20 -o {}", Instance::program().display(), config.display());
    assert!(text(&unit).lines().any(|l| l == exec), "{}", text(&unit));
    let unit_file = s.dir.join("syncsup-confxml.service");
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit_file).output() {
        Ok(out) => assert!(out.status.success(), "{out:?}"),
        Err(_) => eprintln!("no systemd-analyze here to verify the unit"),
    }

    // What sersync's own example would be warned of is not in it.
    let check = Command::new(Instance::program()).args(["check", "-o"]).arg(&config).output();
    let check = check.unwrap();
    assert!(check.status.success() && check.stderr.is_empty(), "{check:?}\n{}", text(&yaml));

    // Again: it is there already. Changed: it stays as it is.
    let out = s.migrate(&[]);
    assert!(out.status.success() && text(&out.stdout).contains("exists already"), "{out:?}");
    let mine = [&yaml[..], b"# mine\n"].concat();
    fs::write(&config, &mine).unwrap();
    let out = s.migrate(&[]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(text(&out.stderr).contains("exists already with other content"), "{out:?}");
    assert_eq!(fs::read(&config).unwrap(), mine);

    // What was written replicates.
    drop(running);
    let mut instance = Instance::new(&s.temp.path().join("instance"), "syncsup.yaml", &text(&yaml));
    write(&s.master.join("before"), "x");
    instance.start(&["-r"], &[&s.master]);
    write(&s.master.join("d/later"), "x");
    write(&s.master.join("d/x.svn"), "x");
    write(&s.master.join("d/last"), "x");
    let names = || Tree::read(&s.slave.path()).names();
    wait_for("the names", DEADLINE, || names() == ["before", "d", "d/last", "d/later"]);
    instance.stop();
}

/// Adds plugin sections; the one that `started` names is started.
fn add_plugins(s: &Installed, started: &str) {
    let file = s.dir.join("confxml.xml");
    let sections = format!(
        r#"<plugin name="command"><param prefix="/bin/true"/></plugin>
<plugin name="refreshCDN"><localpath watch="{}">
<cdninfo domainname="127.0.0.1" port="9" username="u" passwd="geheim"/><sendurl base="http://x"/>
</localpath></plugin>"#,
        s.master.display()
    );
    let start = format!("<plugin start=\"true\" name=\"{started}\"/></sersync>{sections}");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("</sersync>", &start)).unwrap();
}

#[test]
fn a_sersync_that_only_runs_a_plugin_gets_no_remote() {
    let s = Installed::named("GNU Linux");
    add_plugins(&s, "command");
    let config = s.dir.join("confxml.xml");
    let alone = s.run_with(&["-d", "-m", "refreshCDN", "-o"]);
    let out = s.migrate(&[]);
    assert!(out.status.success(), "{out:?}");
    let mut files = s.files();
    let unit = text(&files.remove("syncsup-confxml-m-refreshCDN.service").expect("a unit").0);
    let program = Instance::program();
    let exec = format!("ExecStart={} -m refreshCDN -o \"{}\"", program.display(), config.display());
    assert!(unit.lines().any(|l| l == exec), "{unit}");
    assert!(!files.contains_key("confxml.yaml"), "the YAML would push");
    let shown = text(&out.stdout);
    let unit_file = s.dir.join("syncsup-confxml-m-refreshCDN.service");
    let steps = format!(
        "kill {}; cp '{}' /etc/systemd/system/ && systemctl daemon-reload && systemctl enable --now syncsup-confxml-m-refreshCDN.service",
        alone.0.id(),
        unit_file.display()
    );
    assert!(shown.contains(&steps), "{shown}");
    assert!(!shown.contains("reconcile once"), "{shown}");

    // One that replicates beside it: each has its own unit, and the plugin that is not started is said.
    let whole = s.run_with(&["-d", "-o"]);
    let out = s.migrate(&[]);
    assert!(out.status.success(), "{out:?}");
    let shown = text(&out.stdout);
    assert!(shown.contains(&format!("kill {};", whole.0.id())), "{shown}");
    assert!(shown.contains(&format!("sync -o '{}'", s.dir.join("confxml.yaml").display())));
    let said = text(&out.stderr);
    assert!(
        said.contains("omits plugins that are not started: refreshCDN; to call one with -m"),
        "{said}"
    );
    let files = s.files();
    let unit = text(&files["syncsup-confxml.service"].0);
    assert!(unit.contains("confxml.yaml") && !unit.contains(" -m "), "{unit}");
    assert!(files.contains_key("syncsup-confxml-m-refreshCDN.service"));
}

#[test]
fn a_password_is_written_but_not_shown() {
    let s = Installed::new();
    add_plugins(&s, "refreshCDN");
    let out = s.migrate(&["--dry-run"]);
    assert!(out.status.success(), "{out:?}");
    let shown = text(&out.stdout) + &text(&out.stderr);
    assert!(shown.contains("password: '...'") || shown.contains("password: ..."), "{shown}");
    assert!(!shown.contains("geheim"), "{shown}");
    assert!(s.migrate(&[]).status.success());
    assert!(text(&s.files()["confxml.yaml"].0).contains("geheim"));
}

#[test]
fn what_cannot_be_migrated_is_reported() {
    let s = Installed::new();
    let empty = s.temp.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let run =
        |path: &Path| Command::new(Instance::program()).arg("migrate").arg(path).output().unwrap();
    let out = run(&empty);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(text(&out.stderr).contains("no sersync found"), "{out:?}");
    assert_eq!(run(&s.temp.path().join("missing")).status.code(), Some(2));
    // One of two is wrong: the other is written.
    fs::create_dir(s.dir.join("conf")).unwrap();
    let good = fs::read_to_string(s.dir.join("confxml.xml")).unwrap();
    let wrong = s.dir.join("conf/wrong.xml");
    fs::write(&wrong, good.replace("<inotify>", "<inotfy>").replace("</inotify>", "</inotfy>"))
        .unwrap();
    let out = run(&s.dir);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(text(&out.stderr).contains("wrong.xml:"), "{out:?}");
    assert!(s.dir.join("confxml.yaml").exists());
    assert_eq!(fs::read_dir(s.dir.join("conf")).unwrap().count(), 1);
}

/// Without arguments a running sersync is found wherever it is. Only looked at, since it may belong to another user.
#[test]
fn a_running_sersync_is_found_without_arguments() {
    let s = Installed::new();
    let running = s.run_sersync();
    let before = s.files();
    let out = Command::new(Instance::program()).args(["migrate", "--dry-run"]).output().unwrap();
    let wanted = format!(
        "{} (runs, pid {})",
        s.dir.join("confxml.xml").canonicalize().unwrap().display(),
        running.0.id()
    );
    assert!(text(&out.stdout).contains(&wanted), "{out:?}");
    assert_eq!(s.files(), before);
}

/// Without arguments, and nothing runs: it is where the tutorials unpack it, renamed or not.
#[test]
fn a_sersync_in_the_usual_places_is_found_without_arguments() {
    with_private_mounts(|| {
        let (renamed, as_it_comes) = (Installed::new(), Installed::new());
        // What this machine has there is neither seen nor touched.
        let _local = Mounted::tmpfs(Path::new("/usr/local"));
        let migrate = || {
            let out = Command::new(Instance::program()).args(["migrate", "--dry-run"]).output();
            text(&out.unwrap().stdout)
        };
        let places = ["/usr/local/sersync", "/usr/local/GNU-Linux-x86"].map(Path::new);
        let _bound: Vec<Mounted> = places
            .into_iter()
            .zip([&renamed, &as_it_comes])
            .map(|(place, s)| {
                let file = place.join("confxml.xml").display().to_string();
                let shown = migrate();
                assert!(!shown.contains(&file), "{shown}");
                fs::create_dir(place).unwrap();
                let bound = Mounted::bind(&s.dir, place);
                let before = s.files();
                let shown = migrate();
                let line = shown.lines().find(|l| l.contains(&file));
                let line = line.unwrap_or_else(|| panic!("not found: {shown}"));
                assert!(!line.contains("runs, pid"), "{line}");
                let watched = s.master.display().to_string();
                assert!(shown.contains(&format!("watch: {watched}")), "{shown}");
                assert_eq!(s.files(), before);
                bound
            })
            .collect();
    });
}
