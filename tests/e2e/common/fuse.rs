//! A file system that the kernel calls FUSE, and that holds nothing but an empty directory: what sshfs, GlusterFS and
//! the like look like from here.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, poll};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

// <linux/fuse.h>
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const FORGET: u32 = 2;
const ENOSYS: i32 = 38;
const ENOENT: i32 = 2;
const LOOKUP: u32 = 1;

/// The mount point; gone when dropped.
pub struct Fuse {
    at: PathBuf,
    hangs: Arc<AtomicBool>,
}

impl Fuse {
    /// `None` where the system has no FUSE.
    pub fn mount(at: &Path) -> Option<Fuse> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let options =
            format!("fd={},rootmode=40700,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("test"), at, Some("fuse"), flags, Some(options.as_str())).ok()?;
        let hangs = Arc::new(AtomicBool::new(false));
        let flag = hangs.clone();
        thread::spawn(move || serve(device, &flag));
        Some(Fuse { at: at.to_owned(), hangs })
    }

    /// Takes no requests from now on, or takes them again.
    pub fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::SeqCst);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

/// Ends when the file system is unmounted.
fn serve(mut device: File, hangs: &AtomicBool) {
    let mut request = vec![0; 1 << 20];
    loop {
        // What is not read can still be given up by its process.
        let ready = poll(&mut [PollFd::new(device.as_fd(), PollFlags::POLLIN)], 5u8);
        if hangs.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        if ready == Ok(0) {
            continue;
        }
        let Ok(n @ 40..) = device.read(&mut request) else { return };
        let opcode = u32::from_ne_bytes(request[4..8].try_into().expect("4 bytes"));
        let (error, body) = match opcode {
            FORGET => continue,
            INIT => (0, init(&request[40..n])),
            GETATTR => (0, attributes()),
            OPEN | OPENDIR => (0, vec![0; 16]),
            STATFS => (0, vec![0; 80]),
            READDIR | RELEASE | RELEASEDIR => (0, vec![]),
            LOOKUP => (ENOENT, vec![]),
            _ => (ENOSYS, vec![]),
        };
        let mut answer = (16 + body.len() as u32).to_ne_bytes().to_vec();
        answer.extend((-error).to_ne_bytes());
        answer.extend(&request[8..16]);
        answer.extend(body);
        let _ = device.write_all(&answer);
    }
}

/// `fuse_init_out`, with nothing special.
fn init(wanted: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 64];
    out[0..4].copy_from_slice(&7u32.to_ne_bytes());
    out[4..8].copy_from_slice(&wanted[4..8]);
    out[20..24].copy_from_slice(&4096u32.to_ne_bytes());
    out
}

/// `fuse_attr_out` of the root directory, cached for a minute.
fn attributes() -> Vec<u8> {
    let mut out = vec![0; 104];
    out[0..8].copy_from_slice(&60u64.to_ne_bytes());
    let (attr, inode, mode, links) = (16, 1u64, 0o40_700u32, 2u32);
    out[attr..attr + 8].copy_from_slice(&inode.to_ne_bytes());
    out[attr + 60..attr + 64].copy_from_slice(&mode.to_ne_bytes());
    out[attr + 64..attr + 68].copy_from_slice(&links.to_ne_bytes());
    out
}
