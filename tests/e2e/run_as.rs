//! `user`: an instance that root starts becomes another user by itself, which can read everything and writes nothing but
//! its own.

use crate::common::procs::Proc;
use crate::common::rsyncd::{Options, free_port};
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World, write};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

/// A user that every system has, and that is not the reporter's.
const NAME: &str = "daemon";
const OTHER: u32 = 1234;
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;

/// The user that the instances run as; `None`, said, where this cannot be tested.
fn user() -> Option<User> {
    let user = User::from_name(NAME).unwrap().filter(|_| geteuid().is_root());
    if user.is_none() {
        eprintln!("SKIPPED: not root, or no user {NAME}");
    }
    user
}

/// A value of /proc/PID/status; `None` once the process has ended.
fn status(process: &Proc, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}:")))?;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// True when every process of the instance, of which there are more than `least`, is the user's, with no more
/// capabilities than reading needs, and gains none.
fn all_are(w: &World, user: &User, least: usize) -> bool {
    let family = w.instance.family();
    let id = |id: u32| [id.to_string().as_str(); 4].join(" ");
    let is = |p: &Proc| {
        let sets = ["CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"];
        let few = sets.iter().all(|set| {
            let bits = status(p, set).and_then(|bits| u64::from_str_radix(&bits, 16).ok());
            bits.is_some_and(|bits| bits & !(DAC_READ_SEARCH | SYS_PTRACE) == 0)
        });
        let same = status(p, "Uid") == Some(id(user.uid.as_raw()))
            && status(p, "Gid") == Some(id(user.gid.as_raw()))
            && status(p, "Groups").is_some_and(|groups| groups != "0");
        let traces = !p.command.starts_with("syncsup: pusher") || !can(p, SYS_PTRACE);
        same && few && traces && status(p, "NoNewPrivs").as_deref() == Some("1")
    };
    family.len() > least && family.iter().all(|p| is(p) || !p.runs() || p.state == 'Z')
}

fn can(process: &Proc, capability: u64) -> bool {
    let bits = status(process, "CapEff").unwrap_or_default();
    u64::from_str_radix(&bits, 16).unwrap_or(u64::MAX) & capability != 0
}

/// The names of the threads of a process with this capability.
fn threads_that_can(process: &Proc, capability: u64) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", process.pid)).unwrap().flatten();
    let able = threads.filter(|thread| {
        let text = fs::read_to_string(thread.path().join("status")).unwrap();
        let bits = text.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
        u64::from_str_radix(bits, 16).unwrap() & capability != 0
    });
    able.map(|t| fs::read_to_string(t.path().join("comm")).unwrap().trim().to_owned()).collect()
}

/// The owners of a directory and of everything in it.
fn owners(dir: &Path) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([fs::symlink_metadata(dir).unwrap().uid()]);
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let Ok(seen) = entry.metadata() else { continue };
        found.insert(seen.uid());
        if seen.is_dir() {
            found.extend(owners(&entry.path()));
        }
    }
    found
}

/// The user owns all that the instance has written. Files may come and go meanwhile.
fn owns_all(w: &World, user: &User) {
    for dir in [w.instance.state_dir(), w.instance.run_dir()] {
        assert_eq!(owners(&dir), BTreeSet::from([user.uid.as_raw()]), "{}", dir.display());
    }
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Replaces `from`, which the configuration contains, by `to`.
fn edit(w: &World, from: &str, to: &str) {
    let text = fs::read_to_string(w.instance.config()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(w.instance.config(), text.replacen(from, to, 1)).unwrap();
}

/// A file that only another user may read, in a directory that only root may enter.
fn write_secret(w: &World) {
    w.write("private/secret", "a secret");
    fs::set_permissions(w.at("private/secret"), fs::Permissions::from_mode(0o600)).unwrap();
    chown(w.at("private/secret"), Some(OTHER), Some(OTHER)).unwrap();
    fs::set_permissions(w.at("private"), fs::Permissions::from_mode(0o700)).unwrap();
}

/// A script for a plugin that writes into `seen` what it is and can do.
fn script(w: &World, user: &User, seen: &Path) -> PathBuf {
    let script = w.outside.join("script");
    let there = w.at("written");
    let text = format!(
        "#!/bin/sh\nexec >>'{}' 2>&1\nid -u; echo \"HOME $HOME\"; cat '{}'; echo\n\
         (: > '{}') && echo written; grep Cap /proc/self/status\necho end\n",
        seen.display(),
        w.at("private/secret").display(),
        there.display()
    );
    write(&script, text);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(seen, "").unwrap();
    chown(seen, Some(user.uid.as_raw()), None).unwrap();
    script
}

#[test]
fn every_process_is_the_users_and_reads_everything_and_writes_nothing_else() {
    let Some(user) = user() else { return };
    let (port, _reserved) = free_port();
    let settings = format!("user: {NAME}\nstandby: always\nhttp: '127.0.0.1:{port}'\n");
    // rsync reads the password file of root, which only root may read.
    let daemon = Options { auth: true, ..Options::default() };
    let mut w = Setup { daemon, settings: settings.leak(), ..Setup::default() }.build();
    let seen = w.outside.join("seen");
    let script = script(&w, &user, &seen);
    edit(
        &w,
        "standby: always\n",
        &format!("standby: always\nplugins:\n  - command: {{prefix: {script:?}}}\n"),
    );
    write_secret(&w);
    w.run(&[]);
    w.wait_identical();
    assert_eq!(fs::read(w.there("private/secret")).unwrap(), b"a secret");
    // Supervisor, watcher, pusher, standby, plugin runner, reporter.
    wait_for("all processes to be the user's", DEADLINE, || {
        !w.instance.standbys().is_empty() && all_are(&w, &user, 5)
    });
    assert_eq!(
        threads_that_can(&w.instance.watcher(), SYS_PTRACE),
        ["syncsup-search"],
        "it sees who writes"
    );
    w.write("private/more", "x");
    wait_for("the plugin's command", DEADLINE, || {
        fs::read_to_string(&seen).is_ok_and(|seen| seen.contains("end"))
    });
    let seen = fs::read_to_string(&seen).unwrap();
    let first = seen.split("end").next().unwrap();
    assert!(first.starts_with(&format!("{}\nHOME {}\n", user.uid, user.dir.display())), "{seen}");
    assert!(first.contains("a secret\n") && !first.contains("written\n"), "{seen}");
    assert!(first.contains(&format!("CapEff:\t{DAC_READ_SEARCH:016x}")), "{seen}");
    assert!(!w.at("written").exists(), "a write into the localpath");
    owns_all(&w, &user);
    w.instance.stop();
}

#[test]
fn root_commands_the_instance_of_a_user_and_its_children_restart_with_the_same_rights() {
    let Some(user) = user() else { return };
    let refused = Options { module_lines: "exclude = *refused*\n".into(), ..Options::default() };
    let settings = format!("user: {NAME}\n");
    let w = Setup { daemon: refused, settings: settings.leak(), ..Setup::default() }.build();
    let logs = w.outside.join("logs");
    fs::create_dir(&logs).unwrap();
    let fail_log = logs.join("fail.sh");
    edit(&w, "user:", &format!("fail_log: {{path: {fail_log:?}, retry: 1m}}\nuser:"));
    // A directory of root's is refused before anything starts.
    for command in [&["check"][..], &["-d"]] {
        let out = w.instance.command(command);
        let advice = format!("install -d -o {NAME} ");
        assert!(out.status.code() == Some(2) && said(&out).contains(&advice), "{}", said(&out));
    }
    chown(&logs, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    let out = w.instance.command(&["-d"]);
    assert!(out.status.success(), "{}", said(&out));
    w.write("file", "x");
    w.write("refused", "x");
    wait_for("the fail log", DEADLINE, || {
        fs::read_to_string(&fail_log).is_ok_and(|text| text.contains("refused"))
    });
    assert_eq!(fs::metadata(&fail_log).unwrap().uid(), user.uid.as_raw());
    let pusher = || w.instance.pusher(&w.remotes[0].name());
    for process in [w.instance.watcher(), pusher()] {
        process.signal(Signal::SIGKILL);
        wait_for("its end", DEADLINE, || !process.runs());
    }
    wait_for("both to run again", DEADLINE, || {
        w.instance.watcher().runs() && pusher().runs() && all_are(&w, &user, 2)
    });
    w.write("private/after", "x");
    fs::set_permissions(w.at("private/after"), fs::Permissions::from_mode(0o000)).unwrap();
    wait_for("a file that nobody may read", DEADLINE, || w.there("private/after").exists());
    // A reload is applied, but for the user.
    edit(&w, "user:", "filter: {exclude_glob: ['*.tmp']}\nuser:");
    let out = w.instance.command(&["reload"]);
    assert!(out.status.success(), "{}", said(&out));
    edit(&w, &format!("user: {NAME}"), "user: nobody");
    let out = w.instance.command(&["reload"]);
    assert!(!out.status.success() && said(&out).contains("takes a restart"), "{}", said(&out));
    owns_all(&w, &user);
    wait_for("all processes to be the user's", DEADLINE, || all_are(&w, &user, 2));
    assert!(w.instance.command(&["status"]).status.code() == Some(1), "a path fails");
    let out = w.instance.command(&["stop"]);
    assert!(out.status.success(), "{}", said(&out));
}

#[test]
fn the_state_of_root_becomes_the_users_and_nothing_foreign_does() {
    let Some(user) = user() else { return };
    let mut w = World::start(1);
    w.write("file", "x");
    w.wait_in_sync();
    let as_user = ["--user", NAME];
    // Nothing changes while the instance of root runs.
    let out = w.instance.command(&[&["-d"][..], &as_user].concat());
    assert!(out.status.code() == Some(4) && said(&out).contains("is locked"), "{}", said(&out));
    assert_eq!(owners(&w.instance.state_dir()), BTreeSet::from([0]));
    w.instance.stop();
    // A file that the instance did not create, its own file under another name, one of another user.
    let state = w.instance.state_dir();
    let journal = w.journal();
    type Plant<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);
    let plants: [Plant<'_>; 4] = [
        ("notes", &|path| fs::write(path, "").unwrap(), "syncsup did not create it"),
        ("syncsup.log.1", &|path| fs::hard_link(w.instance.config(), path).unwrap(), "hard link"),
        ("syncsup.log", &|path| symlink("/etc/passwd", path).unwrap(), "neither a file"),
        (
            "syncsup.log",
            &|path| {
                fs::write(path, "").unwrap();
                chown(path, Some(OTHER), None).unwrap();
            },
            "belongs to user 1234",
        ),
    ];
    for (name, plant, why) in plants {
        plant(&state.join(name));
        let out = w.instance.command(&[&["-d"][..], &as_user].concat());
        assert!(out.status.code() == Some(5) && said(&out).contains(why), "{name}: {}", said(&out));
        assert_eq!(fs::metadata(&state).unwrap().uid(), 0, "{name}");
        assert_eq!(fs::metadata(&journal).unwrap().uid(), 0, "{name}");
        fs::remove_file(state.join(name)).unwrap();
    }
    assert_eq!(fs::metadata(w.instance.config()).unwrap().uid(), 0);
    w.run(&as_user);
    w.write("more", "x");
    w.wait_identical();
    owns_all(&w, &user);
    wait_for("all processes to be the user's", DEADLINE, || all_are(&w, &user, 2));
    w.instance.stop();
    // Root uses the files of the stopped instance as their owner, and does not take them back.
    let out = w.instance.command(&["journal", "list"]);
    assert!(out.status.success(), "{}", said(&out));
    owns_all(&w, &user);
    let out = w.instance.command(&["-d"]);
    assert!(out.status.code() == Some(5), "{}", said(&out));
    assert!(said(&out).contains(&format!("belongs to user {}", user.uid)), "{}", said(&out));
}

#[test]
fn check_says_what_the_user_cannot_do() {
    if user().is_none() {
        return;
    }
    let settings = format!("user: {NAME}\nhttp: '127.0.0.1:1'\n");
    let params = "-a --open-noatime";
    let w = Setup { params, settings: settings.leak(), ..Setup::default() }.build();
    let fail_log = w.outside.join("fail.sh");
    edit(&w, "user:", &format!("fail_log: {{path: {fail_log:?}}}\nuser:"));
    fs::set_permissions(&w.outside, fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(&fail_log, "").unwrap();
    let out = w.instance.command(&["check"]);
    let text = said(&out);
    assert_eq!(out.status.code(), Some(2), "{text}");
    let least = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let ports = format!("user {NAME} can listen on port {} and above only", least.trim());
    let owner = format!("lets only its owner replace it; run chown {NAME} ");
    for why in [owner.as_str(), "with --open-noatime, rsync as user"] {
        assert!(text.contains(why), "{why}: {text}");
    }
    assert!(least.trim() == "0" || text.contains(&ports), "{text}");
    // Root could do all of this.
    edit(&w, &format!("user: {NAME}\n"), "");
    let out = w.instance.command(&["check"]);
    assert!(out.status.success(), "{}", said(&out));
}

#[test]
fn a_program_of_the_user_never_runs_as_root() {
    let Some(user) = user() else { return };
    let settings = format!("user: {NAME}\n");
    let w = Setup { log_rsyncs: true, settings: settings.leak(), ..Setup::default() }.build();
    let dir = w.outside.parent().unwrap();
    let (script, ran) = (dir.join("rsync"), w.outside.join("ran"));
    let text = format!("#!/bin/sh\nid -u >>'{}'\nexec rsync \"$@\"\n", ran.display());
    fs::write(&script, text).unwrap();
    fs::write(&ran, "").unwrap();
    for path in [&script, &ran] {
        chown(path, Some(user.uid.as_raw()), None).unwrap();
    }
    for command in [&["check"][..], &["check", "--connect"], &["-d"]] {
        let out = w.instance.command(command);
        assert!(out.status.success(), "{command:?}: {}", said(&out));
    }
    w.write("file", "x");
    w.wait_identical();
    let out = w.instance.command(&["stop"]);
    assert!(out.status.success(), "{}", said(&out));
    let out = w.instance.command(&["verify"]);
    assert!(out.status.success(), "{}", said(&out));
    let ran = fs::read_to_string(&ran).unwrap();
    assert!(ran.lines().count() > 4 && ran.lines().all(|id| id == user.uid.to_string()), "{ran}");
}

#[test]
fn the_user_must_exist_and_only_root_and_itself_start_its_instance() {
    let Some(user) = user() else { return };
    let mut w = Setup { settings: "user: no-such-user\n", ..Setup::default() }.build();
    let config = w.instance.config().display().to_string();
    for command in [&["check"][..], &["-d"]] {
        let out = w.instance.command(command);
        let text = said(&out);
        assert_eq!(out.status.code(), Some(2), "{command:?}: {text}");
        assert!(text.contains(&format!("{config}:2: user no-such-user: no such user")), "{text}");
    }
    edit(&w, "no-such-user", NAME);
    // Other users must be able to reach it.
    let mut above = w.outside.clone();
    while above.pop() && above != Path::new("/tmp") {
        fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let dir = w.instance.config().parent().unwrap().to_owned();
    let ids = |uid: u32, gid: u32| {
        let words = ["setpriv", "--reuid", &uid.to_string(), "--regid", &gid.to_string()];
        let words = words.map(String::from).into_iter().chain(["--clear-groups".into()]);
        words.map(Into::into).collect::<Vec<std::ffi::OsString>>()
    };
    w.instance.launcher = ids(OTHER, OTHER);
    let out = w.instance.command(&["check"]);
    let text = said(&out);
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(text.contains(&format!("only root and {NAME} can start")), "{text}");
    // Itself, with the rights that it has.
    w.instance.launcher = ids(user.uid.as_raw(), user.gid.as_raw());
    for path in [dir.as_path(), &w.master] {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    w.write("file", "x");
    w.run(&[]);
    wait_for("the file", DEADLINE, || w.there("file").exists());
    let watcher = poll(DEADLINE, || w.instance.watchers().pop()).unwrap();
    assert!(!can(&watcher, DAC_READ_SEARCH), "it gained nothing");
    owns_all(&w, &user);
    w.instance.stop();
}
