//! Random operations on a tree, the same for the same seed.

use super::world::write;
use fastrand::Rng;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Names that trip programs over; each is ordinary input.
pub const HOSTILE: &[&[u8]] = &[
    b"with space",
    b" leading and trailing ",
    b"-rf",
    b"--delete",
    b"new\nline",
    b"tab\there",
    b"quote'single",
    b"quote\"double",
    b"$(touch PWNED)",
    b"`touch PWNED`",
    b"*",
    b"?x[a-z]*",
    b"back\\slash",
    b"\\#012",
    b"#hash",
    b";semicolon",
    b"\xff\xfe\x80",
    b"\xc3\x28",
    "中文 ü 🎉".as_bytes(),
    b"&|<>!%",
    b"...",
    b"~",
    b".hidden",
    b"+ plus",
    b"a:b",
    b"\x01\x7f",
    b"\r",
];

/// The longest name there is.
pub const LONG: &[u8] = &[b'n'; 255];

/// What the churn works on.
#[derive(Clone)]
pub struct Plan {
    pub root: PathBuf,
    /// Things are moved in from here and out to here; same file system.
    pub outside: PathBuf,
    /// How many directories there are to work in.
    pub dirs: usize,
    /// Operations a second.
    pub rate: u32,
    /// Sets modification times, so that another content may have the same size and time.
    pub sets_times: bool,
}

/// Churn in a thread, until it is told to stop.
pub struct Churn {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
    thread: Option<JoinHandle<u64>>,
}

impl Churn {
    /// Starts with a random seed, printed, or the one in SYNCSUP_SEED.
    pub fn start(plan: Plan) -> Churn {
        let seed = std::env::var("SYNCSUP_SEED")
            .ok()
            .map(|s| s.parse().expect("SYNCSUP_SEED is a number"));
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        println!("churn: SYNCSUP_SEED={seed}");
        Churn::of(plan, seed)
    }

    /// Starts with this seed.
    pub fn of(plan: Plan, seed: u64) -> Churn {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (told, count) = (stop.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            let mut work = Work::new(plan, seed);
            let (began, mut done) = (Instant::now(), 0);
            while !told.load(Ordering::Relaxed) {
                if !work.step() {
                    continue;
                }
                done += 1;
                count.store(done, Ordering::Relaxed);
                let due = began + Duration::from_secs(1) / work.plan.rate * done;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            u64::from(done)
        });
        Churn { stop, done, thread: Some(thread) }
    }

    /// The number of operations so far.
    pub fn done(&self) -> u32 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends it; gives the number of operations.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("taken only here and on drop");
        thread.join().expect("the churn ended well")
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The operations. Names come from fixed pools, so that they meet again; what an operation needs may be missing or of
/// another type, and then it just fails.
pub struct Work {
    plan: Plan,
    rng: Rng,
    dirs: Vec<PathBuf>,
}

impl Work {
    pub fn new(plan: Plan, seed: u64) -> Work {
        // The first 20 are in the root, each further one is in an earlier one.
        let mut dirs: Vec<PathBuf> = Vec::new();
        for i in 0..plan.dirs {
            let parent = if i < 20 { plan.root.clone() } else { dirs[(i - 20) / 2].clone() };
            dirs.push(parent.join(format!("d{i:03}")));
        }
        Work { plan, rng: Rng::with_seed(seed), dirs }
    }

    /// Makes every directory and some files in each.
    pub fn fill(&mut self) {
        for i in 0..self.dirs.len() {
            for _ in 0..self.rng.usize(0..5) {
                let name = self.name();
                let path = self.dirs[i].join(name);
                write(&path, self.content());
            }
            fs::create_dir_all(&self.dirs[i]).expect("directory");
        }
    }

    /// Creates `files` more files of `bytes` in each directory, under unused names.
    pub fn fill_more(&self, files: usize, bytes: usize) {
        let content = vec![b'x'; bytes];
        for dir in &self.dirs {
            (0..files).for_each(|n| write(&dir.join(format!("more{n:03}")), &content));
        }
    }

    /// One random operation; false when it was impossible.
    pub fn step(&mut self) -> bool {
        let done = match self.rng.u32(0..100) {
            0..40 => self.file_content(),
            40..52 => self.file_attributes(),
            52..66 => self.file_names(),
            66..80 => self.directories(),
            80..90 => self.other_types(),
            _ => self.across_the_border(),
        };
        done.is_ok()
    }

    fn name(&mut self) -> std::ffi::OsString {
        match self.rng.u32(0..100) {
            0..80 => format!("f{:02}", self.rng.u32(0..20)).into(),
            80..98 => OsStr::from_bytes(HOSTILE[self.rng.usize(0..HOSTILE.len())]).to_owned(),
            _ => OsStr::from_bytes(LONG).to_owned(),
        }
    }

    fn dir(&mut self) -> PathBuf {
        self.dirs[self.rng.usize(0..self.dirs.len())].clone()
    }

    fn file(&mut self) -> PathBuf {
        self.dir().join(self.name())
    }

    fn content(&mut self) -> Vec<u8> {
        let size = match self.rng.u32(0..100) {
            0..5 => 0,
            5..80 => self.rng.usize(1..2_000),
            80..98 => self.rng.usize(2_000..50_000),
            _ => self.rng.usize(50_000..400_000),
        };
        let mut bytes = vec![0; size];
        self.rng.fill(&mut bytes);
        bytes
    }

    fn file_content(&mut self) -> io::Result<()> {
        let path = self.file();
        match self.rng.u32(0..10) {
            0..4 => {
                fs::create_dir_all(path.parent().expect("in a directory"))?;
                put(&path, self.content())
            }
            4 => open(OpenOptions::new().append(true), &path)?.write_all(&self.content()),
            5 => open(OpenOptions::new().write(true), &path)?.set_len(self.rng.u64(0..1_000)),
            6..8 => same_size(&path, self.rng.u8(..)),
            8 => fs::remove_file(&path),
            _ if self.plan.sets_times => self.same_size_and_time(&path),
            _ => Ok(()),
        }
    }

    /// What `cp -p` and `tar` do: another content under the same size and the same old time.
    fn same_size_and_time(&mut self, path: &Path) -> io::Result<()> {
        let fill = self.rng.u8(..);
        if self.rng.bool() {
            let mut file = open(OpenOptions::new().create(true).truncate(false).write(true), path)?;
            file.set_len(1_000)?;
            file.write_all(&[fill; 1_000])?;
            return file.set_times(old_time(0));
        }
        let other = self.plan.outside.join("replacement");
        put(&other, [fill; 1_000])?;
        File::open(&other)?.set_times(old_time(0))?;
        fs::rename(&other, path)
    }

    fn file_attributes(&mut self) -> io::Result<()> {
        let path = if self.rng.u32(0..4) == 0 { self.dir() } else { self.file() };
        if fs::symlink_metadata(&path)?.is_symlink() {
            return Ok(());
        }
        match self.rng.bool() {
            true => {
                // The owner keeps access, so that a churn without root's rights can go on.
                let mode = 0o600 | self.rng.u32(0..0o200) | if path.is_dir() { 0o700 } else { 0 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            }
            // Opening a fifo would block.
            false if self.plan.sets_times && (path.is_file() || path.is_dir()) => {
                File::open(&path)?.set_times(old_time(self.rng.u64(0..4)))
            }
            false => Ok(()),
        }
    }

    fn file_names(&mut self) -> io::Result<()> {
        let (from, to) = (self.file(), self.file());
        match self.rng.u32(0..10) {
            0..4 => fs::rename(&from, from.with_file_name(self.name())),
            4..8 => fs::rename(&from, &to),
            8 => fs::hard_link(&from, &to),
            _ => {
                // An editor's way to save.
                let temporary = from.with_extension("new");
                put(&temporary, self.content())?;
                fs::rename(&temporary, &from)
            }
        }
    }

    fn directories(&mut self) -> io::Result<()> {
        let (dir, other) = (self.dir(), self.dir());
        let sibling = other.with_file_name(format!("r{}", self.rng.u32(0..5)));
        match self.rng.u32(0..12) {
            0..3 => fs::create_dir_all(&dir),
            3 => fs::rename(&dir, &sibling),
            4 => fs::rename(&dir, &other),
            5 => fs::rename(&sibling, &dir),
            6 => fs::remove_dir_all(&sibling),
            7 if self.rng.u32(0..4) == 0 => fs::remove_dir_all(&dir),
            7 => fs::remove_dir(&dir),
            8 => {
                let deep = dir.join("a/b/c/d/e");
                fs::create_dir_all(&deep)?;
                put(deep.join("leaf"), self.content())?;
                if self.rng.bool() { fs::remove_dir_all(dir.join("a")) } else { Ok(()) }
            }
            9 => {
                let (d, e) = (dir.join("d"), dir.join("e"));
                fs::create_dir(&d)?;
                put(d.join("first"), self.content())?;
                fs::rename(&d, &e)?;
                fs::create_dir(&d)?;
                put(d.join("second"), self.content())
            }
            10 => {
                // `mv cur old; mv new cur`
                let new = dir.with_extension("new");
                fs::create_dir_all(&new)?;
                put(new.join(self.name()), self.content())?;
                fs::rename(&dir, &sibling)?;
                fs::rename(&new, &dir)
            }
            _ => exchange(&dir, &other),
        }
    }

    fn other_types(&mut self) -> io::Result<()> {
        let path = self.file();
        match self.rng.u32(0..8) {
            0..2 => symlink(self.name(), &path),
            2 => symlink("../nowhere/to be found", &path),
            3 => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o644))
                .map_err(io::Error::from),
            4 => {
                fs::remove_file(&path)?;
                fs::create_dir(&path)?;
                put(path.join("was a file"), self.content())
            }
            5 => {
                fs::remove_dir_all(&path)?;
                put(&path, self.content())
            }
            6 => {
                let dir = self.dir();
                fs::remove_dir_all(&dir)?;
                symlink("d000", &dir)
            }
            _ => fs::remove_file(if self.rng.bool() { self.dir() } else { path }),
        }
    }

    fn across_the_border(&mut self) -> io::Result<()> {
        let inside = if self.rng.bool() { self.dir() } else { self.file() };
        let outside = self.plan.outside.join(format!("o{}", self.rng.u32(0..10)));
        match self.rng.u32(0..3) {
            0 => fs::rename(&inside, &outside),
            1 => fs::rename(&outside, &inside),
            _ => {
                remove(&outside);
                write(&outside.join("x/y"), self.content());
                write(&outside.join("z"), self.content());
                Ok(())
            }
        }
    }
}

/// Opens without waiting for the other end of a fifo.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path)
}

/// Writes a whole file.
fn put(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> io::Result<()> {
    open(OpenOptions::new().create(true).truncate(true).write(true), path.as_ref())?
        .write_all(content.as_ref())
}

/// Rewrites a file with other bytes, its size unchanged.
fn same_size(path: &Path, fill: u8) -> io::Result<()> {
    let mut file = open(OpenOptions::new().write(true), path)?;
    let size = file.metadata()?.len() as usize;
    file.write_all(&vec![fill; size])
}

/// Exchanges two names.
pub fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).map_err(io::Error::from)
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

/// One of a few whole seconds long ago.
pub fn old_time(index: u64) -> FileTimes {
    FileTimes::new()
        .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + index))
}
