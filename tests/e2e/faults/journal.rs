//! The journal is damaged, removed, or put back to an older state, while the instance is down and while it runs.

use super::scene::Scene;
use super::{Fault, Faults};
use fastrand::Rng;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// Cut off somewhere.
    Truncated,
    /// Single bits are others.
    Flipped,
    /// Pages are garbage.
    Overwritten,
    /// The file is gone; the others are there.
    Removed,
    /// The whole state directory is as it was at an earlier such moment.
    Yesterday,
    /// Only the database is; its log is gone.
    OlderDatabase,
}

struct JournalFault {
    damage: Damage,
    running: bool,
    /// An earlier state directory.
    backup: Option<PathBuf>,
}

/// The files of the journal.
fn files(scene: &Scene) -> Vec<PathBuf> {
    let dirs = fs::read_dir(scene.world.instance.state_dir()).into_iter().flatten().flatten();
    let all =
        dirs.flat_map(|dir| ["journal.db", "journal.db-wal"].map(|name| dir.path().join(name)));
    all.filter(|file| file.metadata().is_ok_and(|m| m.len() > 0)).collect()
}

/// Copies, as far as the file system admits: another fault may have filled it, or made it read-only.
fn copy(from: &Path, to: &Path) -> bool {
    let done = Command::new("cp").arg("-aT").arg(from).arg(to).status();
    done.is_ok_and(|status| status.success())
}

/// What a copy into the state directory has done.
fn said(copied: bool) -> Option<String> {
    Some(if copied { "put back" } else { "put back in part" }.to_owned())
}

impl JournalFault {
    /// One of its files, damaged.
    fn damage(&self, scene: &Scene, rng: &mut Rng) -> Option<String> {
        let files = files(scene);
        let path = rng.choice(&files)?;
        let file = File::options().read(true).write(true).open(path).ok()?;
        let size = file.metadata().ok()?.len();
        match self.damage {
            Damage::Truncated => file.set_len(rng.u64(0..size)).ok()?,
            Damage::Flipped => {
                for _ in 0..rng.u32(1..30) {
                    let (at, mut byte) = (rng.u64(0..size), [0]);
                    file.read_exact_at(&mut byte, at).ok()?;
                    file.write_all_at(&[byte[0] ^ (1 << rng.u32(0..8))], at).ok()?;
                }
            }
            Damage::Overwritten => {
                for _ in 0..rng.u32(1..4) {
                    let mut page = [0; 4096];
                    rng.fill(&mut page);
                    file.write_all_at(&page, rng.u64(0..size.div_ceil(4096)) * 4096).ok()?;
                }
            }
            Damage::Removed => fs::remove_file(path).ok()?,
            Damage::Yesterday | Damage::OlderDatabase => unreachable!("put back as a whole"),
        }
        Some(format!("{} of {size} bytes", path.file_name()?.to_string_lossy()))
    }

    /// Puts back what an earlier call kept; the first one only keeps.
    fn put_back(&mut self, scene: &Scene) -> Option<String> {
        let state = scene.world.instance.state_dir();
        let Some(backup) = &self.backup else {
            let backup = scene.world.outside.join(format!("{:?}", self.damage));
            if !copy(&state, &backup) {
                return None;
            }
            self.backup = Some(backup);
            return Some("a backup was made".to_owned());
        };
        if self.damage == Damage::Yesterday {
            for entry in fs::read_dir(&state).ok()?.flatten() {
                let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
            }
            return said(copy(backup, &state));
        }
        let journal = files(scene).into_iter().find(|f| f.ends_with("journal.db"))?;
        let inside = journal.strip_prefix(&state).ok()?;
        let copied = copy(&backup.join(inside), &journal);
        for log in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{log}", journal.display()));
        }
        said(copied)
    }
}

impl Fault for JournalFault {
    fn name(&self) -> String {
        let when = if self.running { "while it runs" } else { "while it is down" };
        format!("journal {:?} {when}", self.damage)
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        if !self.running {
            scene.kill9();
        }
        match self.damage {
            Damage::Yesterday | Damage::OlderDatabase => self.put_back(scene),
            _ => self.damage(scene, rng),
        }
    }

    fn end(&mut self, _: &mut Scene) {}
}

/// Each damage; those that are not absurd also under a running instance.
pub fn faults() -> Faults {
    use Damage::*;
    let one = |damage, running| {
        Box::new(JournalFault { damage, running, backup: None }) as Box<dyn Fault>
    };
    let down = [Truncated, Flipped, Overwritten, Removed, Yesterday, OlderDatabase];
    let mut all: Faults = down.into_iter().map(|damage| one(damage, false)).collect();
    all.extend([Truncated, Overwritten, Removed].map(|damage| one(damage, true)));
    all
}
