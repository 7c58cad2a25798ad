//! What the checks query from the machine.

use super::destination::{address, is_local_name};
use super::here::{self, Daemon};
use crate::filter::Filter;
use crate::language::say;
use crate::path::RelPath;
use crate::script;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// rsync reads at most this much of a password file, in bytes.
const PASSWORD_LONGEST: u64 = 4_096;
/// The longest accepted `rsyncd.conf`, in bytes.
const RSYNCD_CONF_LONGEST: u64 = 1 << 20;

/// The state of the path of a localpath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// A readable directory.
    Directory,
    /// It does not exist.
    Missing,
    /// It is not a directory.
    NotDirectory,
    /// The system's error message.
    Refused(String),
}

/// The state of a password file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordFile {
    /// It exists.
    Found {
        /// Its permission bits.
        mode: u32,
        /// Its owner, by number.
        owner: u32,
        /// Its length in bytes.
        size: u64,
        /// Its beginning: what rsync reads.
        start: Vec<u8>,
    },
    /// It does not exist.
    Missing,
    /// The system's error message.
    Refused(String),
}

/// A program that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Its beginning, as much as the kernel reads.
    Begins(Vec<u8>),
    /// It does not exist.
    Missing,
    /// It cannot be read.
    Unknown,
}

/// The machine, for the checks.
pub trait Probe {
    /// Examines a localpath.
    fn watch(&self, path: &Path) -> Watch;
    /// Examines a password file.
    fn password_file(&self, path: &Path) -> PasswordFile;
    /// Examines a program.
    fn program(&self, path: &Path) -> Program;
    /// The number of the user that runs this.
    fn user(&self) -> u32;
    /// The first line of `PROGRAM --version`.
    fn rsync_version(&self, program: &OsStr) -> Option<String>;
    /// The number of directories of a localpath that are not excluded, including its root.
    fn directories(&self, root: &Path, filter: &Filter) -> u64;
    /// `fs.inotify.max_user_watches`.
    fn max_user_watches(&self) -> Option<u64>;
    /// True if this host is this machine, as far as that can be determined without a name server.
    fn is_here(&self, host: &str) -> bool;
    /// The contents of this machine's `rsyncd.conf`.
    fn daemon(&self) -> Daemon;
    /// The path without symbolic links, as far as it exists.
    fn real(&self, path: &Path) -> PathBuf;
}

/// This machine.
pub struct Machine;

impl Probe for Machine {
    fn watch(&self, path: &Path) -> Watch {
        match fs::metadata(path) {
            Ok(meta) if !meta.is_dir() => Watch::NotDirectory,
            Ok(_) => fs::read_dir(path)
                .map_or_else(|e| Watch::Refused(e.to_string()), |_| Watch::Directory),
            Err(error) if error.kind() == ErrorKind::NotFound => Watch::Missing,
            Err(error) if error.kind() == ErrorKind::NotADirectory => Watch::Missing,
            Err(error) => Watch::Refused(error.to_string()),
        }
    }

    fn password_file(&self, path: &Path) -> PasswordFile {
        match fs::metadata(path) {
            Ok(meta) if !meta.is_file() => PasswordFile::Refused(say!("not a file")),
            Ok(meta) => match beginning(path, PASSWORD_LONGEST) {
                Ok(start) => PasswordFile::Found {
                    mode: meta.mode() & 0o7777,
                    owner: meta.uid(),
                    size: meta.len(),
                    start,
                },
                Err(error) => PasswordFile::Refused(error.to_string()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => PasswordFile::Missing,
            Err(error) => PasswordFile::Refused(error.to_string()),
        }
    }

    fn program(&self, path: &Path) -> Program {
        match fs::metadata(path) {
            Ok(meta) if meta.is_file() => {
                beginning(path, script::START).map_or(Program::Unknown, Program::Begins)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Program::Missing,
            // Reading another type may block, or change its state.
            Ok(_) | Err(_) => Program::Unknown,
        }
    }

    fn user(&self) -> u32 {
        fs::metadata("/proc/self").map_or(u32::MAX, |meta| meta.uid())
    }

    fn rsync_version(&self, program: &OsStr) -> Option<String> {
        let output = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Some(text.lines().next()?.to_owned())
    }

    fn directories(&self, root: &Path, filter: &Filter) -> u64 {
        let mut count = 0;
        let mut open = vec![RelPath::root()];
        while let Some(directory) = open.pop() {
            let Ok(entries) = fs::read_dir(directory.below(root)) else { continue };
            count += 1;
            for entry in entries.flatten() {
                let path = directory.join(&entry.file_name());
                if entry.file_type().is_ok_and(|t| t.is_dir()) && !filter.excludes(&path, true) {
                    open.push(path);
                }
            }
        }
        count
    }

    fn max_user_watches(&self) -> Option<u64> {
        fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?.trim().parse().ok()
    }

    fn is_here(&self, host: &str) -> bool {
        let name = host.trim_start_matches('[').trim_end_matches(['.', ']']).to_lowercase();
        let names: Vec<IpAddr> = match address(&name) {
            Some(address) => vec![address],
            None if is_local_name(&name) => return true,
            None => {
                let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
                let own = own.trim().to_lowercase();
                if !own.is_empty() && (name == own || own.split('.').next() == Some(&name)) {
                    return true;
                }
                addresses_of(&name, &fs::read_to_string("/etc/hosts").unwrap_or_default())
            }
        };
        // A socket can only be bound to an address of this machine.
        names
            .into_iter()
            .any(|ip| ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok())
    }

    fn daemon(&self) -> Daemon {
        let mut text = Vec::new();
        let read = fs::File::open("/etc/rsyncd.conf")
            .and_then(|file| file.take(RSYNCD_CONF_LONGEST).read_to_end(&mut text));
        read.map_or_else(|_| Daemon::default(), |_| here::daemon(&text))
    }

    fn real(&self, path: &Path) -> PathBuf {
        let there = path.ancestors().find_map(|a| Some((a, a.canonicalize().ok()?)));
        let Some((there, real)) = there else { return path.to_owned() };
        path.strip_prefix(there).map_or_else(|_| path.to_owned(), |rest| real.join(rest))
    }
}

/// The first bytes of a file, at most this number.
fn beginning(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut start)?;
    Ok(start)
}

/// The addresses of a name in the text of an `/etc/hosts`.
fn addresses_of(name: &str, hosts: &str) -> Vec<IpAddr> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or(""));
    let words = lines.map(|line| line.split_whitespace());
    words
        .filter_map(|mut words| {
            let address = address(words.next()?)?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_many_names() {
        let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]", own.trim()] {
            assert!(Machine.is_here(host), "{host}");
        }
        // Reserved for documentation (RFC 5737, RFC 3849): no host has these.
        for host in ["192.0.2.1", "[2001:db8::1]", "slave.example.org"] {
            assert!(!Machine.is_here(host), "{host}");
        }
        let hosts = "127.0.0.1 a\n10.0.0.2\tweb2 Web2.example.org # web3\nx web2\n";
        assert_eq!(addresses_of("web2.example.org", hosts), [IpAddr::from([10, 0, 0, 2])]);
        assert!(addresses_of("web3", hosts).is_empty());
    }

    #[test]
    fn missing_components_of_a_path_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir(base.join("d")).unwrap();
        std::os::unix::fs::symlink("d", base.join("l")).unwrap();
        assert_eq!(Machine.real(&base.join("l/a/b")), base.join("d/a/b"));
        assert_eq!(Machine.real(&base.join("l/./")), base.join("d"));
    }
}
