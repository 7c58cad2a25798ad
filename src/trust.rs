//! Decides whose files this process may trust. The contents of a configuration, a password file or a program are
//! applied with all rights of the user that runs it, so only that user and root may have write permission.

use crate::language::say;
use crate::path::{names_from_last, printable};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most links that are followed on one path, as in the kernel.
const LINKS_MOST: usize = 40;
const STICKY: u32 = 0o1000;
/// Debian's group `staff`, which may write below `/usr/local` and is documented as equivalent to root there.
const STAFF: u32 = 50;

/// The user that runs this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
}

impl User {
    /// The user of this process.
    pub fn current() -> Self {
        let own = fs::metadata("/proc/self");
        own.map_or(Self { uid: u32::MAX, gid: u32::MAX }, |m| Self { uid: m.uid(), gid: m.gid() })
    }

    /// True for root and the user itself.
    pub fn trusts(self, owner: u32) -> bool {
        owner == 0 || owner == self.uid
    }
}

/// The system's data about one name on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Its kind.
    pub kind: Kind,
}

/// The kind of a name on a path or at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A symbolic link, whose permission bits mean nothing.
    Link,
    /// Anything else.
    File,
}

impl Facts {
    fn of(meta: &Metadata) -> Self {
        let kind = match meta.file_type() {
            t if t.is_dir() => Kind::Directory,
            t if t.is_symlink() => Kind::Link,
            _ => Kind::File,
        };
        Self { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() & 0o7777, kind }
    }
}

/// Why a name is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It belongs to this user.
    Owner(u32),
    /// Others can write it: its permission bits.
    Writable(u32),
}

/// The data of a name; of a link itself.
pub fn facts(path: &Path) -> io::Result<Facts> {
    Ok(Facts::of(&fs::symlink_metadata(path)?))
}

/// Why `user` does not trust a name. The group root and the user's own group count as the user: their members were
/// chosen for that. In a directory like /tmp, whose sticky bit protects names from other users, a name that is itself
/// trusted is safe.
pub fn doubt(facts: Facts, user: User) -> Option<Doubt> {
    if !user.trusts(facts.uid) {
        return Some(Doubt::Owner(facts.uid));
    }
    let own_group = facts.gid == 0 || facts.gid == user.gid;
    let bits = if own_group { 0o002 } else { 0o022 };
    let shared = facts.kind == Kind::Directory && facts.mode & STICKY != 0;
    let writable = facts.kind != Kind::Link && facts.mode & bits != 0 && !shared;
    writable.then_some(Doubt::Writable(facts.mode))
}

/// The first untrusted name on the path to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubted {
    /// That name.
    pub path: PathBuf,
    /// It is the file itself, not a directory above it or a link to it.
    pub itself: bool,
    /// What is wrong with it.
    pub why: Doubt,
}

impl Doubted {
    /// The text for users: what is wrong, the possible consequences, what to do.
    pub fn text(&self, user: User) -> String {
        let path = printable(self.path.as_os_str().as_bytes());
        let me = if user.uid == 0 { "root".to_owned() } else { say!("user {}", user.uid) };
        let octal = |mode| format!("{mode:04o}");
        let what = match (self.why, self.itself) {
            (Doubt::Owner(uid), true) => say!("it belongs to user {}", uid),
            (Doubt::Owner(uid), false) => say!("{} belongs to user {}", path, uid),
            (Doubt::Writable(mode), true) => say!("others can write it (mode {})", octal(mode)),
            (Doubt::Writable(mode), false) => {
                say!("others can write {} (mode {})", path, octal(mode))
            }
        };
        let how = match self.why {
            Doubt::Owner(_) => format!("chown {}", user.uid),
            Doubt::Writable(_) => "chmod go-w".to_owned(),
        };
        say!(
            "{}, and so could control what is done as {}; examine it, then run {} {}",
            what,
            me,
            how,
            path
        )
    }
}

/// Examines every name on the path from the root, through every link, and the file. A path that does not exist causes
/// no doubt.
pub fn doubted(path: &Path, user: User) -> io::Result<Option<Doubted>> {
    let mut left: Vec<OsString> = names_from_last(&std::path::absolute(path)?);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let here = at.join(&name);
        let meta = match fs::symlink_metadata(&here) {
            Ok(meta) => meta,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let facts = Facts::of(&meta);
        if let Some(why) = doubt(facts, user)
            && !excused(&here, facts, why)
        {
            return Ok(Some(Doubted {
                itself: left.is_empty() && facts.kind != Kind::Link,
                path: here,
                why,
            }));
        }
        if facts.kind != Kind::Link {
            at = here;
            continue;
        }
        links += 1;
        if links > LINKS_MOST {
            return Err(io::Error::other(say!("too many levels of symbolic links")));
        }
        let target = fs::read_link(&here)?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(names_from_last(&target));
    }
    Ok(None)
}

fn excused(path: &Path, facts: Facts, why: Doubt) -> bool {
    match why {
        Doubt::Owner(_) => false,
        Doubt::Writable(_) => {
            let local =
                path.starts_with("/usr/local") && facts.gid == STAFF && facts.mode & 0o002 == 0;
            local || (facts.kind == Kind::Directory && is_read_only_mount(path))
        }
    }
}

/// True if this directory is itself a mount point that is mounted read-only: a ConfigMap of Kubernetes has mode 0777. A
/// directory below such a mount does not count, because it may be writable elsewhere: systemd's ProtectSystem= hides
/// that.
fn is_read_only_mount(path: &Path) -> bool {
    read_only_in(&fs::read("/proc/self/mountinfo").unwrap_or_default(), path)
}

/// As [`is_read_only_mount`], by this mount table. The last mount over a path applies.
fn read_only_in(table: &[u8], path: &Path) -> bool {
    let mut options = table.split(|&b| b == b'\n').filter_map(|line| {
        let mut words = line.split(|&b| b == b' ').skip(4);
        // A blank in a path is written as \040; such a mount is not recognised.
        let here = words.next()? == path.as_os_str().as_bytes();
        words.next().filter(|_| here)
    });
    options.next_back().is_some_and(|options| options.split(|&b| b == b',').any(|o| o == b"ro"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    const ROOT: User = User { uid: 0, gid: 0 };
    const ME: User = User { uid: 1000, gid: 1000 };

    #[test]
    fn only_files_of_root_and_the_user_are_trusted() {
        let facts = |uid, gid, mode, kind| Facts { uid, gid, mode, kind };
        use Kind::{Directory, File, Link};
        for (facts, user, expected) in [
            (facts(0, 0, 0o644, File), ROOT, None),
            (facts(0, 0, 0o664, File), ROOT, None),
            (facts(0, 7, 0o664, File), ROOT, Some(Doubt::Writable(0o664))),
            (facts(0, 0, 0o646, File), ROOT, Some(Doubt::Writable(0o646))),
            (facts(1000, 0, 0o600, File), ROOT, Some(Doubt::Owner(1000))),
            (facts(1000, 0, 0o777, Link), ROOT, Some(Doubt::Owner(1000))),
            (facts(0, 0, 0o777, Link), ROOT, None),
            (facts(0, 0, 0o1777, Directory), ROOT, None),
            (facts(0, 0, 0o1777, File), ROOT, Some(Doubt::Writable(0o1777))),
            (facts(0, 7, 0o775, Directory), ROOT, Some(Doubt::Writable(0o775))),
            (facts(7, 7, 0o1777, Directory), ROOT, Some(Doubt::Owner(7))),
            (facts(0, 0, 0o644, File), ME, None),
            (facts(1000, 1000, 0o664, File), ME, None),
            (facts(1000, 100, 0o664, File), ME, Some(Doubt::Writable(0o664))),
            (facts(1001, 1000, 0o600, File), ME, Some(Doubt::Owner(1001))),
        ] {
            assert_eq!(doubt(facts, user), expected, "{facts:?} {user:?}");
        }
    }

    #[test]
    fn the_last_mount_over_a_directory_counts() {
        let table = b"1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /a/b ro,nosuid - tmpfs x rw\n\
            3 1 0:6 / /a/c ro - tmpfs x ro\n4 3 0:7 / /a/c rw - tmpfs x rw\n";
        let read_only = |path: &str| read_only_in(table, Path::new(path));
        assert!(read_only("/a/b"));
        for path in ["/a/b/x", "/a/bb", "/a", "/a/c", "/"] {
            assert!(!read_only(path), "{path}");
        }
        assert!(!read_only_in(b"", Path::new("/a")));
    }

    #[test]
    fn every_directory_on_the_way_counts_also_behind_links() {
        if User::current().uid != 0 {
            eprintln!("SKIPPED: not root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let at = |path: &str| top.join(path);
        let set = |path: &str, mode| {
            fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).unwrap()
        };
        let look = |path: &str| {
            let found = doubted(&at(path), ROOT).unwrap();
            found.map(|d| (d.path.strip_prefix(&top).unwrap().display().to_string(), d.itself))
        };
        let said = |path: &str, itself| Some((path.to_owned(), itself));
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/f"), "").unwrap();
        symlink("../a/b/f", at("a/link")).unwrap();
        symlink(at("a/b"), at("dir")).unwrap();
        for path in ["a/b/f", "a/link", "dir/f", "a/none", "a/b/f/none", "a/b/../link"] {
            assert_eq!(look(path), None, "{path}");
        }
        set("a/b/f", 0o666);
        for path in ["a/b/f", "a/link", "dir/f"] {
            assert_eq!(look(path), said("a/b/f", true), "{path}");
        }
        set("a/b/f", 0o600);
        chown(at("a/b/f"), Some(1234), None).unwrap();
        assert_eq!(look("dir/f"), said("a/b/f", true));
        chown(at("a/b/f"), Some(0), None).unwrap();
        set("a/b", 0o777);
        for path in ["a/b/f", "a/link", "dir/f", "a/b/none"] {
            assert_eq!(look(path), said("a/b", false), "{path}");
        }
        // Others may create names in this directory, but not remove root's.
        set("a/b", 0o1777);
        assert_eq!(look("dir/f"), None);
        chown(at("a/b"), Some(1234), None).unwrap();
        assert_eq!(look("dir/f"), said("a/b", false));
        chown(at("a/b"), Some(0), None).unwrap();
        std::os::unix::fs::lchown(at("a/link"), Some(1234), None).unwrap();
        assert_eq!(look("a/link"), said("a/link", false));
        symlink("loop", at("loop")).unwrap();
        assert!(doubted(&at("loop"), ROOT).is_err());
    }

    #[test]
    fn the_error_says_what_to_do() {
        let at = |why, itself| Doubted { path: "/a b".into(), itself, why }.text(ROOT);
        assert_eq!(
            at(Doubt::Owner(7), true),
            "it belongs to user 7, and so could control what is done as root; examine it, then run chown 0 /a b"
        );
        assert!(at(Doubt::Writable(0o666), false).starts_with("others can write /a b (mode 0666)"));
    }
}
