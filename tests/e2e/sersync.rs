//! sersync's own configuration file and options.

use crate::common::instance::Instance;
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::rsyncd::{Options, Rsyncd, USER, free_port};
use crate::common::tree::Tree;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{populate, write};
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use tempfile::TempDir;

/// What sersync 2.5.4 ships, with places for the paths, the user and the port.
pub const CONFXML: &str = r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<head version="2.5">
    <host hostip="localhost" port="@HOST_PORT@"></host>
    <debug start="false"/>
    <fileSystem xfs="false"/>
    <filter start="false">
	<exclude expression="(.*)\.svn"></exclude>
	<exclude expression="(.*)\.gz"></exclude>
	<exclude expression="^info/*"></exclude>
	<exclude expression="^static/*"></exclude>
    </filter>
    <inotify>
	<delete start="true"/>
	<createFolder start="true"/>
	<createFile start="false"/>
	<closeWrite start="true"/>
	<moveFrom start="true"/>
	<moveTo start="true"/>
	<attrib start="false"/>
	<modify start="false"/>
    </inotify>

    <sersync>
	<localpath watch="@MASTER@">
	    <remote ip="127.0.0.1" name="tongbu1"/>
	    <!--<remote ip="192.168.8.39" name="tongbu"/>-->
	    <!--<remote ip="192.168.8.40" name="tongbu"/>-->
	</localpath>
	<rsync>
	    <commonParams params="-artuz"/>
	    <auth start="true" users="@USER@" passwordfile="@PASSWORD@"/>
	    <userDefinedPort start="true" port="@PORT@"/><!-- port=874 -->
	    <timeout start="true" time="100"/><!-- timeout=100 -->
	    <ssh start="false"/>
	</rsync>
	<failLog path="@FAIL_LOG@" timeToExecute="60"/><!--default every 60mins execute once-->
	<crontab start="false" schedule="600"><!--600mins-->
	    <crontabfilter start="false">
		<exclude expression="*.php"></exclude>
		<exclude expression="info/*"></exclude>
	    </crontabfilter>
	</crontab>
	<plugin start="false" name="command"/>
    </sersync>

    <plugin name="command">
	<param prefix="/bin/sh" suffix="" ignoreError="true"/>	<!--prefix /opt/tongbu/mmm.sh suffix-->
	<filter start="false">
	    <include expression="(.*)\.php"/>
	    <include expression="(.*)\.sh"/>
	</filter>
    </plugin>

    <plugin name="socket">
	<localpath watch="/opt/tongbu">
	    <deshost ip="192.168.138.20" port="8009"/>
	</localpath>
    </plugin>
    <plugin name="refreshCDN">
	<localpath watch="/data0/htdocs/cms.xoyo.com/site/">
	    <cdninfo domainname="ccms.chinacache.com" port="80" username="xxxx" passwd="xxxx"/>
	    <sendurl base="http://pic.xoyo.com/cms"/>
	    <regexurl regex="false" match="cms.xoyo.com/site([/a-zA-Z0-9]*).xoyo.com/images"/>
	</localpath>
    </plugin>
</head>
"#;

/// A master with a confxml.xml as sersync 2.5.4 ships it, its paths, port and password file in place.
struct Sersync {
    instance: Instance,
    slave: Rsyncd,
    master: PathBuf,
    /// What `<host>` names, and the lock that keeps others off it.
    host_port: (u16, UnixListener),
    _dir: TempDir,
}

impl Sersync {
    fn new() -> Sersync {
        let dir = TempDir::with_prefix("syncsup-test-").unwrap();
        let master = dir.path().join("opt/tongbu");
        fs::create_dir_all(&master).unwrap();
        let slave = Rsyncd::start_with(&["tongbu1"], Options { auth: true, ..Options::default() });
        let (fail_log, host_port) = (dir.path().join("rsync_fail_log.sh"), free_port());
        let mut text = CONFXML.to_string();
        for (mark, value) in [
            ("@MASTER@", master.display().to_string()),
            ("@HOST_PORT@", host_port.0.to_string()),
            ("@USER@", USER.to_string()),
            ("@PASSWORD@", slave.password_file().display().to_string()),
            ("@PORT@", slave.port.to_string()),
            ("@FAIL_LOG@", fail_log.display().to_string()),
        ] {
            text = text.replace(mark, &value);
        }
        let instance = Instance::new(&dir.path().join("instance"), "confxml.xml", &text);
        Sersync { instance, slave, master, host_port, _dir: dir }
    }

    /// Names and content arrived; sersync's default has `attrib` off, so times of directories may lag behind.
    fn wait_same_names(&self) {
        let names = |path: &PathBuf| Tree::read(path).names();
        wait_for("the same names", DEADLINE, || names(&self.master) == names(&self.slave.path()));
    }

    fn wait_content(&self, path: &str, content: &str) {
        let there = self.slave.path().join(path);
        wait_for(path, DEADLINE, || fs::read(&there).is_ok_and(|c| c == content.as_bytes()));
    }
}

#[test]
fn r_copies_everything_first() {
    let mut s = Sersync::new();
    populate(&s.master, 3, 3);
    write(&s.slave.path().join("extra"), "x");
    let master = s.master.clone();
    s.instance.start(&["-r"], &[&master]);
    s.wait_same_names();
    write(&s.master.join("later/file"), "x");
    fs::remove_dir_all(s.master.join("dir000")).unwrap();
    s.wait_same_names();
    let host = TcpStream::connect((Ipv4Addr::LOCALHOST, s.host_port.0));
    assert_eq!(host.unwrap_err().kind(), ErrorKind::ConnectionRefused, "something listens");
    assert!(s.instance.stop().success());
}

#[test]
fn without_r_only_changes_are_sent() {
    let mut s = Sersync::new();
    populate(&s.master, 3, 3);
    write(&s.slave.path().join("extra"), "x");
    let master = s.master.clone();
    s.instance.start(&[], &[&master]);
    write(&s.master.join("dir001/file001"), "changed");
    s.wait_content("dir001/file001", "changed");
    let names = Tree::read(&s.slave.path()).names();
    assert_eq!(
        names,
        ["dir001", "dir001/file001", "extra"],
        "more than the change was sent or deleted"
    );
}

#[test]
fn dro_is_accepted_as_one_argument() {
    let mut s = Sersync::new();
    populate(&s.master, 3, 3);
    let config = s.instance.config().to_owned();
    let out = s.instance.prepare(&Instance::program(), &["-dro"]).arg(&config).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    s.wait_same_names();
    s.instance.stop();
    let out = s
        .instance
        .prepare(&Instance::program(), &["-n", "4", "-dro"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    write(&s.master.join("later"), "x");
    s.wait_same_names();
    s.instance.stop();
}

#[test]
fn it_works_when_called_sersync() {
    let mut s = Sersync::new();
    let link = s.instance.config().with_file_name("sersync");
    symlink(Instance::program(), &link).unwrap();
    let master = s.master.clone();
    s.instance.launch_as(&link, &["-r"]);
    s.instance.wait_watching(&[&master]);
    write(&s.master.join("file"), "x");
    s.wait_content("file", "x");
    s.instance.stop();
    // Without -o both read ./confxml.xml.
    for (program, content) in [(link, "y"), (Instance::program(), "z")] {
        let out = s.instance.prepare(&program, &["-d"]).output().unwrap();
        assert!(out.status.success(), "{program:?}: {out:?}");
        write(&s.master.join("file"), content);
        s.wait_content("file", content);
        s.instance.stop();
    }
}

#[test]
fn files_that_sersync_drops_are_sent_only_by_r() {
    let mut s = Sersync::new();
    let master = s.master.clone();
    s.instance.start(&["-r"], &[&master]);
    // The comparison that -r asks for sends them, so it must be over.
    s.instance.wait_status("in sync", |status| {
        let remote = &status["instances"][0]["localpaths"][0]["remotes"][0];
        remote["state"] == "in_sync" && remote["reconciles_done"].as_u64() >= Some(1)
    });
    for name in [".hidden", "backup~", "4913"] {
        write(&s.master.join(name), "x");
    }
    write(&s.master.join(".directory/file"), "x");
    s.wait_content(".directory/file", "x");
    write(&s.master.join("mark"), "x");
    s.wait_content("mark", "x");
    for name in [".hidden", "backup~", "4913"] {
        assert!(!s.slave.path().join(name).exists(), "{name} was sent by an event");
    }
    s.instance.stop();
    s.instance.start(&["-r"], &[&master]);
    s.wait_content(".hidden", "x");
    s.wait_content("backup~", "x");
}

#[test]
fn a_converted_configuration_does_the_same() {
    let mut s = Sersync::new();
    let out = s.instance.command(&["convert"]);
    assert!(out.status.success(), "{out:?}");
    let yaml = s.instance.config().with_file_name("converted.yaml");
    fs::write(&yaml, &out.stdout).unwrap();
    let check =
        s.instance.prepare(&Instance::program(), &["check", "-o"]).arg(&yaml).output().unwrap();
    assert!(check.status.success(), "{check:?}\n{}", String::from_utf8_lossy(&out.stdout));
    let out = s.instance.prepare(&Instance::program(), &["-d", "-o"]).arg(&yaml).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    write(&s.master.join("file"), "x");
    s.wait_content("file", "x");
    s.instance.stop();
}

#[test]
fn the_fail_log_shows_what_is_owed_and_can_be_run() {
    with_private_mounts(the_fail_log);
}

fn the_fail_log() {
    let mut s = Sersync::new();
    let master = s.master.clone();
    s.instance.start(&[], &[&master]);
    write(&s.master.join("mark"), "x");
    s.wait_content("mark", "x");
    let script = s._dir.path().join("rsync_fail_log.sh");
    let name = "it's $(touch PWNED)";
    write(&s.master.join("d").join(name), "x");
    s.wait_content(&format!("d/{name}"), "x");
    // Nothing can take the place of a mount point: the path fails.
    let held = s.slave.path().join("d").join(name);
    let mount = Mounted::bind(&held, &held);
    write(&s.master.join("d").join(name), "changed");
    let came = crate::common::wait::poll(DEADLINE, || {
        fs::read_to_string(&script).ok().filter(|t| t.contains("PWNED"))
    });
    drop(mount);
    let text =
        came.unwrap_or_else(|| panic!("nothing in {}\n{}", script.display(), s.instance.report()));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o600);
    s.instance.stop();
    let run =
        std::process::Command::new("sh").arg(&script).current_dir(s._dir.path()).output().unwrap();
    assert!(run.status.success(), "{run:?}\n{text}");
    assert_eq!(fs::read(s.slave.path().join("d").join(name)).unwrap(), b"changed");
    assert!(!s._dir.path().join("PWNED").exists(), "a name ran as a command: {text}");
}
