//! Hostile names are ordinary input.

use crate::common::churn::{HOSTILE, LONG};
use crate::common::world::{Setup, World, write};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

/// A YAML configuration leaves out editors' names, such as those that end with `~`.
fn setup() -> Setup {
    Setup { remotes: 2, settings: "filter: {names: none}\n", ..Setup::default() }
}

fn start() -> World {
    setup().start()
}

fn names() -> impl Iterator<Item = &'static OsStr> {
    HOSTILE.iter().copied().chain([LONG]).map(OsStr::from_bytes)
}

/// One change for every name together.
#[track_caller]
fn each(world: &World, what: &str, change: impl Fn(&OsStr)) {
    println!("step: {what}");
    names().for_each(change);
    world.wait_identical();
}

#[test]
fn hostile_file_names_are_replicated() {
    let w = start();
    let at = |name: &OsStr| w.master.join(name);
    each(&w, "create", |n| fs::write(at(n), "one").unwrap());
    each(&w, "rewrite", |n| fs::write(at(n), "another").unwrap());
    each(&w, "rename away", |n| {
        fs::create_dir_all(w.at("sub")).unwrap();
        fs::rename(at(n), w.at("sub").join(n)).unwrap();
    });
    each(&w, "rename back", |n| fs::rename(w.at("sub").join(n), at(n)).unwrap());
    each(&w, "symlink of that name to that name", |n| symlink(n, w.at("sub").join(n)).unwrap());
    each(&w, "delete", |n| fs::remove_file(at(n)).unwrap());
    each(&w, "create again", |n| fs::write(at(n), "again").unwrap());
}

#[test]
fn hostile_directory_names_are_replicated() {
    let w = start();
    let at = |name: &OsStr| w.master.join(name);
    each(&w, "create", |n| fs::create_dir(at(n)).unwrap());
    each(&w, "file inside", |n| fs::write(at(n).join(n), "x").unwrap());
    each(&w, "deeper", |n| write(&at(n).join("deep").join(n).join("leaf"), "x"));
    each(&w, "rename", |n| fs::rename(at(n).join("deep"), at(n).join("moved")).unwrap());
    each(&w, "delete inside", |n| fs::remove_file(at(n).join(n)).unwrap());
    each(&w, "delete", |n| fs::remove_dir_all(at(n)).unwrap());
}

#[test]
fn hostile_names_are_copied_first_and_after_a_stop() {
    let mut w = setup().build();
    // A remote is not emptied unasked.
    w.write("stays", "x");
    names().for_each(|n| write(&w.master.join(n).join(n), "x"));
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    w.instance.stop();
    names().for_each(|n| fs::write(w.master.join(n).join(n), "changed").unwrap());
    names().for_each(|n| fs::write(w.master.join(n).join("new"), "new").unwrap());
    w.run(&[]);
    w.wait_identical();
    w.instance.stop();
    names().for_each(|n| fs::remove_dir_all(w.master.join(n)).unwrap());
    w.run(&[]);
    w.wait_identical();
}

#[test]
fn a_localpath_with_a_hostile_name_is_replicated() {
    use crate::common::instance::Instance;
    use crate::common::rsyncd::Rsyncd;
    use crate::common::world::wait_identical;
    let dir = tempfile::TempDir::with_prefix("syncsup test $(x) ' ").unwrap();
    let master = dir.path().join("ma ster`x`*[a]");
    fs::create_dir(&master).unwrap();
    let slave = Rsyncd::start();
    let text = format!(
        "filter: {{names: none}}\nlocalpaths:\n  - watch: {master:?}\n    remotes: [{}]\n",
        slave.yaml("")
    );
    let mut instance = Instance::new(&dir.path().join("instance"), "syncsup.yaml", &text);
    instance.start(&[], &[&master]);
    names().for_each(|n| write(&master.join(n), "x"));
    wait_identical(&instance, &master, &[&slave.path()], crate::common::wait::DEADLINE);
}
