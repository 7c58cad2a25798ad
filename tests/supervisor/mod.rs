//! The supervisor for real: the binary, its children, signals, reloads, the control socket. No remote answers here
//! (port 1 of the loopback), so pushers live and push nothing.

mod reload;
mod world;

use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use world::*;

#[test]
fn starts_in_the_foreground_and_stops_cleanly() {
    let mut world = World::new(&[("a", &[ONE, TWO]), ("b", &[ONE])]);
    world.start(&[]);
    for name in ["a", "b"] {
        let line = format!("watching {}", world.path(name).display());
        let count = || {
            let out = fs::read_to_string(world.path("out")).unwrap();
            out.lines().filter(|l| *l == line).count()
        };
        // A moment after `status` shows it.
        wait_for("the line", || (count() > 0).then_some(()));
        assert_eq!(count(), 1);
    }
    let children = [pids(&world.local("a")), pids(&world.local("b"))].concat();
    assert_eq!(children.len(), 5);
    for child in &children {
        let title = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap();
        assert!(title.starts_with("syncsup: "), "{title}");
        let group = nix::unistd::getpgid(Some(Pid::from_raw(*child))).unwrap();
        assert_eq!(group.as_raw(), *child, "a group of its own");
    }
    signal(world.supervisor() as i32, Signal::SIGTERM);
    assert_eq!(world.wait_end(), 0);
    assert!(!world.log().contains("killed: "), "{}", world.log());
    assert!(!children.iter().any(|c| runs(*c)), "children are left");
    let left: Vec<_> = fs::read_dir(world.path("run")).unwrap().flatten().collect();
    assert!(left.iter().all(|e| e.path().extension().is_some_and(|x| x == "lock")), "{left:?}");
    assert_eq!(code(&world.run(&["status"])), 3);
}

#[test]
fn a_killed_child_is_restarted_and_the_others_keep_running() {
    let mut world = World::new(&[("a", &[ONE, TWO])]);
    world.start(&[]);
    for n in 0..3 {
        let before = pids(&world.local("a"));
        signal(before[n], Signal::SIGKILL);
        let after = wait_for("the child again", || {
            let after = pids(&world.local("a"));
            (after[n] != 0 && after[n] != before[n]).then_some(after)
        });
        for other in (0..3).filter(|o| *o != n) {
            assert_eq!(before[other], after[other]);
        }
    }
    let local = world.local("a");
    assert_eq!(local["watcher"]["restarts"], 1);
    assert_eq!(local["watcher"]["last_exit"], "SIGKILL");
}

#[test]
fn a_silent_child_is_killed_and_restarted() {
    let mut world = World::new(&[("a", &[ONE])]);
    world.start(&[]);
    let watcher = pids(&world.local("a"))[0];
    signal(watcher, Signal::SIGSTOP);
    wait_for("another watcher", || {
        Some(pids(&world.local("a"))[0]).filter(|p| ![0, watcher].contains(p))
    });
    assert!(!runs(watcher));
    assert!(world.log().contains("it sent no message for too long"), "{}", world.log());
}

#[test]
fn a_second_supervisor_on_the_same_localpath_is_refused() {
    let mut world = World::new(&[("a", &[ONE]), ("b", &[ONE])]);
    world.start(&[]);
    let again = world.run(&["-o", "c.yaml"]);
    assert_eq!(code(&again), 4, "{}", text(&again));
    // Another configuration with one of its localpaths.
    world.configure("d.yaml", &[("b", &[TWO])], "");
    for args in [&["-o", "d.yaml"][..], &["-d", "-o", "d.yaml"]] {
        let other = world.run(args);
        assert_eq!(code(&other), 4, "{}", text(&other));
        assert!(text(&other).contains(&format!("localpath {}", world.path("b").display())));
    }
    let status = world.run(&["status", "-o", "c.yaml"]);
    assert_ne!(code(&status), 3, "{}", text(&status));
    assert_eq!(code(&world.run(&["status", "-o", "d.yaml"])), 3);
}

/// Without its socket no command can reach it; the lock tells which process to stop.
#[test]
fn a_supervisor_without_its_run_directory_is_reported() {
    let mut world = World::new(&[("a", &[ONE])]);
    world.start(&[]);
    fs::remove_dir_all(world.path("run")).unwrap();
    assert_eq!(code(&world.run(&["status"])), 3);
    let again = world.run(&["-do", "c.yaml"]);
    assert_eq!(code(&again), 4, "{}", text(&again));
    let pid = format!("by pid {})", world.supervisor());
    assert!(text(&again).contains(&pid), "{}", text(&again));
    signal(world.supervisor() as i32, Signal::SIGTERM);
    assert_eq!(world.wait_end(), 0);
}

#[test]
fn a_daemon_returns_when_everything_is_watched() {
    let world = World::new(&[("a", &[ONE])]);
    let out = world.run(&["-do", "c.yaml"]);
    assert_eq!(code(&out), 0, "{}", text(&out));
    let status = world.status().unwrap();
    assert_eq!(localpaths(&status)[0]["state"], "watching");
    let daemon = pid(&status);
    let session = nix::unistd::getsid(Some(Pid::from_raw(daemon))).unwrap();
    assert_eq!(session.as_raw(), daemon, "a session of its own");
    let file = fs::read_dir(world.path("run")).unwrap().flatten().map(|e| e.path());
    let file = file.into_iter().find(|p| p.extension().is_some_and(|e| e == "pid")).unwrap();
    assert_eq!(fs::read_to_string(file).unwrap().trim(), daemon.to_string());
    assert!(world.log().contains("watching, role: watcher"), "{}", world.log());
    let stop = world.run(&["stop"]);
    assert_eq!(code(&stop), 0, "{}", text(&stop));
    assert!(!runs(daemon));
    assert_eq!(code(&world.run(&["stop"])), 3);
}

/// A shell script that starts it under a lock can take the lock again.
#[test]
fn descriptors_of_the_caller_are_not_inherited() {
    let world = World::new(&[("a", &[ONE])]);
    let path = world.path("callers");
    let file = fs::File::create(&path).unwrap();
    let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e).unwrap();
    fcntl(&*held, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    for args in [&["-do", "c.yaml"][..], &["-o", "c.yaml"]] {
        let mut child = world.prepare(args).spawn().unwrap();
        let status = world.wait_state("a pusher", |s| {
            let all = localpaths(s);
            all.len() == 1 && pids(&all[0]).iter().all(|p| *p > 0) && all[0]["state"] == "watching"
        });
        let mut processes = pids(&localpaths(&status)[0]);
        if args[0] == "-do" {
            processes.push(pid(&status));
        }
        for process in processes {
            let mut open = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
            let held = open.any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == path));
            assert!(!held, "{process} has the lock");
        }
        assert_eq!(code(&world.run(&["stop"])), 0);
        wait_for("its end", || child.try_wait().unwrap());
    }
}

#[test]
fn a_missing_localpath_is_an_error_at_the_start_and_a_hold_later() {
    let mut world = World::new(&[("a", &[ONE]), ("b", &[ONE])]);
    fs::rename(world.path("a"), world.path("gone")).unwrap();
    for args in [&["-o", "c.yaml"][..], &["-do", "c.yaml"]] {
        let out = world.run(args);
        assert_eq!(code(&out), 2, "{}", text(&out));
        assert!(text(&out).contains("no such directory"), "{}", text(&out));
    }
    fs::rename(world.path("gone"), world.path("a")).unwrap();
    world.start(&[]);
    fs::rename(world.path("a"), world.path("gone")).unwrap();
    wait_for("held", || Some(world.local("a")).filter(|l| l["state"] == "held"));
    wait_for("its pusher held", || {
        Some(world.local("a")).filter(|l| l["remotes"][0]["state"] == "held")
    });
    assert_eq!(world.local("b")["state"], "watching");
    // A pusher that starts while it is held is told, and a reload does not mind.
    signal(pids(&world.local("a"))[1], Signal::SIGKILL);
    wait_for("held again", || {
        let l = world.local("a");
        (l["remotes"][0]["pusher"]["restarts"] == 1 && l["remotes"][0]["state"] == "held")
            .then_some(())
    });
    assert_eq!(code(&world.run(&["reload"])), 0);
    assert_eq!(code(&world.run(&["status"])), 1);
    fs::rename(world.path("gone"), world.path("a")).unwrap();
    wait_for("watching", || Some(world.local("a")).filter(|l| l["state"] == "watching"));
    wait_for("the end of the hold", || {
        Some(world.local("a")).filter(|l| l["remotes"][0]["state"] != "held")
    });
}

#[test]
fn a_reload_touches_only_what_changed() {
    let mut world = World::new(&[("a", &[ONE]), ("b", &[ONE, TWO])]);
    world.start(&[]);
    let (a, b) = (pids(&world.local("a")), pids(&world.local("b")));
    // An error: nothing changes.
    fs::write(world.path("c.yaml"), "localpaths: nonsense\n").unwrap();
    let refused = world.run(&["reload"]);
    assert_eq!(code(&refused), 2, "{}", text(&refused));
    assert!(text(&refused).contains("c.yaml"), "{}", text(&refused));
    assert_eq!(pids(&world.local("a")), a);
    // a gets a remote, b loses one, d comes.
    fs::create_dir(world.path("d")).unwrap();
    world.configure("c.yaml", &[("a", &[ONE, TWO]), ("b", &[ONE]), ("d", &[ONE])], "");
    signal(world.supervisor() as i32, Signal::SIGHUP);
    world.wait_state("the new localpath", |s| {
        localpaths(s).len() == 3 && localpaths(s).iter().all(|l| l["state"] == "watching")
    });
    wait_for("b's pusher to go", || (!runs(b[2])).then_some(()));
    let (a2, b2) = (pids(&world.local("a")), pids(&world.local("b")));
    assert_eq!((a2.len(), &a2[..2]), (3, &a[..]));
    assert_eq!(b2, b[..2]);
    // b gets a filter: both its children are new; then b goes.
    let filter = "  filter: {exclude: ['x.*']}\n";
    world.configure("c.yaml", &[("a", &[ONE, TWO]), ("d", &[ONE]), ("b", &[ONE])], filter);
    assert_eq!(code(&world.run(&["reload"])), 0);
    wait_for("new children of b", || {
        let now = pids(&world.local("b"));
        (now.iter().all(|p| *p != 0 && !b.contains(p))).then_some(())
    });
    assert_eq!(pids(&world.local("a")), a2);
    world.configure("c.yaml", &[("a", &[ONE, TWO]), ("d", &[ONE])], "");
    let last = pids(&world.local("b"));
    assert_eq!(code(&world.run(&["reload"])), 0);
    wait_for("b's children to go", || (!last.iter().any(|p| runs(*p))).then_some(()));
    // Its lock is free again.
    world.configure("e.yaml", &[("b", &[ONE])], "");
    wait_for("b elsewhere", || (code(&world.run(&["-do", "e.yaml"])) == 0).then_some(()));
    assert_eq!(code(&world.run(&["stop", "-o", "e.yaml"])), 0);
}

#[test]
fn a_damaged_journal_is_quarantined() {
    let mut world = World::new(&[("a", &[ONE])]);
    world.start(&[]);
    let journal = world.state_of("a").join("journal.db");
    assert!(journal.exists());
    fs::write(&journal, "no database at all, but long enough to look like one".repeat(100))
        .unwrap();
    // One that had not opened it yet has found out by itself.
    let pusher = pids(&world.local("a"))[1];
    if pusher > 1 {
        let _ = kill(Pid::from_raw(pusher), Signal::SIGKILL);
    }
    let aside = || {
        let files = fs::read_dir(world.state_of("a")).unwrap().flatten();
        files
            .into_iter()
            .find(|e| e.file_name().to_string_lossy().starts_with("journal.db.damaged-"))
    };
    wait_for("the quarantined journal", aside);
    world.wait_state("watching again", |s| {
        let l = &localpaths(s)[0];
        l["state"] == "watching" && pid(&l["remotes"][0]["pusher"]) != 0
    });
    assert!(world.log().contains("set aside"), "{}", world.log());
    wait_for("a new journal", || journal.exists().then_some(()));
}

/// The files, or the whole directory, are removed under a running supervisor.
#[test]
fn lost_state_is_noticed_and_recreated() {
    let mut world = World::new(&[("a", &[ONE])]);
    world.start(&[]);
    world.configure("d.yaml", &[("a", &[TWO])], "");
    let dir = world.state_of("a");
    let (journal, lock) = (dir.join("journal.db"), dir.join("lock"));
    let ino = |path: &Path| fs::metadata(path).map(|m| m.ino()).ok();
    for round in 0..4 {
        let before = pids(&world.local("a"));
        let (old_lock, times) = (ino(&lock), world.log().matches("every process").count());
        match round {
            0 => ["", "-wal", "-shm"].iter().for_each(|suffix| {
                let _ = fs::remove_file(dir.join(format!("journal.db{suffix}")));
            }),
            1 => {
                // Immediately: another program may create new files in it.
                fs::rename(&dir, world.path("lost")).unwrap();
                fs::remove_dir_all(world.path("lost")).unwrap();
            }
            2 => fs::remove_file(&lock).unwrap(),
            _ => {
                fs::copy(&journal, dir.join("copy")).unwrap();
                fs::rename(dir.join("copy"), &journal).unwrap();
            }
        }
        wait_for("the loss in the log", || {
            (world.log().matches("every process").count() > times).then_some(())
        });
        wait_for("other children", || {
            let now = pids(&world.local("a"));
            let fresh = now.iter().all(|p| *p != 0 && !before.contains(p));
            (fresh && world.local("a")["state"] == "watching").then_some(())
        });
        assert!(journal.exists() && lock.exists(), "{}", world.log());
        assert_eq!(ino(&lock) != old_lock, round == 1 || round == 2, "round {round}");
        let wish = world.local("a")["remotes"][0]["state"].clone();
        assert_ne!(wish, "in_sync", "round {round}");
        let other = world.run(&["-do", "d.yaml"]);
        assert_eq!(code(&other), 4, "{}", text(&other));
    }
    let log = world.log();
    for words in ["journal.db was removed", "lock was removed", "journal.db was replaced"] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
    assert_eq!(log.matches("reconciling every remote").count(), 4, "{log}");
}

/// Another supervisor has taken the lost state: the first one leaves it alone.
#[test]
fn state_taken_over_by_another_supervisor_is_left_to_it() {
    let mut world = World::new(&[("a", &[ONE])]);
    world.start(&[]);
    let dir = world.state_of("a");
    let file = fs::File::create(dir.join("new")).unwrap();
    let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e).unwrap();
    fs::rename(dir.join("new"), dir.join("lock")).unwrap();
    // The watcher and the pusher end one after the other.
    wait_for("the localpath released", || {
        let local = world.local("a");
        let why = local["reason"].as_str().unwrap_or_default();
        let given_up = local["state"] == "down" && pids(&local) == [0, 0];
        // This process has the lock, and is no supervisor.
        (given_up && why.contains("is locked by pid")).then_some(())
    });
    drop(held);
    world.wait_state("watching again", |s| localpaths(s)[0]["state"] == "watching");
}

#[test]
fn children_exit_with_a_killed_supervisor_and_the_next_one_starts() {
    let mut world = World::new(&[("a", &[ONE, TWO])]);
    world.start(&[]);
    let children = pids(&world.local("a"));
    signal(world.supervisor() as i32, Signal::SIGKILL);
    world.wait_end();
    assert_eq!(code(&world.run(&["status"])), 3, "a stale socket is no supervisor");
    wait_for("the children to exit", || (!children.iter().any(|c| runs(*c))).then_some(()));
    world.start(&[]);
    assert_eq!(code(&world.run(&["stop"])), 0);
    assert_eq!(world.wait_end(), 0);
}

#[test]
fn commands_do_not_hang_on_a_stopped_supervisor_and_its_children_live_on() {
    let mut world = World::new(&[("a", &[ONE])]);
    world.start(&[]);
    let children = pids(&world.local("a"));
    signal(world.supervisor() as i32, Signal::SIGSTOP);
    let out = world.run(&["status"]);
    assert_eq!(code(&out), 5, "{}", text(&out));
    assert!(text(&out).contains("no answer"), "{}", text(&out));
    signal(world.supervisor() as i32, Signal::SIGCONT);
    assert_eq!(pids(&world.local("a")), children);
}

#[test]
fn a_silent_client_delays_no_other_and_unknown_names_are_refused() {
    let mut world = World::new(&[("a", &[ONE])]);
    world.start(&[]);
    let entries = fs::read_dir(world.path("run")).unwrap().flatten().map(|e| e.path());
    let socket = entries.into_iter().find(|p| p.extension().is_some_and(|e| e == "sock")).unwrap();
    let connect = || UnixStream::connect(Path::new(&socket)).unwrap();
    // A silent client is borne for five seconds.
    let answered = || {
        let silent: Vec<UnixStream> = (0..10).map(|_| connect()).collect();
        let started = Instant::now();
        assert!(world.status().is_some());
        drop(silent);
        started.elapsed()
    };
    let quickest = (0..3).map(|_| answered()).min().unwrap();
    assert!(quickest < Duration::from_secs(3), "{quickest:?}");
    let mut odd = connect();
    odd.write_all(b"{\"what\": 1}\n").unwrap();
    let mut answer = String::new();
    odd.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("refused"), "{answer}");
    for command in ["sync", "release"] {
        let out = world.run(&[command, "nobody::there"]);
        assert_eq!(code(&out), 2, "{}", text(&out));
        assert!(text(&out).contains("127.0.0.1:1::a-one"), "{}", text(&out));
    }
    let watch = world.path("a").display().to_string() + "/";
    assert_eq!(code(&world.run(&["release", &watch])), 0);
}
