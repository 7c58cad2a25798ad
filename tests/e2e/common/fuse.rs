//! A file system that the kernel calls FUSE, and that holds nothing but an empty directory: what sshfs, GlusterFS and
//! the like look like from here.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;

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
pub struct Fuse(PathBuf);

impl Fuse {
    /// `None` where the system has no FUSE.
    pub fn mount(at: &Path) -> Option<Fuse> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let options =
            format!("fd={},rootmode=40700,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("test"), at, Some("fuse"), flags, Some(options.as_str())).ok()?;
        thread::spawn(move || serve(device));
        Some(Fuse(at.to_owned()))
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Ends when the file system is unmounted.
fn serve(mut device: File) {
    let mut request = vec![0; 1 << 20];
    while let Ok(n @ 40..) = device.read(&mut request) {
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
