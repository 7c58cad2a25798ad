//! Power cuts, and file systems that were put back to an older state.

use crate::common::disk::Disk;
use crate::common::namespace::with_private_mounts;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, populate};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// An rsync that, when it is first started for a remote, copies the disk in `image` as a power cut would leave it, and only then works.
fn copying_rsync(w: &World, image: &Path, copy: &Path) -> String {
    let script = w.outside.join("rsync");
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *rsync://*) if [ -e '{0}/armed' ]; then rm '{0}/armed'; cp '{1}' '{2}'; fi;; esac\nexec rsync \"$@\"\n",
        w.outside.display(),
        image.display(),
        copy.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script.display().to_string()
}

/// What the journals in this state directory say of the last stop: the checkpoint's `clean`, and each remote's.
fn clean(state: &Path) -> Vec<(bool, bool)> {
    let dirs = fs::read_dir(state).unwrap().flatten();
    let journals = dirs.map(|dir| dir.path().join("journal.db")).filter(|file| file.exists());
    let read = |file| {
        let db = Connection::open(file).unwrap();
        let sql = "SELECT json_extract(state, '$.clean'), (SELECT max(clean) FROM remote) FROM checkpoint";
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    journals.map(read).collect()
}

#[test]
fn the_unclean_state_is_on_disk_before_the_first_rsync() {
    with_private_mounts(|| {
        let mut w = Setup::default().build();
        let state = w.instance.state_dir();
        fs::create_dir_all(&state).unwrap();
        let Some(disk) = Disk::new(&w.outside.join("disk"), &state) else { return };
        let (copy, at) = (w.outside.join("copy"), w.outside.join("at"));
        let program = copying_rsync(&w, disk.image(), &copy);
        let config = fs::read_to_string(w.instance.config()).unwrap();
        let config = config.replacen("params:", &format!("program: {program:?}, params:"), 1);
        fs::write(w.instance.config(), config).unwrap();
        populate(&w.master, 2, 2);
        w.run(&[]);
        w.wait_identical();
        fs::create_dir(&at).unwrap();
        for round in ["after a first start", "after another"] {
            w.instance.stop();
            nix::unistd::sync();
            assert_eq!(clean(&state), [(true, true)], "{round}");
            fs::write(w.outside.join("armed"), "").unwrap();
            w.run(&[]);
            w.probe(0);
            wait_for("the copy", DEADLINE, || !w.outside.join("armed").exists());
            let cut = Disk::of(&copy, &at).expect("there are loop devices");
            assert_eq!(clean(&at), [(false, false)], "{round}: a power cut now would be forgotten");
            drop(cut);
        }
        w.instance.stop();
    });
}

#[test]
fn after_a_clean_stop_all_pushed_files_are_on_disk() {
    with_private_mounts(|| {
        let mut w = Setup { remotes: 2, ..Setup::default() }.build();
        let Some(disk) = Disk::new(&w.outside.join("disk"), &w.master) else { return };
        fs::create_dir(w.at("m")).unwrap();
        let inside = Disk::new(&w.outside.join("disk inside"), &w.at("m")).expect("another");
        w.run(&[]);
        w.wait_in_sync();
        for n in 0..5 {
            w.write(&format!("d{n}/f"), format!("content {n}"));
            w.write(&format!("m/d{n}/f"), format!("inside {n}"));
        }
        w.wait_identical();
        w.instance.stop();
        let at = w.outside.join("at");
        fs::create_dir(&at).unwrap();
        for (disk, dir, word) in [(&disk, "", "content"), (&inside, "m", "inside")] {
            let copy = w.outside.join(format!("copy of {word}"));
            disk.copy(&copy);
            let _cut = Disk::of(&copy, &at).expect("there are loop devices");
            for n in 0..5 {
                let text = fs::read_to_string(at.join(format!("d{n}/f"))).unwrap_or_default();
                let there = fs::read_to_string(w.there(dir).join(format!("d{n}/f"))).unwrap();
                assert_eq!((text.as_str(), there.as_str()), (&*format!("{word} {n}"), &*text));
            }
        }
    });
}

#[test]
fn a_file_system_restored_from_a_snapshot_is_reconciled() {
    with_private_mounts(|| {
        let mut w = Setup::default().build();
        let Some(mut disk) = Disk::new(&w.outside.join("disk"), &w.master) else { return };
        let old = w.outside.join("old");
        populate(&w.master, 4, 5);
        fs::write(w.at("top"), "old").unwrap();
        for round in 0..4 {
            w.run(&[]);
            w.wait_identical();
            w.wait_in_sync();
            w.instance.stop();
            disk.unmount();
            disk.copy(&old);
            disk.mount();
            w.run(&[]);
            match round {
                // Made, changed, removed, renamed: each leaves something else behind.
                0 => w.write("dir001/new/deep", "x"),
                1 => w.write("dir002/file000", "longer than it was before, by far"),
                2 => fs::remove_file(w.at("dir003/file001")).unwrap(),
                _ => fs::rename(w.at("dir000"), w.at("renamed")).unwrap(),
            }
            w.wait_identical();
            w.wait_in_sync();
            w.instance.stop();
            disk.unmount();
            disk.put_back(&old);
            disk.mount();
            w.run(&[]);
            w.wait_identical();
            w.wait_in_sync();
            let said = w.instance.log_text().matches("reconciling every remote: ").count();
            assert_eq!(said, round + 1, "{}", w.instance.report());
            w.instance.stop();
        }
    });
}

#[test]
fn a_journal_restored_from_a_backup_is_noticed() {
    let mut w = Setup { log_rsyncs: true, ..Setup::default() }.build();
    populate(&w.master, 2, 3);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    w.instance.stop();
    let (journal, known) = (w.journal(), w.journal().with_file_name("root.json"));
    let keep = |file: &Path| (file.to_owned(), fs::read(file).unwrap());
    let compared = w.full_comparisons().len();
    let said = |w: &World| w.instance.log_text().matches("reconciling every remote: ").count();
    for (round, file) in [&journal, &known].into_iter().enumerate() {
        let (file, old) = keep(file);
        w.run(&[]);
        w.write("dir000/more", format!("{}", file.display()));
        w.wait_identical();
        w.wait_in_sync();
        w.instance.stop();
        assert_eq!(said(&w), round, "{}", w.instance.report());
        fs::write(&file, old).unwrap();
        for log in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{log}", journal.display()));
        }
        w.run(&[]);
        w.wait_in_sync();
        assert_eq!(said(&w), round + 1, "{}", w.instance.report());
        assert!(w.instance.log_text().contains("one was restored"));
        w.instance.stop();
    }
    assert!(w.full_comparisons().len() > compared + 1);
    // The two fit again.
    let compared = w.full_comparisons().len();
    w.run(&[]);
    w.probe(0);
    w.wait_in_sync();
    assert_eq!(w.full_comparisons().len(), compared, "{}", w.instance.report());
    w.instance.stop();
}
