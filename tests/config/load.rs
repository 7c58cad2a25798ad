//! Several files as one configuration, the checks across them, and what the machine is asked.

use crate::common::SAMPLE;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use syncsup::config::check;
use syncsup::config::diagnostic::Severity;
use syncsup::config::here::{self, Daemon};
use syncsup::config::model::Config;
use syncsup::config::probe::{Machine, PasswordFile, Probe, Program, Watch};
use syncsup::config::{Loaded, parse, read, sender};
use syncsup::filter::Filter;

/// The files, and what they say of this machine, as at a start.
fn load(files: &[PathBuf], probe: &dyn Probe) -> Loaded {
    let mut loaded = read(files);
    loaded.diagnostics.extend(check::roots(&loaded.config, probe));
    loaded
}

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The findings, with the directory cut off.
    fn told(&self, loaded: &Loaded, severity: Severity) -> Vec<String> {
        let prefix = format!("{}/", self.dir.path().display());
        let found = loaded.diagnostics.iter().filter(|d| d.severity == severity);
        found.map(|d| d.to_string().replace(&prefix, "")).collect()
    }

    fn errors(&self, names: &[&str]) -> Vec<String> {
        let files: Vec<_> = names.iter().map(|n| self.path(n)).collect();
        self.told(&read(&files), Severity::Error)
    }
}

fn one(text: &str) -> Vec<String> {
    Files::new(&[("a.yaml", text)]).errors(&["a.yaml"])
}

fn yaml(watch: &str, remotes: &str) -> String {
    format!("localpaths:\n- watch: {watch}\n  remotes: [{remotes}]\n")
}

#[test]
fn a_directory_may_hold_both_formats() {
    let spaced = format!(
        "\n\n  {}",
        SAMPLE.trim_start_matches("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>")
    );
    let files = Files::new(&[
        ("b.yaml", &yaml("/b", "'h::b'")),
        ("a.xml", &spaced),
        ("c.yml", &yaml("/c", "'h::c'")),
        ("README", "no configuration"),
        (".b.yaml.swp", "\0"),
    ]);
    let loaded = read(&[files.dir.path().to_owned(), files.path("b.yaml")]);
    assert_eq!(files.told(&loaded, Severity::Error), Vec::<String>::new());
    let watches: Vec<_> = loaded.config.localpaths.iter().map(|l| l.watch.to_string()).collect();
    assert_eq!(watches, ["/opt/tongbu", "/b", "/c"]);
    assert_eq!(loaded.config.files, ["a.xml", "b.yaml", "c.yml"].map(|n| files.path(n)));
}

#[test]
fn unreadable_files_are_errors() {
    let files = Files::new(&[]);
    assert_eq!(
        files.errors(&["none.xml"]),
        ["none.xml: cannot be read: No such file or directory"]
    );
    fs::create_dir(files.path("empty")).unwrap();
    assert_eq!(
        files.errors(&["empty"]),
        ["empty: contains no *.xml, *.yaml or *.yml; add a configuration"]
    );
}

#[test]
fn a_password_without_a_user_is_warned_of_once() {
    let text = "localpaths:\n  - watch: /a\n    remotes:\n      - {host: h, module: a, password_file: /p}\n\
                \x20     - {host: h, module: b, password_file: /p}\n      - {host: h, module: c, password_file: /q, user: u}\n\
                \x20     - u@h::d\n";
    let files = Files::new(&[("c.yaml", text)]);
    let loaded = read(&[files.path("c.yaml")]);
    assert_eq!(files.told(&loaded, Severity::Error), Vec::<String>::new());
    let warnings = files.told(&loaded, Severity::Warning);
    let without = warnings.iter().filter(|text| text.contains("without a user"));
    let without: Vec<&str> = without.map(|text| text.split(':').nth(1).unwrap()).collect();
    assert_eq!(without, ["4"], "{warnings:?}");
}

#[test]
fn a_duplicate_remote_is_kept_once() {
    let xml = SAMPLE.replace(
        "<!--<remote ip=\"192.168.8.39\" name=\"tongbu\"/>-->",
        "<remote ip=\"127.0.0.1\" name=\"tongbu1/\"/>",
    );
    let files = Files::new(&[("c.xml", &xml)]);
    let loaded = read(&[files.path("c.xml")]);
    assert_eq!(files.told(&loaded, Severity::Error), Vec::<String>::new());
    let warnings = files.told(&loaded, Severity::Warning);
    let expected = "c.xml:26: warning: remote 127.0.0.1::tongbu1 is given twice for /opt/tongbu (first at c.xml:25); \
                    the second is ignored";
    assert!(warnings.contains(&expected.to_owned()), "{warnings:?}");
    assert_eq!(loaded.config.localpaths[0].remotes.len(), 1);
}

#[test]
fn a_localpath_in_two_places_is_merged_unless_settings_differ() {
    let files = Files::new(&[
        ("a.yaml", &yaml("/d", "'h::a'")),
        ("b.yaml", &yaml("/d/", "'h::b'")),
        ("c.yaml", &yaml("/d", "'h::a'")),
        ("d.yaml", &format!("delay: 9ms\n{}", yaml("/d", "'h::d'"))),
    ]);
    let merged = read(&[files.path("a.yaml"), files.path("b.yaml")]);
    assert_eq!(files.told(&merged, Severity::Error), Vec::<String>::new());
    let [localpath] = merged.config.localpaths.as_slice() else {
        panic!("{:?}", merged.config.localpaths)
    };
    assert_eq!(localpath.remotes.iter().map(|r| r.name()).collect::<Vec<_>>(), ["h::a", "h::b"]);
    assert_eq!(
        files.errors(&["a.yaml", "c.yaml"]),
        ["c.yaml:3: localpath /d with remote h::a is already declared at a.yaml:3; remove one"]
    );
    assert_eq!(
        files.errors(&["a.yaml", "d.yaml"]),
        [
            "d.yaml:3: localpath /d is declared twice with different settings (first at a.yaml:2); declare it once, with all its remotes"
        ]
    );
}

#[test]
fn localpaths_with_overlapping_destinations_are_reported() {
    let pair = |a: &str, b: &str, x: &str, y: &str| {
        one(&format!(
            "localpaths:\n- {{watch: {a}, remotes: ['{x}']}}\n- {{watch: {b}, remotes: ['{y}']}}\n"
        ))
    };
    let inside = pair("/d", "/d/sub", "h::m", "h::m");
    assert_eq!(inside.len(), 1, "{inside:?}");
    assert!(
        inside[0].starts_with(
            "a.yaml:3: /d/sub to h::m and /d to h::m (a.yaml:2): one inside the other"
        ),
        "{inside:?}"
    );
    assert_eq!(pair("/d/sub", "/d", "h::m/x", "H::m").len(), 1);
    assert_eq!(pair("/d", "/d/sub", "h:/srv", "h:/srv/sub").len(), 1);
    assert_eq!(pair("/a", "/b", "h::m", "h::m").len(), 1, "each would delete what the other sent");
    for (x, y) in [
        ("h::m", "h::n"),
        ("h::m", "g::m"),
        ("h::m", "h:874::m"),
        ("h::m", "h::mm"),
        ("h::m", "h:/m"),
    ] {
        assert_eq!(pair("/d", "/d/sub", x, y), Vec::<String>::new(), "{x} {y}");
    }
    let keep = "inotify: {delete: false}\nlocalpaths:\n- {watch: /a, remotes: ['h::m']}\n- {watch: /b, remotes: ['h::m']}\n";
    let files = Files::new(&[("a.yaml", keep)]);
    let loaded = read(&[files.path("a.yaml")]);
    assert_eq!(files.told(&loaded, Severity::Error), Vec::<String>::new());
    assert_eq!(files.told(&loaded, Severity::Warning).len(), 1);
}

#[test]
fn nested_remotes_of_one_localpath_are_reported() {
    let pair = |x: &str, y: &str| one(&yaml("/d", &format!("'{x}', '{y}'")));
    let told = pair("h::m", "h::m/backup");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with(
            "a.yaml:3: /d to h::m/backup and to h::m (a.yaml:3): one destination lies inside the other"
        ),
        "{told:?}"
    );
    for (x, y) in [
        ("u@h:/srv", "h:/srv/www"),
        ("h:/srv/www", "v@H:/srv//"),
        ("rsync://h/m", "h:873::m/a"),
        ("[::1]::m/a/b", "u@[0:0::1]::m/a"),
    ] {
        assert_eq!(pair(x, y).len(), 1, "{x} {y}");
    }
    for (x, y) in
        [("h::m", "h::m2"), ("h::m", "h:874::m/a"), ("h:/srv", "h:/srv2"), ("h::m", "g::m/a")]
    {
        assert_eq!(pair(x, y), Vec::<String>::new(), "{x} {y}");
    }
    // Declared in two files, it is one localpath.
    let files =
        Files::new(&[("a.yaml", &yaml("/d", "'h::m'")), ("b.yaml", &yaml("/d", "'h::m/x'"))]);
    assert_eq!(files.errors(&["a.yaml", "b.yaml"]).len(), 1);
    let xml = SAMPLE.replace(
        "<!--<remote ip=\"192.168.8.39\" name=\"tongbu\"/>-->",
        "<remote ip=\"127.0.0.1\" name=\"tongbu1/inner\"/>",
    );
    let files = Files::new(&[("c.xml", &xml)]);
    assert_eq!(files.errors(&["c.xml"]).len(), 1);
}

/// A machine that is the slave, too.
struct Slave(&'static str);

impl Probe for Slave {
    fn watch(&self, path: &Path) -> Watch {
        Bare.watch(path)
    }
    fn password_file(&self, path: &Path) -> PasswordFile {
        Bare.password_file(path)
    }
    fn program(&self, _: &Path) -> Program {
        Program::Unknown
    }
    fn user(&self) -> u32 {
        0
    }
    fn rsync_version(&self, program: &std::ffi::OsStr) -> Option<String> {
        Bare.rsync_version(program)
    }
    fn directories(&self, path: &Path, filter: &Filter) -> u64 {
        Bare.directories(path, filter)
    }
    fn max_user_watches(&self) -> Option<u64> {
        None
    }
    fn is_here(&self, host: &str) -> bool {
        host == "10.0.0.1"
    }
    fn daemon(&self) -> Daemon {
        here::daemon(self.0.as_bytes())
    }
    fn real(&self, path: &Path) -> PathBuf {
        path.to_str().map_or(path.to_owned(), |p| p.replace("/link", "/d").into())
    }
}

#[test]
fn a_remote_inside_its_own_localpath_is_reported() {
    let conf = "[in]\npath = /link/backup\n[out]\npath = /srv/backup\n[above]\npath=/\n";
    let told = |remote: &str| {
        let files = Files::new(&[("a.yaml", &yaml("/d", &format!("'{remote}'")))]);
        let config = read(&[files.path("a.yaml")]).config;
        files.told(
            &Loaded { config: config.clone(), diagnostics: check::roots(&config, &Slave(conf)) },
            Severity::Warning,
        )
    };
    for (remote, word) in [
        ("10.0.0.1::in", "lies in the localpath"),
        ("10.0.0.1::in/www", "lies in the localpath"),
        ("10.0.0.1::above", "contains the localpath"),
        ("10.0.0.1::above/d", "is the localpath itself"),
        ("u@10.0.0.1:/d/copy", "lies in the localpath"),
        ("10.0.0.1:/link", "is the localpath itself"),
    ] {
        let told = told(remote);
        assert!(told.len() == 1 && told[0].contains(word), "{remote}: {told:?}");
    }
    for remote in
        ["10.0.0.2::in", "10.0.0.1::out", "10.0.0.1:874::in", "10.0.0.1:/srv", "10.0.0.1::x"]
    {
        assert_eq!(told(remote), Vec::<String>::new(), "{remote}");
    }
}

#[test]
fn two_remotes_with_one_name_are_reported() {
    let text =
        "localpaths:\n- watch: /d\n  remotes:\n  - h:/p\n  - {host: h, path: /p, port: 23}\n";
    assert_eq!(
        one(text),
        ["a.yaml:5: two remotes of /d have the name h:/p (the other at a.yaml:4)"]
    );
}

#[test]
fn a_missing_watch_directory_is_reported() {
    let files = Files::new(&[("file", "")]);
    let dir = files.dir.path().display();
    let text = format!(
        "localpaths:\n- {{watch: {dir}, remotes: ['h::a']}}\n- {{watch: {dir}/none, remotes: ['h::b']}}\n\
         - {{watch: {dir}/file, remotes: ['h::c']}}\n"
    );
    fs::write(files.path("c.yaml"), text).unwrap();
    let loaded = load(&[files.path("c.yaml")], &Machine);
    assert_eq!(
        files.told(&loaded, Severity::Error),
        [
            "c.yaml:3: localpath watch=\"none\": no such directory; create it or correct the path",
            "c.yaml:4: localpath watch=\"file\": not a directory; name the directory that contains it",
        ]
    );
    let xml = files.path("c.xml");
    fs::write(&xml, SAMPLE.replace("/opt/tongbu\">\n\t    <remote", "/dat\">\n\t    <remote"))
        .unwrap();
    let errors = files.told(&load(&[xml], &Machine), Severity::Error);
    assert_eq!(
        errors,
        ["c.xml:24: localpath watch=\"/dat\": no such directory; create it or correct the path"]
    );
}

#[test]
fn password_files_are_checked() {
    let files = Files::new(&[("p", "secret\n"), ("empty", "")]);
    let look = |name: &str, mode: u32| {
        fs::set_permissions(files.path(name), fs::Permissions::from_mode(mode)).unwrap();
        let state = Machine.password_file(&files.path(name));
        check::password_warning("p", &state, Machine.user()).unwrap_or_default()
    };
    for good in [0o600, 0o400, 0o640] {
        assert_eq!(look("p", good), "", "{good:o}");
    }
    assert!(
        look("p", 0o644).contains("its mode is 0644") && look("p", 0o644).contains("chmod 600 p")
    );
    assert!(look("empty", 0o600).contains("it is empty"));
    let missing = Machine.password_file(&files.path("none"));
    assert_eq!(missing, PasswordFile::Missing);
    assert!(check::password_warning("p", &missing, 0).unwrap().contains("no such file"));
    let foreign = PasswordFile::Found { mode: 0o600, owner: 7, size: 3, start: b"abc".into() };
    assert!(check::password_warning("p", &foreign, 0).unwrap().contains("chown root p"));
    assert_eq!(check::password_warning("p", &foreign, 7), None);
}

#[test]
fn extra_text_in_a_password_file_is_reported() {
    let told = |content: &[u8]| {
        let files = Files::new(&[]);
        fs::write(files.path("p"), content).unwrap();
        let state = Machine.password_file(&files.path("p"));
        check::password_content_warning("p", &state, Some("web")).unwrap_or_default()
    };
    for good in [&b"geheim\n"[..], b"geheim", b"geheim\r\n", b"\ngeheim\n", b"s e:c#ret\n \n", b""]
    {
        assert_eq!(told(good), "", "{good:?}");
    }
    for (bad, word) in [
        (&b"\xef\xbb\xbfgeheim\n"[..], "BOM"),
        (b"geheim \n", "write only the password"),
        (b"geheim\t\r\n", "write only the password"),
        (b" geheim\n", "write only the password"),
        (b"   \ngeheim\n", "write only the password"),
        (b"web:geheim\n", "write only the password"),
        (b"# of the slave\ngeheim\n", "write only the password"),
        (b"s\0e\0c\0", "NUL"),
    ] {
        let told = told(bad);
        assert!(told.contains(word) && !told.contains("geheim"), "{bad:?}: {told}");
    }
}

#[test]
fn a_fail_log_needs_its_directory() {
    let files = Files::new(&[("a.yaml", &yaml("/", "'h::a'"))]);
    let mut config = read(&[files.path("a.yaml")]).config;
    let mut told = |path: &Path| {
        config.localpaths[0].fail_log = Some(syncsup::config::model::FailLog {
            path: path.into(),
            place: Default::default(),
            retry_minutes: 60,
        });
        check::roots(&config, &Machine).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(&files.path("f.sh")), Vec::<String>::new());
    let missing = told(&files.path("none/f.sh"));
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(
        missing[0].contains("warning: fail log") && missing[0].contains("mkdir -p"),
        "{missing:?}"
    );
}

#[test]
fn a_warning_about_a_file_names_the_line_that_names_it() {
    let yaml = "rsync:\n  auth:\n    password_file: /none/a\nfail_log:\n  path: /none/f\n\
        localpaths:\n  - watch: /\n    remotes:\n      - 'u@h::a'\n      - host: h\n        module: b\n        user: u\n        password_file: /none/b\n";
    let xml = "<head><sersync><localpath watch=\"/\">\n<remote ip=\"h\" name=\"m\"/>\n</localpath>\n\
        <rsync><commonParams params=\"-a\"/>\n\
        <auth start=\"true\" users=\"u\"\n passwordfile=\"/none/a\"/></rsync>\n\
        <failLog path=\"/none/f\"/></sersync></head>\n";
    let params = "<head><sersync><localpath watch=\"/\">\n<remote ip=\"u@h\" name=\"m\"/>\n</localpath>\n\
        <rsync>\n<commonParams params=\"-a --password-file=/none/a\"/></rsync>\n</sersync></head>\n";
    for (name, text, lines) in [
        ("c.yaml", yaml, &[("/none/a", 3), ("/none/b", 13), ("/none/f", 5)][..]),
        ("c.xml", xml, &[("/none/a", 5), ("/none/f", 7)]),
        ("d.xml", params, &[("/none/a", 5)]),
    ] {
        let files = Files::new(&[(name, text)]);
        let loaded = read(&[files.path(name)]);
        let found = check::roots(&loaded.config, &Machine);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        for (file, line) in lines {
            let at = format!("{name}:{line}: ");
            let named = found.iter().any(|text| text.contains(&at) && text.contains(file));
            assert!(named, "{file}, {line}: {found:#?}");
        }
    }
}

#[test]
fn old_rsync_versions_are_reported() {
    let line = |v: &str| format!("rsync  version {v}  protocol version 31");
    for good in ["3.5.0pre1", "3.5.1", "v3.6.0", "4.0"] {
        assert_eq!(sender::rsync_warning("rsync", Some(&line(good))), None, "{good}");
    }
    for old in ["3.1.0", "3.2.7", "v3.4.4"] {
        let warning = sender::rsync_warning("rsync", Some(&line(old))).unwrap();
        assert!(warning.contains("install 3.5.0") && warning.contains("CVE"), "{old}: {warning}");
    }
    assert!(
        sender::rsync_warning("rsync", Some(&line("3.0.9")))
            .unwrap()
            .contains("is 3.0.9; install 3.1.0")
    );
    assert!(
        sender::rsync_warning("rsync", Some("openrsync"))
            .unwrap()
            .contains("does not print its version")
    );
    assert!(sender::rsync_warning("/no/rsync", None).unwrap().contains("was not found"));
    assert_eq!(Machine.rsync_version("/no/rsync".as_ref()), None);
    if let Some(real) = Machine.rsync_version("rsync".as_ref()) {
        assert!(real.starts_with("rsync"), "{real}");
    }
}

#[test]
fn a_low_inotify_limit_is_reported() {
    let command = check::watches_warning(100_000, 8192).unwrap();
    assert!(command.contains("sysctl -w fs.inotify.max_user_watches=262144"), "{command}");
    assert_eq!(check::watches_warning(8192, 8192), None);
    assert!(Machine.max_user_watches().is_some());
    let files = Files::new(&[("a.yaml", &yaml("/d", "'h::a'"))]);
    for d in ["x/y", "x/z", ".git/a"] {
        fs::create_dir_all(files.path(d)).unwrap();
    }
    std::os::unix::fs::symlink("x", files.path("link")).unwrap();
    let mut rules = read(&[files.path("a.yaml")]).config.localpaths[0].filter.clone();
    assert_eq!(Machine.directories(files.dir.path(), &Filter::new(&rules).unwrap()), 6);
    rules.exclude_glob.push(".git".into());
    assert_eq!(Machine.directories(files.dir.path(), &Filter::new(&rules).unwrap()), 4);
}

/// A machine that lacks everything.
struct Bare;

impl Probe for Bare {
    fn watch(&self, _: &Path) -> Watch {
        Watch::Directory
    }
    fn password_file(&self, _: &Path) -> PasswordFile {
        PasswordFile::Missing
    }
    fn program(&self, _: &Path) -> Program {
        Program::Unknown
    }
    fn user(&self) -> u32 {
        0
    }
    fn rsync_version(&self, _: &std::ffi::OsStr) -> Option<String> {
        None
    }
    fn directories(&self, _: &Path, _: &Filter) -> u64 {
        70_000
    }
    fn max_user_watches(&self) -> Option<u64> {
        Some(65_536)
    }
    fn is_here(&self, _: &str) -> bool {
        false
    }
    fn daemon(&self) -> Daemon {
        Daemon::default()
    }
    fn real(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}

#[test]
fn each_missing_requirement_is_reported_once() {
    let farm =
        parse(include_bytes!("../../examples/web-farm/web-farm.yaml"), Path::new("f.yaml")).config;
    let told = |config: &Config| -> Vec<String> {
        let found = check::roots(config, &Bare).into_iter().chain(check::machine(config, &Bare));
        found.map(|d| d.to_string()).collect()
    };
    let found = told(&farm);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("password file /etc/rsync.password: no such file"), "{found:?}");
    assert!(found[1].contains("rsync program rsync was not found"), "{found:?}");
    assert!(found[2].starts_with("warning: 280000 directories to watch"), "{found:?}");
}

#[test]
fn the_examples_are_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for name in ["minimal.yaml", "web-farm/web-farm.yaml", "confxml.xml"] {
        let loaded = read(&[examples.join(name)]);
        let errors: Vec<_> =
            loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert!(!loaded.config.localpaths.is_empty());
    }
    let farm = read(&[examples.join("web-farm/web-farm.yaml")]);
    assert!(farm.diagnostics.is_empty(), "{:?}", farm.diagnostics);
    assert_eq!(
        farm.config.localpaths.iter().map(|l| l.remotes.len()).collect::<Vec<_>>(),
        [3, 3, 2, 1]
    );
}

/// A real daemon reads the slave's file: it knows every parameter, and admits only the master.
#[test]
fn the_example_rsyncd_conf_is_accepted_and_admits_only_the_master() {
    let text = include_str!("../../examples/rsyncd.conf");
    for needed in
        ["use chroot = yes", "socket options = TCP_NODELAY", "max connections = 0", "auth users = "]
    {
        assert!(text.contains(needed), "{needed}");
    }
    let files = Files::new(&[]);
    let at = |name: &str| files.path(name).display().to_string();
    let text = text
        .replace("/run/rsyncd.pid", &at("pid"))
        .replace("/var/log/rsyncd.log", &at("log"))
        .replace("/data/www", &at(""));
    fs::write(files.path("rsyncd.conf"), text).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut daemon = Command::new("rsync")
        .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
        .args([format!("--port={port}"), format!("--config={}", at("rsyncd.conf"))])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let said = loop {
        let url = format!("rsync://127.0.0.1:{port}/www/");
        let output = Command::new("rsync")
            .args(["--contimeout=5", &url])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let log = fs::read_to_string(files.path("log")).unwrap_or_default();
        if log.contains("denied") || Instant::now() > deadline {
            break said;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let log = fs::read_to_string(files.path("log")).unwrap_or_default();
    assert!(log.contains("rsync denied on module www"), "{said} {log}");
    assert!(!log.to_lowercase().contains("unknown") && !log.contains("IGNORING"), "{log}");
}

/// root may name any file.
#[test]
fn no_content_of_an_unrelated_file_is_shown() {
    let files = Files::new(&[
        ("shadow", "root:$y$geheim:19000:0:99999:7:::\nsync:*:20228:0:99999:7:::\n"),
        ("password", "geheim\n"),
        ("user", "web:geheim\n"),
        ("quoted", "\"geheim\n"),
        ("list", "- geheim\n- 'geheim'\n"),
        ("other.yaml", "host: db\nuser: web\npassword: geheim\n"),
        ("flow", "{geheim: [geheim, *geheim]}\n"),
        ("other.xml", "<config><password>geheim</password></config>\n"),
        ("broken.xml", "<geheim a=geheim>geheim</geheim\n"),
        ("mail", "<geheim@example.org> geheim\n"),
    ]);
    let names = ["shadow", "password", "user", "quoted", "list", "other.yaml", "flow"];
    for name in names.into_iter().chain(["other.xml", "broken.xml", "mail"]) {
        let told = read(&[files.path(name)]).diagnostics;
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert!(told.len() == 1 && !told[0].contains("geheim"), "{name}: {told:?}");
    }
}

#[test]
fn late_yaml_errors_have_the_line_of_the_mistake() {
    for (text, line, word) in [
        ("localpaths:\n- watch:/d\n  remotes: [h::m]\n", 2, "no blank after the colon"),
        ("localpaths:\n- watch: /d\n  remotes:[h::m]\n", 3, "no blank after the colon"),
        (
            "delay:3ms\nlocalpaths:\n- watch: /d\n  remotes: ['h::m']\n",
            1,
            "no blank after the colon",
        ),
        ("localpaths: [{watch:/d, remotes: ['h::m']}]\n", 1, "no blank after the colon"),
        ("localpaths:\n- watch: /d\n  remotes: [[::1]::www]\n", 3, "quote"),
        ("localpaths:\n- watch: /d\n  remotes:\n  - [::1]::www\n", 4, "quote"),
        ("localpaths:\n- watch: /d\n  remotes:\n  - [fe80::1]:874::www\n", 4, "quote"),
    ] {
        let told = one(text);
        assert!(told[0].starts_with(&format!("a.yaml:{line}: ")), "{text}: {told:?}");
        assert!(told[0].contains(word), "{text}: {told:?}");
    }
}

#[test]
fn shell_and_url_notation_in_paths_and_users_is_reported() {
    for (path, word) in [
        ("~/data", "home directory"),
        ("$HOME/data", "expands variables"),
        ("./data", "relative"),
        ("\"/da\\0ta\"", "NUL"),
    ] {
        let told = one(&yaml(path, "'h::m'"));
        assert!(told.len() == 1 && told[0].contains(word), "{path}: {told:?}");
        assert!(!told[0].contains(&format!("as /{path}")), "{path}: {told:?}");
    }
    for text in [
        yaml("/d", "'web:geheim@h::m'"),
        yaml("/d", "'rsync://web:geheim@h/m'"),
        yaml("/d", "{host: h, module: m, user: 'web:geheim'}"),
        format!("rsync: {{auth: {{user: 'web:geheim'}}}}\n{}", yaml("/d", "'h::m'")),
    ] {
        let told = one(&text);
        assert!(told.len() == 1 && told[0].contains("password_file"), "{text}: {told:?}");
        assert!(!told[0].contains("geheim"), "{text}: {told:?}");
    }
}

#[test]
fn login_failures_come_with_advice() {
    let files = Files::new(&[("p", "web:geheim\n")]);
    let text = yaml("/", "'web@h::www', 'h::img'");
    let mut remotes =
        parse(text.as_bytes(), Path::new("a.yaml")).config.localpaths.remove(0).remotes;
    let file = files.path("p");
    let hint = |remote: &syncsup::config::model::Remote| {
        let state = remote.peer.password_file.as_ref().map(|_| Machine.password_file(&file));
        check::login_hint(remote, state.as_ref(), Machine.user())
    };
    assert!(hint(&remotes[0]).contains("user web of module www: no password_file"));
    assert!(hint(&remotes[1]).contains("no user is given for module img"));
    remotes[0].peer.password_file = Some(file.as_path().into());
    for (content, word) in [
        ("web:geheim\n", "write only the password"),
        ("\u{feff}geheim\n", "BOM"),
        ("geheim\n", "`secrets file`"),
        ("", "it is empty"),
    ] {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let hint = hint(&remotes[0]);
        assert!(hint.contains(word) && hint.starts_with("user web of module www: "), "{hint}");
        assert!(!hint.contains("geheim"), "{hint}");
    }
}

#[test]
fn a_script_with_crlf_is_reported_wherever_it_is_named() {
    let files = Files::new(&[("crlf", "#!/bin/sh\r\nexit\r\n"), ("bom", "\u{feff}#!/bin/sh\n")]);
    fs::write(files.path("fine"), "#!/bin/sh\nexit\n").unwrap();
    let told = |script: &str, what: &str| {
        let path = files.path(script).display().to_string();
        let text = what.replace("SCRIPT", &path);
        let config = parse(text.as_bytes(), Path::new("a.yaml")).config;
        assert_eq!(config.localpaths.len(), 1, "{text}");
        files.told(
            &Loaded { diagnostics: check::roots(&config, &Machine), config },
            Severity::Warning,
        )
    };
    let localpath = "localpaths:\n- watch: /\n  remotes: ['h::m']\n";
    for what in [
        format!("{localpath}  plugins: [{{command: {{prefix: SCRIPT -v}}}}]\n"),
        format!("{localpath}  plugins: [{{command: {{prefix: /bin/sh SCRIPT}}}}]\n"),
        format!("on_failure: SCRIPT\n{localpath}"),
        format!("on_recovery: [SCRIPT, a]\n{localpath}"),
        format!("rsync: {{program: SCRIPT}}\n{localpath}"),
        format!("rsync: {{params: [-a, -e, SCRIPT -p 1]}}\n{localpath}"),
    ] {
        for (script, word) in [("crlf", "carriage return"), ("bom", "BOM")] {
            let told = told(script, &what);
            assert!(told.len() == 1 && told[0].contains(word), "{what}: {told:?}");
        }
        assert_eq!(told("fine", &what), Vec::<String>::new());
        let missing = told("missing", &what);
        let of_rsync = what.contains("program:");
        assert_eq!(missing.len(), usize::from(!of_rsync), "{what}: {missing:?}");
        assert!(missing.iter().all(|text| text.contains("no such file")), "{missing:?}");
    }
}

#[test]
fn a_nul_in_an_argument_is_refused() {
    let localpath = "localpaths:\n- watch: /\n  remotes: ['h::m']\n";
    for (text, line) in [
        (format!("rsync: {{params: [-a, \"--exclude=a\\0b\"]}}\n{localpath}"), 1),
        (format!("rsync: {{params: \"-a --exclude=a\\0b\"}}\n{localpath}"), 1),
        (format!("on_failure: \"/bin/a\\0b\"\n{localpath}"), 1),
        (format!("on_failure: [/bin/a, \"a\\0b\"]\n{localpath}"), 1),
        (format!("{localpath}  plugins: [{{command: {{prefix: \"/bin/a\\0b\"}}}}]\n"), 4),
        (format!("{localpath}  plugins: [{{command: {{prefix: a, suffix: \"a\\0b\"}}}}]\n"), 4),
    ] {
        let errors = one(&text);
        assert!(errors.len() == 1 && errors[0].contains("NUL"), "{text}: {errors:?}");
        assert!(errors[0].starts_with(&format!("a.yaml:{line}:")), "{errors:?}");
    }
}
