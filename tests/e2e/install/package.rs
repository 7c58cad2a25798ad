//! `make install` and the package: which files are installed, what starts, what stays after a removal.

use super::machine::{Machine, Package, make, staged};
use crate::common::rsyncd::Rsyncd;
use crate::common::tree;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::write;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Every file below `root`, from there.
fn files(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type().unwrap().is_dir() {
                true => open.push(path),
                false => drop(found.insert(path.strip_prefix(root).unwrap().display().to_string())),
            }
        }
    }
    found
}

#[test]
fn make_install_places_every_file_and_make_uninstall_removes_it() {
    let dir = TempDir::with_prefix("syncsup-test-").unwrap();
    let root = dir.path().join("root");
    let words = ["PREFIX=/opt/sync", "INIT=sysv", "SERSYNC=1"];
    staged(&root, &words, dir.path());
    let installed = files(&root);
    for file in [
        "opt/sync/bin/syncsup",
        "opt/sync/bin/sersync",
        "opt/sync/share/man/man8/syncsup.8",
        "opt/sync/share/man/man5/syncsup.yaml.5",
        "opt/sync/share/man/man7/syncsup-journal.7",
        "opt/sync/share/man/zh_CN/man8/syncsup.8",
        "opt/sync/share/man/zh_CN/man5/syncsup.yaml.5",
        "opt/sync/share/bash-completion/completions/syncsup",
        "opt/sync/share/zsh/site-functions/_syncsup",
        "opt/sync/share/fish/vendor_completions.d/syncsup.fish",
        "opt/sync/lib/systemd/system/syncsup.service",
        "opt/sync/lib/systemd/system/syncsup@.service",
        "opt/sync/lib/sysctl.d/60-syncsup.conf",
        "opt/sync/lib/tmpfiles.d/syncsup.conf",
        "opt/sync/lib/sysusers.d/syncsup.conf",
        "opt/sync/share/doc/syncsup/examples/rsyncd.conf",
        "opt/sync/share/doc/syncsup/examples/deploy/deploy",
        "opt/sync/share/doc/syncsup/plugins.conf",
        "opt/sync/share/doc/syncsup/unprivileged.conf",
        "opt/sync/share/doc/syncsup/SECURITY.md",
        "opt/sync/share/doc/syncsup/README.md",
        "opt/sync/share/doc/syncsup/docs/README.md",
        "opt/sync/share/doc/syncsup/docs/concepts.md",
        "opt/sync/share/doc/syncsup/docs/operating.md",
        "opt/sync/share/doc/syncsup/docs/sersync.md",
        "opt/sync/share/doc/syncsup/docs/lsyncd.md",
        "opt/sync/share/doc/syncsup/docs/benchmarks.md",
        "opt/sync/share/doc/syncsup/docs/reliability.md",
        "opt/sync/share/doc/syncsup/docs/troubleshooting.md",
        "opt/sync/share/doc/syncsup/docs/dependencies.md",
        "opt/sync/share/doc/syncsup/docs/lag-200.svg",
        "opt/sync/share/doc/syncsup/docs/zh/sersync.md",
        "etc/init.d/syncsup",
        "etc/logrotate.d/syncsup",
        "etc/syncsup/conf.d/README",
    ] {
        assert!(installed.contains(file), "no {file}: {installed:?}");
    }
    for file in installed.iter().filter(|f| f.contains("systemd") || f.contains("init.d")) {
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(
            text.contains("/opt/sync/bin/syncsup") && !text.contains("/usr/local/bin/syncsup"),
            "{file}"
        );
    }
    let out = Command::new(root.join("opt/sync/bin/sersync")).arg("--version").output().unwrap();
    assert!(out.status.success(), "{out:?}");

    // What is the administrator's stays, at a second installation and after the end.
    write(&root.join("etc/syncsup/conf.d/www.yaml"), "localpaths: []\n");
    fs::write(root.join("etc/logrotate.d/syncsup"), "# changed\n").unwrap();
    let program = dir.path().join("syncsup");
    make("install", &root, &words, &program);
    make("uninstall", &root, &words, &program);
    let left: Vec<String> = files(&root).into_iter().collect();
    assert_eq!(left, ["etc/logrotate.d/syncsup", "etc/syncsup/conf.d/www.yaml"]);
    fs::remove_dir_all(&root).unwrap();
    make("install", &root, &words, &program);
    make("uninstall", &root, &words, &program);
    assert!(files(&root).is_empty(), "{:?}", files(&root));
}

/// Whatever has the name of the program in it, but for what dpkg itself notes down.
pub fn traces(machine: &Machine) -> String {
    machine.does(
        "find /etc /usr /var /run /opt /srv -xdev '(' -name '*syncsup*' -o -name '*sersync*' ')' \
         | grep -v -e ^/var/log/ -e ^/var/cache/ | sort",
    )
}

#[test]
fn a_package_installs_runs_by_its_script_and_leaves_only_data() {
    let dir = TempDir::with_prefix("syncsup-test-").unwrap();
    let Some(package) = Package::make() else { return };
    let Some(machine) = Machine::boot("nothing", &[dir.path(), package.dir()]) else { return };
    let slave = Rsyncd::start();
    let master = dir.path().join("master");
    fs::create_dir(&master).unwrap();
    let before = traces(&machine);
    let processes = machine.processes();
    machine.installs(&package);
    assert_eq!(machine.processes(), processes, "something was started");
    let out = machine.runs("/etc/init.d/syncsup start");
    assert_eq!(out.status.code(), Some(6), "without a configuration: {out:?}");

    let remote = slave.yaml("");
    let config = format!("localpaths: [{{watch: {:?}, remotes: [{remote}]}}]\n", master);
    machine.writes("/etc/syncsup/conf.d/www.yaml", &config);
    machine.does("syncsup check -o /etc/syncsup/conf.d");
    machine.does("/etc/init.d/syncsup start");
    write(&master.join("d/file"), "x");
    wait_for("the file", DEADLINE, || tree::identical(&master, &slave.path()));
    machine.does("/etc/init.d/syncsup status");
    // Limits of the machine's own, in place of the kernel's.
    assert_eq!(machine.does("cat /proc/sys/fs/inotify/max_user_watches"), "50000000");

    // Removing it ends it; configuration and journals stay.
    machine.does("dpkg -r syncsup");
    assert_eq!(machine.processes(), processes, "something runs on");
    machine.does("ls /etc/syncsup/conf.d/www.yaml /var/lib/syncsup/*/journal.db");
    machine.does("! ls /usr/bin/syncsup /run/syncsup/*");
    // Installed again, it goes on where it was.
    machine.installs(&package);
    write(&master.join("d/while it was away"), "x");
    machine.does("/etc/init.d/syncsup start");
    wait_for("the file", DEADLINE, || tree::identical(&master, &slave.path()));
    machine.does("dpkg -P syncsup");
    assert_eq!(machine.processes(), processes, "something runs on");
    machine.does("rm -r /etc/syncsup");
    assert_eq!(traces(&machine), before);
    assert!(tree::identical(&master, &slave.path()), "the data was touched");
}

/// debian/ has the reasons of what lintian would say otherwise.
#[test]
fn lintian_finds_no_fault_in_the_package() {
    let Some(package) = Package::make() else { return };
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on=error,warning", "--allow-root", "--no-cfg"]).arg(package.path());
    let Ok(out) = lintian.output() else {
        eprintln!("SKIPPED: there is no lintian");
        return;
    };
    assert!(out.status.success() && out.stdout.is_empty(), "{out:?}");
}

/// What dpkg-shlibdeps finds out for a program that is linked for older machines is too much.
#[test]
fn the_package_asks_for_the_libc_that_its_program_needs() {
    let Some(package) = Package::make() else { return };
    let says = |program: &str, args: &[&str], file: &Path| {
        let out = Command::new(program).args(args).arg(file).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    let dir = TempDir::with_prefix("syncsup-test-").unwrap();
    let unpacked = Command::new("dpkg-deb").arg("-x").args([package.path(), dir.path()]).status();
    assert!(unpacked.unwrap().success());
    let symbols = says("objdump", &["-T"], &dir.path().join("usr/bin/syncsup"));
    let number = |text: &str| -> Vec<u32> {
        let ends = |c: char| !c.is_ascii_digit() && c != '.';
        let version = text.split(ends).next().unwrap_or_default();
        version.split('.').filter_map(|n| n.parse().ok()).collect()
    };
    let needed = symbols.split("GLIBC_").skip(1).map(number).max().unwrap_or_default();
    let control = says("dpkg-deb", &["-I"], package.path());
    let asked = control.split("libc6 (>= ").nth(1).map(number).unwrap_or_default();
    assert_eq!(asked, needed, "{control}");
}
