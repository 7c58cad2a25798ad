//! Power cuts under churn: from one moment on a disk takes no more writes, and the machine goes on with what is on it,
//! without what the kernel had not written out yet. The disk is a loop device on memory that is sealed at that moment, so
//! that this needs no driver that loses writes.

use super::scene::{Identity, RECOVERY, holds, kept, lost};
use super::span_and_seed;
use crate::common::churn::{Churn, Plan, Work};
use crate::common::disk::Disk;
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::wait::poll;
use crate::common::world::{Setup, World, populate};
use fastrand::Rng;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Of a disk, in bytes.
const SIZE: u64 = 64 << 20;

/// Two slaves; not run yet.
fn world() -> World {
    let setup = Setup {
        remotes: 2,
        rsync: ", timeout: 5s",
        settings: "filter: {names: none}\n",
        remote: ", max_delete: unlimited",
        ..Setup::default()
    };
    setup.build()
}

/// A disk whose power can be cut.
struct Powered {
    memory: File,
    disk: Disk,
}

impl Powered {
    /// A new one, mounted at `at`; says why and gives `None` where that is impossible.
    fn new(at: &Path) -> Option<Powered> {
        let memory = memory(&[]);
        Disk::format(&path(&memory), at).map(|disk| Powered { memory, disk })
    }

    /// Nothing is written to it from now on.
    fn cut(&self) {
        fcntl(&self.memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).unwrap();
    }

    /// After a cut, with nothing that uses it any more: another one with what is on it, at the same place.
    fn back(mut self, at: &Path) -> Powered {
        self.disk.unmount();
        drop(self.disk);
        let memory = memory(&fs::read(path(&self.memory)).unwrap());
        let disk = Disk::of(&path(&memory), at).expect("there are loop devices");
        Powered { memory, disk }
    }
}

fn memory(content: &[u8]) -> File {
    let flags = MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC;
    let memory = File::from(memfd_create("disk", flags).unwrap());
    memory.set_len(SIZE).unwrap();
    memory.write_all_at(content, 0).unwrap();
    memory
}

/// For other programs, too.
fn path(memory: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd()).into()
}

/// Everything of this file system is on its disk.
fn write_out(at: &Path) {
    nix::unistd::syncfs(File::open(at).unwrap()).unwrap();
}

/// A master that lost its latest version of a file, and has an older one of the same size and a time that was set, looks
/// equal: only a comparison of the content of everything finds it. So no times are set here.
fn plan(w: &World) -> Plan {
    Plan {
        root: w.master.clone(),
        outside: w.outside.clone(),
        dirs: 20,
        rate: 100,
        sets_times: false,
    }
}

/// Churns for a part of the span, long enough for some of it to be on disk.
fn churn_for_a_while(w: &World, rng: &mut Rng) -> Churn {
    let churn = Churn::of(plan(w), rng.u64(..));
    let (began, length) = (Instant::now(), Duration::from_millis(rng.u64(500..9_000)));
    while began.elapsed() < length {
        std::thread::sleep(Duration::from_millis(rng.u64(10..200)));
        // Some programs wait until what they wrote is on disk.
        if rng.u32(0..20) == 0 {
            let _ = File::open(&w.master).and_then(|root| root.sync_all());
        }
    }
    churn
}

/// Fills the master, starts the instance, and waits until
/// all of it is on both slaves and on the disk at `at`. Gives what may not be replaced from then on.
fn begin(w: &mut World, at: &Path) -> Vec<(PathBuf, Identity)> {
    populate(&w.at("kept"), 4, 10);
    Work::new(plan(w), 1).fill();
    w.run(&[]);
    // What mkfs made on a slave goes.
    settled(w);
    let same = kept(&w.master, &w.slaves(), &["kept"]);
    write_out(at);
    same
}

/// A test of power cuts: prints its seed, and gives its length, random numbers and a world that does not run yet.
fn prepare(whose: &str) -> (Duration, Rng, World) {
    let (span, seed) = span_and_seed();
    println!("{whose} power: SYNCSUP_FAULT_SEED={seed}, {} s", span.as_secs());
    (span, Rng::with_seed(seed), world())
}

/// Everything is right after this number of cuts, and nothing was replaced.
fn end(w: &mut World, cuts: u32, same: &[(PathBuf, Identity)]) {
    settled(w);
    println!("{cuts} cuts");
    assert_eq!(lost(same), "", "{}", w.instance.report());
    w.instance.stop();
}

/// What was changed before is on both slaves when `wait` says so.
#[track_caller]
fn settled(w: &World) {
    let told = poll(RECOVERY, || {
        w.instance.command(&["wait", "--timeout", "5s"]).status.success().then_some(())
    });
    let held = holds(&w.master, &w.slaves(), told.is_some());
    held.unwrap_or_else(|wrong| panic!("{wrong}{}", w.instance.report()));
}

/// What a stopped instance knows comes from another boot from now on. A log of the journal stays as the cut left it.
fn pretend_reboot(state: &Path) {
    let here = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other = "00000000-1111-2222-3333-444444444444";
    for dir in fs::read_dir(state).unwrap().flatten() {
        let root = dir.path().join("root.json");
        if let Ok(text) = fs::read_to_string(&root) {
            fs::write(&root, text.replace(here.trim(), other)).unwrap();
        }
        let change = || {
            let db = Connection::open(dir.path().join("journal.db"))?;
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let sql = "UPDATE checkpoint SET state = replace(state, ?1, ?2)";
            db.execute(sql, [here.trim(), other])
        };
        // The cut may have left none, or one that cannot be read.
        change().map_or_else(|e| println!("the journal after the cut: {e}"), drop);
    }
}

#[test]
fn slaves_match_after_the_master_lost_its_power() {
    with_private_mounts(|| {
        let (span, mut rng, mut w) = prepare("the master's");
        let at = w.outside.join("at");
        fs::create_dir(&at).unwrap();
        let state = w.instance.state_dir();
        fs::create_dir_all(&state).unwrap();
        // One disk for both: a cut is one moment.
        let Some(mut disk) = Powered::new(&at) else { return };
        let places = [("master", w.master.clone()), ("state", state.clone())];
        let mount = || places.each_ref().map(|(name, to)| Mounted::bind(&at.join(name), to));
        places.iter().for_each(|(name, _)| fs::create_dir(at.join(name)).unwrap());
        let mut mounted = Some(mount());
        let same = begin(&mut w, &at);
        let (began, mut cuts) = (Instant::now(), 0);
        while cuts == 0 || began.elapsed() < span {
            let churn = churn_for_a_while(&w, &mut rng);
            disk.cut();
            // A disk that fails may be noticed before the power goes.
            std::thread::sleep(Duration::from_millis(rng.u64(0..1_000)));
            w.instance.kill9();
            churn.stop();
            drop(mounted.take());
            disk = disk.back(&at);
            mounted = Some(mount());
            pretend_reboot(&state);
            w.run(&[]);
            cuts += 1;
            // The next cut may come before everything is right again.
            if rng.bool() {
                settled(&w);
            }
        }
        end(&mut w, cuts, &same);
        drop(mounted);
    });
}

#[test]
fn slaves_match_after_one_lost_its_power() {
    with_private_mounts(|| {
        let (span, mut rng, mut w) = prepare("a slave's");
        let at = w.remotes[0].path();
        let Some(mut disk) = Powered::new(&at) else { return };
        let same = begin(&mut w, &at);
        let (began, mut cuts) = (Instant::now(), 0);
        while cuts == 0 || began.elapsed() < span {
            let churn = churn_for_a_while(&w, &mut rng);
            disk.cut();
            std::thread::sleep(Duration::from_millis(rng.u64(0..1_000)));
            w.remotes[0].stop();
            disk = disk.back(&at);
            std::thread::sleep(Duration::from_millis(rng.u64(0..1_500)));
            w.remotes[0].start_again();
            std::thread::sleep(Duration::from_millis(rng.u64(0..500)));
            churn.stop();
            cuts += 1;
            if rng.bool() {
                settled(&w);
            }
        }
        end(&mut w, cuts, &same);
    });
}
