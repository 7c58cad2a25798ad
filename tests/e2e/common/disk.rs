//! A disk of a test's own: an ext4 in a file. What its kernel has not written out yet is not in the file, so that a copy
//! of the file is what a power cut leaves.

use super::namespace::Mounted;
use super::wait::{DEADLINE, poll};
use nix::mount::{MsFlags, mount};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The disk, and where it is mounted. Needs private mounts.
pub struct Disk {
    image: PathBuf,
    device: PathBuf,
    at: PathBuf,
    mounted: Option<Mounted>,
}

impl Disk {
    /// A new one in the file `image`, mounted at `at`; says why and gives `None` where the system has no loop devices.
    pub fn new(image: &Path, at: &Path) -> Option<Disk> {
        File::create(image).and_then(|file| file.set_len(24 << 20)).expect("an image");
        Disk::format(image, at)
    }

    /// The same in a file that is there and has its size.
    pub fn format(image: &Path, at: &Path) -> Option<Disk> {
        run("mkfs.ext4", &["-q", "-F", text(image)])?;
        Disk::of(image, at)
    }

    /// The disk in the file `image`, mounted at `at`.
    pub fn of(image: &Path, at: &Path) -> Option<Disk> {
        let device = run("losetup", &["--find", "--show", text(image)])?;
        let mut disk =
            Disk { image: image.into(), device: device.into(), at: at.into(), mounted: None };
        disk.mount();
        Some(disk)
    }

    /// Mounts it again.
    pub fn mount(&mut self) {
        let none = None::<&str>;
        mount(Some(&self.device), &self.at, Some("ext4"), MsFlags::empty(), none).expect("ext4");
        self.mounted = Some(Mounted::taken(&self.at));
    }

    /// Unmounts it; nothing may use it for long.
    pub fn unmount(&mut self) {
        let mounted = self.mounted.take().expect("it is mounted");
        let gone = poll(DEADLINE, || mounted.unmount_unless_busy().ok());
        assert!(gone.is_some(), "a process uses {}", self.at.display());
        std::mem::forget(mounted);
    }

    /// What a power cut would leave now.
    pub fn copy(&self, to: &Path) {
        fs::copy(&self.image, to).expect("a copy of the image");
    }

    /// Puts an older state back; it is not mounted.
    pub fn put_back(&self, from: &Path) {
        assert!(self.mounted.is_none(), "it is mounted");
        fs::copy(from, &self.image).expect("the older image");
        run("blockdev", &["--flushbufs", text(&self.device)]).expect("the device reads it again");
    }

    /// The file.
    pub fn image(&self) -> &Path {
        &self.image
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.mounted = None;
        let _ = run("losetup", &["--detach", text(&self.device)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of this test")
}

/// Its output; `None`, and why, when it fails.
fn run(program: &str, args: &[&str]) -> Option<String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let why = match Command::new(program).args(args).env("PATH", path).output() {
        Ok(out) if out.status.success() => {
            return Some(String::from_utf8_lossy(&out.stdout).trim().to_owned());
        }
        Ok(out) => String::from_utf8_lossy(&out.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("SKIPPED: {program}: {why}");
    None
}
