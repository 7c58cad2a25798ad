//! sersync's `inotify` section: each switch alone lets its event mark, and without any nothing does.

use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{Setup, World};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const SWITCHES: [&str; 8] = [
    "delete",
    "create_folder",
    "create_file",
    "close_write",
    "move_from",
    "move_to",
    "attrib",
    "modify",
];

/// `old`, `gone` and `away` are on both sides; only the switches in `on` are on.
fn world(on: &[&str]) -> World {
    let mut w = Setup::default().build();
    let switches: Vec<String> =
        SWITCHES.iter().map(|name| format!("{name}: {}", on.contains(name))).collect();
    let text = fs::read_to_string(w.instance.config()).unwrap();
    let inotify = format!("inotify: {{{}}}\n", switches.join(", "));
    fs::write(w.instance.config(), inotify + &text).unwrap();
    for name in ["old", "gone", "away"] {
        w.write(name, "x");
    }
    fs::write(w.outside.join("in"), "moved").unwrap();
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    w
}

/// What each switch is for; a file that it leaves open.
fn act(w: &World, switch: &str) -> Option<fs::File> {
    match switch {
        "delete" => fs::remove_file(w.at("gone")).unwrap(),
        "create_folder" => fs::create_dir(w.at("folder")).unwrap(),
        "create_file" => return Some(fs::File::create(w.at("created")).unwrap()),
        "close_write" => w.write("written", "closed"),
        "move_from" => fs::rename(w.at("away"), w.outside.join("away")).unwrap(),
        "move_to" => fs::rename(w.outside.join("in"), w.at("moved")).unwrap(),
        "attrib" => {
            fs::set_permissions(w.at("old"), fs::Permissions::from_mode(0o640)).unwrap();
        }
        _ => {
            let mut file = fs::File::options().append(true).open(w.at("old")).unwrap();
            file.write_all(b"more").unwrap();
            return Some(file);
        }
    }
    None
}

fn arrived(w: &World, switch: &str) -> bool {
    let is = |name: &str, text: &str| fs::read(w.there(name)).is_ok_and(|t| t == text.as_bytes());
    match switch {
        "delete" => !w.there("gone").exists(),
        "create_folder" => w.there("folder").is_dir(),
        "create_file" => is("created", ""),
        "close_write" => is("written", "closed"),
        "move_from" => !w.there("away").exists(),
        "move_to" => is("moved", "moved"),
        "attrib" => fs::metadata(w.there("old")).unwrap().permissions().mode() & 0o777 == 0o640,
        _ => is("old", "xmore"),
    }
}

#[test]
fn each_switch_enables_only_its_event() {
    for switch in SWITCHES {
        // A name moved away is a deletion, which `delete` must allow.
        let on = [switch, if switch == "move_from" { "delete" } else { switch }];
        let w = world(&on);
        let _open = act(&w, switch);
        wait_for(switch, DEADLINE, || arrived(&w, switch));
    }
}

/// With `delete` alone a name that is moved away stays on the slave.
#[test]
fn a_name_moved_away_is_not_deleted() {
    let on: Vec<&str> = SWITCHES.into_iter().filter(|switch| *switch != "move_from").collect();
    let w = world(&on);
    for switch in ["move_from", "delete"] {
        act(&w, switch);
    }
    wait_for("the deletion", DEADLINE, || arrived(&w, "delete"));
    holds_for("the moved files", Duration::from_millis(500), || !arrived(&w, "move_from"));
}

#[test]
fn with_all_switches_off_no_event_marks() {
    let w = world(&[]);
    let _open: Vec<_> = SWITCHES.iter().map(|switch| act(&w, switch)).collect();
    holds_for("nothing is pushed", Duration::from_millis(700), || {
        !SWITCHES.iter().any(|switch| arrived(&w, switch))
    });
    // A reconcile finds all changes, and deletes nothing.
    let out = w.instance.command(&["sync"]);
    assert!(out.status.success(), "{out:?}");
    for switch in SWITCHES {
        assert_eq!(arrived(&w, switch), !["delete", "move_from"].contains(&switch), "{switch}");
    }
}
