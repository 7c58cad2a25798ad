//! A model of rsync, both ends of it: what it does to a slave, step by step, and what it says. It knows the forms that a
//! pusher without filters uses. What real releases do is held against the same forms in `tests/rsync`.

use super::filter::Rules;
use crate::stat::Exited;
use crate::sys::rsync::simulated::{Process, Shared};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, FileTimes, Metadata};
use std::io::{Read as _, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::MutexGuard;

const SECOND_NS: i64 = 1_000_000_000;

/// What a step has found.
#[derive(Debug)]
pub enum Found {
    /// Something that breaks a promise.
    Broken(String),
    /// Nothing of note.
    Nothing,
}

/// One entry of the list.
#[derive(Clone, Debug)]
enum Entry {
    /// It was there.
    Present(Seen),
    /// It was listed, and is missing.
    Missing,
}

/// A name as it was when it was listed.
#[derive(Clone, Debug)]
struct Seen {
    dir: bool,
    link: Option<PathBuf>,
    size: u64,
    mtime_ns: i64,
    mode: u32,
}

impl Seen {
    fn of(path: &Path, stat: &Metadata) -> Seen {
        Seen {
            dir: stat.is_dir(),
            link: fs::read_link(path).ok(),
            size: stat.len(),
            mtime_ns: stat.mtime() * 1_000_000_000 + stat.mtime_nsec(),
            mode: stat.mode(),
        }
    }
}

/// A file whose content was read and is not yet in place.
struct Read {
    name: PathBuf,
    seen: Seen,
    content: Vec<u8>,
    created: bool,
}

/// What the slave is like.
#[derive(Debug, Default)]
pub struct Slave {
    /// Its receiver fails where a missing name is to be deleted.
    pub old: bool,
    /// Its file system stores times in whole seconds.
    pub coarse: bool,
    /// Names that it lets nobody delete or replace.
    pub refused: BTreeSet<PathBuf>,
    /// Names that were deleted since the world last looked.
    pub deleted: Vec<PathBuf>,
}

/// An rsync at work.
pub struct Transfer {
    process: Shared,
    slave: PathBuf,
    like: Rc<RefCell<Slave>>,
    flags: BTreeSet<String>,
    /// Its list, once it has all of it.
    given: Option<Vec<u8>>,
    /// What it has of it before that.
    coming: Vec<u8>,
    rules: Rules,
    list: BTreeMap<PathBuf, Entry>,
    work: Option<VecDeque<PathBuf>>,
    /// The name that a comparison has looked at last.
    compared: Option<PathBuf>,
    read: Option<Read>,
    /// Directories whose times are set at the end.
    times: Vec<(PathBuf, Seen)>,
    vanished: bool,
    failed: Cell<bool>,
    sent: u64,
    /// The step of the schedule at which it began.
    began: u64,
}

impl Transfer {
    /// One that was just started, at this step of the schedule.
    pub fn new(process: Shared, slave: &Path, like: Rc<RefCell<Slave>>, began: u64) -> Self {
        let words = process.lock().unwrap().argv.clone();
        let flags = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        Self {
            process,
            slave: slave.to_owned(),
            like,
            flags,
            given: None,
            coming: Vec::new(),
            rules: Rules::of(&words),
            list: BTreeMap::new(),
            work: None,
            compared: None,
            read: None,
            times: Vec::new(),
            vanished: false,
            failed: Cell::new(false),
            sent: 0,
            began,
        }
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap()
    }

    /// What it was asked for, for people.
    pub fn shown(&self) -> String {
        let process = self.process();
        let list = String::from_utf8_lossy(self.list()).replace('\0', " ");
        let plain = |word: &&std::ffi::OsString| !word.to_string_lossy().contains("--sockopts");
        let words: Vec<_> = process.argv[1..].iter().filter(plain).collect();
        format!("{words:?} {list} {}", self.rules)
    }

    /// True for one that was started ahead, and has no list yet.
    pub fn waits(&self) -> bool {
        self.given.is_none() && self.coming.is_empty() && !self.is_over()
    }

    /// Reads its list, up to the end of it. True if it has got it now.
    pub fn read_input(&mut self) -> bool {
        if self.given.is_some() {
            return false;
        }
        let mut buffer = [0; 4_096];
        let mut input = self.process().input.try_clone().unwrap();
        loop {
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.coming.extend_from_slice(&buffer[..count]),
                // A process that another thread of the test is starting may have the other end open for a moment.
                Err(_) => return false,
            }
        }
        self.given = Some(std::mem::take(&mut self.coming));
        true
    }

    fn list(&self) -> &[u8] {
        self.given.as_deref().unwrap_or_default()
    }

    /// Gives a name of the slave the attributes that it has on the master.
    fn set_attributes(&self, path: &Path, seen: &Seen) {
        let unit_ns = if self.like.borrow().coarse { SECOND_NS } else { 1 };
        attributes(path, &Seen { mtime_ns: seen.mtime_ns / unit_ns * unit_ns, ..seen.clone() });
    }

    /// True if two times are equal for it.
    fn same_time(&self, one_ns: i64, other_ns: i64) -> bool {
        let window = self.flags.iter().find_map(|flag| flag.strip_prefix("--modify-window="));
        match window.and_then(|window| window.parse::<i64>().ok()) {
            Some(seconds @ 0..) => (one_ns / SECOND_NS - other_ns / SECOND_NS).abs() <= seconds,
            _ => one_ns == other_ns,
        }
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    fn dry(&self) -> bool {
        self.has("-n")
    }

    /// The names that it may change. What is pushed whole is changed beside others.
    pub fn touches(&self) -> Vec<PathBuf> {
        if self.dry() || self.is_over() || self.has("--recursive") {
            return Vec::new();
        }
        let names = self.rules.included();
        if !names.is_empty() {
            return names;
        }
        let list = self.list().to_vec();
        let words = list.split(|b| *b == 0).map(|word| word.strip_suffix(b"/").unwrap_or(word));
        let names = words.map(|word| PathBuf::from(OsStr::from_bytes(word.trim_ascii_start())));
        names.map(|name| name.strip_prefix("/").unwrap_or(&name).to_owned()).collect()
    }

    /// True if the process has exited or was killed.
    pub fn is_over(&self) -> bool {
        self.process().exited.is_some()
    }

    /// True if only its receiver is left, and has something to do.
    pub fn lingers(&self) -> bool {
        self.is_over() && self.read.is_some() && !self.dry()
    }

    /// True if it has read something that is not in place.
    pub fn has_read(&self) -> bool {
        self.read.is_some()
    }

    /// A name of which it knows something that may be outdated soon: what it has read, or compared last.
    pub fn at_risk(&self) -> Option<&Path> {
        let read = self.read.as_ref().map(|read| read.name.as_path());
        read.or(self.compared.as_deref().filter(|_| !self.is_over()))
    }

    /// Kills it. Its receiver may put in place what it has read, until its timeout.
    pub fn kill(&self) {
        self.process().kill();
    }

    fn say(&self, line: &str) {
        let _ = writeln!(self.process().stdout.try_clone().unwrap(), "{line}");
    }

    fn complain(&self, line: &str) {
        let _ = writeln!(self.process().stderr.try_clone().unwrap(), "{line}");
    }

    fn exit(&self, code: i32, why: &str) {
        if code != 0 {
            self.complain(&format!("rsync error: {why} (code {code}) at main.c(1) [sender=3.5.0]"));
        }
        self.process().exited = Some(Exited::Code(code));
    }

    /// The remote cannot be reached.
    pub fn refuse(&self) {
        self.complain(
            "rsync: [sender] failed to connect to 127.0.0.1 (127.0.0.1): Connection refused (111)",
        );
        self.exit(10, "error in socket IO");
    }

    /// The connection breaks.
    pub fn cut(&self) {
        self.complain("rsync: connection unexpectedly closed (1 bytes received so far) [sender]");
        self.exit(12, "error in rsync protocol data stream");
    }

    /// Puts in place what was read, when only the receiver is left.
    pub fn linger(&mut self) {
        self.install();
    }

    /// One step. `there(path)` says since which step of the schedule a name has been there without interruption.
    pub fn step(&mut self, there: &dyn Fn(&Path) -> Option<u64>) -> Found {
        self.read_input();
        if self.given.is_none() {
            return Found::Nothing;
        }
        if self.work.is_none() {
            if self.like.borrow().old && self.has("--delete-missing-args") && self.lists_missing() {
                self.complain("invalid file mode 00 for x [Receiver]");
                self.exit(2, "protocol incompatibility");
                return Found::Nothing;
            }
            self.read_list();
            return Found::Nothing;
        }
        if self.read.is_some() {
            self.install();
            return Found::Nothing;
        }
        match self.work.as_mut().and_then(VecDeque::pop_front) {
            Some(name) => {
                let found = self.handle(&name, there);
                self.compared = self.dry().then_some(name);
                found
            }
            None => {
                self.end();
                Found::Nothing
            }
        }
    }

    fn lists_missing(&self) -> bool {
        let list = self.list().to_vec();
        let source = self.source();
        let mut words = list.split(|b| *b == 0).filter(|word| !word.is_empty());
        words.any(|word| {
            let name = OsStr::from_bytes(word).to_string_lossy().trim_matches('/').to_owned();
            fs::symlink_metadata(source.join(name)).is_err()
        })
    }

    /// True, with a message, if the slave lets nobody touch this name.
    fn refused(&self, side: &str, name: &Path) -> bool {
        let refused = self.like.borrow().refused.contains(name) && !self.dry();
        if refused {
            self.failed.set(true);
            let name = name.display();
            self.complain(&match side {
                "generator" => format!(
                    "rsync: [generator] delete_file: unlink({name}) failed: Device or resource busy (16)"
                ),
                _ => format!(
                    "rsync: [receiver] rename \"/.x.AbCdEf\" -> \"{name}\": Device or resource busy (16)"
                ),
            });
        }
        refused
    }

    fn source(&self) -> PathBuf {
        self.process().directory.clone()
    }

    fn add(&mut self, name: PathBuf, recursive: bool, children: bool) {
        let source = self.source();
        let path = source.join(&name);
        let stat = fs::symlink_metadata(&path);
        // The directories above are listed, too, except those of missing names that are ignored.
        let ignored = stat.is_err() && !self.has("--delete-missing-args");
        let above = name.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        // No rule leaves these out.
        let hidden = stat.as_ref().is_ok_and(|stat| self.rules.hide(&name, stat.is_dir()));
        if hidden && !name.as_os_str().is_empty() {
            return;
        }
        for above in above.filter(|_| !ignored) {
            let path = source.join(above);
            if let Ok(stat) = fs::symlink_metadata(&path) {
                let seen = Entry::Present(Seen::of(&path, &stat));
                self.list.entry(above.to_owned()).or_insert(seen);
            }
        }
        let Ok(stat) = stat else {
            if !name.as_os_str().is_empty() {
                self.list.entry(name).or_insert(Entry::Missing);
            }
            return;
        };
        let dir = stat.is_dir();
        if !name.as_os_str().is_empty() {
            self.list.insert(name.clone(), Entry::Present(Seen::of(&path, &stat)));
        }
        if dir && (recursive || children) {
            let names = fs::read_dir(&path).into_iter().flatten().flatten();
            for found in names {
                self.add(name.join(found.file_name()), recursive, false);
            }
        }
    }

    fn read_list(&mut self) {
        let recursive = self.has("--recursive");
        let list = self.list().to_vec();
        match self.has("--files-from=-") {
            true => {
                for word in list.split(|b| *b == 0).filter(|word| !word.is_empty()) {
                    let children = word.ends_with(b"/");
                    let name = Path::new(OsStr::from_bytes(word)).components();
                    let name: PathBuf =
                        name.filter(|c| matches!(c, std::path::Component::Normal(_))).collect();
                    self.add(name, recursive, children);
                }
            }
            false if self.has("--exclude=*") => {}
            false => self.add(PathBuf::new(), true, true),
        }
        let deletes = self.has("--delete-missing-args");
        self.list.retain(|_, entry| deletes || matches!(entry, Entry::Present(_)));
        let mut work: VecDeque<PathBuf> = self.list.keys().cloned().collect();
        if self.has("--delete") {
            let mut extra = self.extraneous();
            extra.extend(work);
            work = extra;
        }
        self.work = Some(work);
    }

    /// The names of the slave in the directories whose names were all listed that are not in the list.
    fn extraneous(&self) -> VecDeque<PathBuf> {
        let list = self.list().to_vec();
        let mut dirs: Vec<PathBuf> = Vec::new();
        if self.has("--files-from=-") {
            for word in list.split(|b| *b == 0).filter(|word| word.ends_with(b"/")) {
                let name = Path::new(OsStr::from_bytes(word)).components();
                dirs.push(name.filter(|c| matches!(c, std::path::Component::Normal(_))).collect());
            }
        } else {
            dirs.push(PathBuf::new());
        }
        if self.has("--recursive") {
            let present = |dir: &PathBuf| matches!(self.list.get(dir), Some(Entry::Present(seen)) if seen.dir);
            let all = self.list.keys().filter(|name| dirs.iter().any(|dir| name.starts_with(dir)));
            let below: Vec<PathBuf> = all.filter(|name| present(name)).cloned().collect();
            dirs.extend(below);
        }
        let mut out = VecDeque::new();
        for dir in dirs {
            // A directory that is missing or left out here deletes nothing.
            let top = dir.as_os_str().is_empty();
            if !top && (!self.list.contains_key(&dir) || self.rules.hide(&dir, true)) {
                continue;
            }
            let names = fs::read_dir(self.slave.join(&dir)).into_iter().flatten().flatten();
            for found in names.map(|found| dir.join(found.file_name())) {
                let kept = self.rules.protect(&found, self.slave.join(&found).is_dir());
                if !kept && !self.list.contains_key(&found) && !out.contains(&found) {
                    out.push_back(found);
                }
            }
        }
        out
    }

    /// Deletes a name of the slave with everything below it that is not protected.
    fn delete(&self, name: &Path, there: &dyn Fn(&Path) -> Option<u64>) -> Found {
        let path = self.slave.join(name);
        let Ok(stat) = fs::symlink_metadata(&path) else { return Found::Nothing };
        let (found, kept) = self.remove(name, there);
        if kept && !stat.is_dir() {
            // A complaint tells why.
        } else if kept {
            self.say(&format!("cannot delete non-empty directory: {}", name.display()));
        } else {
            self.say_deleted(name, stat.is_dir());
        }
        found
    }

    fn say_deleted(&self, name: &Path, dir: bool) {
        self.say(&format!("*deleting   {}{}", name.display(), if dir { "/" } else { "" }));
    }

    /// The same, without a line for the name itself: something else may take its place. True if it had to stay.
    fn remove(&self, name: &Path, there: &dyn Fn(&Path) -> Option<u64>) -> (Found, bool) {
        let path = self.slave.join(name);
        let (mut found, mut kept) = (Found::Nothing, false);
        let dir = fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_dir());
        if dir {
            for below in fs::read_dir(&path).into_iter().flatten().flatten() {
                let is_dir = below.file_type().is_ok_and(|kind| kind.is_dir());
                let below = name.join(below.file_name());
                if self.rules.protect(&below, is_dir) {
                    kept = true;
                    continue;
                }
                let (broken, stays) = self.remove(&below, there);
                kept |= stays;
                // A dry run believes that it has emptied a directory.
                if !stays || self.dry() {
                    self.say_deleted(&below, is_dir);
                }
                if matches!(broken, Found::Broken(_)) {
                    found = broken;
                }
            }
        }
        if self.dry() || kept || self.refused("generator", name) {
            return (found, kept || !self.dry());
        }
        // A name that was there from before the push to now must not go, even if it comes back.
        if !dir && there(name).is_some_and(|since| since < self.began) {
            found = Found::Broken(format!("{} is deleted, and was never gone", name.display()));
        }
        let _ = if dir { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        self.like.borrow_mut().deleted.push(name.to_owned());
        (found, false)
    }

    fn handle(&mut self, name: &Path, there: &dyn Fn(&Path) -> Option<u64>) -> Found {
        let path = self.slave.join(name);
        let full =
            fs::read_dir(&path).is_ok_and(|mut names| names.next().is_some()) && !path.is_symlink();
        let Some(Entry::Present(seen)) = self.list.get(name).cloned() else {
            if full && !self.has("--force") && self.list.contains_key(name) {
                self.say(&format!("cannot delete non-empty directory: {}", name.display()));
                return Found::Nothing;
            }
            return self.delete(name, there);
        };
        let before = fs::symlink_metadata(&path).ok();
        let old = before.as_ref().map(|stat| Seen::of(&path, stat));
        let same_kind = old
            .as_ref()
            .is_some_and(|old| old.dir == seen.dir && old.link.is_some() == seen.link.is_some());
        let mut found = Found::Nothing;
        // A link and a file replace each other without a gap.
        if old.as_ref().is_some_and(|old| old.dir && !seen.dir) {
            if full && !self.has("--force") && !self.has("--delete") {
                self.complain(&format!(
                    "could not make way for new regular file: {}",
                    name.display()
                ));
                self.failed.set(true);
                return found;
            }
            let kept;
            (found, kept) = self.remove(name, there);
            if kept {
                self.complain(&format!(
                    "could not make way for new regular file: {}",
                    name.display()
                ));
                self.failed.set(true);
                return found;
            }
        } else if old.as_ref().is_some_and(|old| !old.dir && seen.dir) && !self.dry() {
            let _ = fs::remove_file(&path);
        }
        let old = old.filter(|_| same_kind);
        let created = old.is_none();
        let plus = "+++++++++";
        if seen.dir {
            let old = old.as_ref();
            if created {
                self.say(&format!("cd{plus} {}/", name.display()));
                if !self.dry() {
                    let _ = fs::create_dir_all(&path);
                }
            } else if !self.has("--omit-dir-times")
                && old.is_some_and(|old| {
                    !self.same_time(old.mtime_ns, seen.mtime_ns) || old.mode != seen.mode
                })
            {
                self.say(&format!(".d..t...... {}/", name.display()));
            }
            if !self.has("--omit-dir-times") {
                self.times.push((name.to_owned(), seen));
            }
            return found;
        }
        if let Some(target) = &seen.link {
            if old.as_ref().is_some_and(|old| old.link.as_ref() == Some(target)) {
                return found;
            }
            self.say(&format!("cL{} {}", if created { plus } else { "c........" }, name.display()));
            if !self.dry() {
                let _ = fs::remove_file(&path);
                let _ = std::os::unix::fs::symlink(target, &path);
            }
            return found;
        }
        if self.has("--hard-links") {
            self.link(name);
            return found;
        }
        let same_content =
            |transfer: &Self| fs::read(transfer.source().join(name)).ok() == fs::read(&path).ok();
        let same = old.as_ref().is_some_and(|old| {
            let size = old.size == seen.size;
            match (self.has("--checksum"), self.has("--ignore-times")) {
                (true, _) => size && same_content(self),
                (false, true) => false,
                (false, false) => size && self.same_time(old.mtime_ns, seen.mtime_ns),
            }
        });
        if same {
            let time = |old: &Seen| self.same_time(old.mtime_ns, seen.mtime_ns);
            if old.is_some_and(|old| !time(&old) || old.mode != seen.mode) {
                self.say(&format!(".f..tp..... {}", name.display()));
                if !self.dry() {
                    self.set_attributes(&path, &seen);
                }
            }
            return found;
        }
        let line = if created {
            format!("<f{plus} {}", name.display())
        } else {
            let old = old.as_ref();
            let size = old.is_some_and(|old| old.size != seen.size);
            let time = old.is_some_and(|old| !self.same_time(old.mtime_ns, seen.mtime_ns));
            let letter = |shown: bool, letter: char| if shown { letter } else { '.' };
            let content = letter(self.has("--checksum"), 'c');
            let (size, time) = (letter(size, 's'), letter(time, 't'));
            format!("<f{content}{size}{time}...... {}", name.display())
        };
        self.say(&line);
        self.sent += 1;
        if self.dry() {
            return found;
        }
        match fs::read(self.source().join(name)) {
            Ok(content) => {
                self.read = Some(Read { name: name.to_owned(), seen, content, created });
            }
            Err(_) => {
                self.complain(&format!(
                    "file has vanished: \"{}\"",
                    self.source().join(name).display()
                ));
                self.vanished = true;
            }
        }
        found
    }

    /// Gives the two names of a listed file to one file of the slave: to the one that has the first of them, in rsync's
    /// order, if that is as it was listed.
    fn link(&self, name: &Path) {
        let inode = |name: &Path| Some(fs::symlink_metadata(self.source().join(name)).ok()?.ino());
        let other = self.list.keys().find(|other| *other != name && inode(other) == inode(name));
        let Some(other) = other.filter(|other| other.as_path() > name) else { return };
        let there = |name: &Path| {
            let stat = fs::symlink_metadata(self.slave.join(name)).ok();
            stat.filter(|stat| match self.list.get(name) {
                Some(Entry::Present(listed)) => {
                    let seen = Seen::of(&self.slave.join(name), stat);
                    let same = seen.size == listed.size && stat.is_file();
                    same && self.same_time(seen.mtime_ns, listed.mtime_ns)
                }
                _ => false,
            })
        };
        let (first, second) = match order(name) < order(other) {
            true => (name, other.as_path()),
            false => (other.as_path(), name),
        };
        let first_exists = fs::symlink_metadata(self.slave.join(first)).is_ok();
        let (has, lacks) = match (there(first), there(second)) {
            (Some(one), Some(two)) if one.ino() == two.ino() => return,
            (Some(_), _) => (first, second),
            (None, Some(_)) if !first_exists => (second, first),
            (None, _) => {
                let path = self.source().join(name);
                let path = path.display();
                self.complain(&format!(
                    "rsync: [sender] send_files failed to open \"{path}\": Permission denied (13)"
                ));
                self.failed.set(true);
                return;
            }
        };
        if self.refused("receiver", lacks) {
            return;
        }
        let path = self.slave.join(lacks);
        let created = fs::remove_file(&path).is_err();
        if fs::hard_link(self.slave.join(has), &path).is_ok() {
            self.say(&format!(
                "hf{} {}",
                if created { "+++++++++" } else { "..t......" },
                lacks.display()
            ));
        } else {
            self.failed.set(true);
        }
    }

    fn install(&mut self) {
        let Some(read) = self.read.take() else { return };
        let path = self.slave.join(&read.name);
        if self.refused("receiver", &read.name) {
            return;
        }
        if read.created && path.parent().is_some_and(|parent| !parent.is_dir()) {
            return;
        }
        if fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_dir()) {
            self.failed.set(true);
            self.complain(&format!(
                "rsync: [receiver] rename \"x\" -> \"{}\": Is a directory (21)",
                read.name.display()
            ));
            return;
        }
        let temporary = path.with_file_name(format!(
            ".{}.AbCdEf",
            read.name.file_name().unwrap_or_default().to_string_lossy()
        ));
        if fs::write(&temporary, &read.content).is_ok() {
            self.set_attributes(&temporary, &read.seen);
            let _ = fs::rename(&temporary, &path);
        }
    }

    fn end(&mut self) {
        if !self.dry() {
            for (name, seen) in std::mem::take(&mut self.times).into_iter().rev() {
                self.set_attributes(&self.slave.join(name), &seen);
            }
            if self.has("--exclude=*") {
                let source = self.source();
                if let Ok(stat) = fs::symlink_metadata(&source) {
                    self.set_attributes(&self.slave, &Seen::of(&source, &stat));
                }
            }
        }
        let dirs =
            self.list.values().filter(|e| matches!(e, Entry::Present(seen) if seen.dir)).count();
        self.say("");
        self.say(&format!(
            "Number of files: {} (reg: {}, dir: {dirs})",
            self.list.len(),
            self.list.len() - dirs
        ));
        self.say(&format!("Number of regular files transferred: {}", self.sent));
        self.say("Total file size: 0 bytes\nTotal transferred file size: 0 bytes\n");
        self.say(
            "sent 1 bytes  received 1 bytes  2.00 bytes/sec\ntotal size is 0  speedup is 0.00",
        );
        match (self.failed.get(), self.vanished) {
            (true, _) => {
                self.exit(23, "some files/attrs were not transferred (see previous errors)")
            }
            (false, true) => self.exit(24, "some files vanished before they could be transferred"),
            (false, false) => self.exit(0, ""),
        }
    }
}

fn attributes(path: &Path, seen: &Seen) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(seen.mode & 0o7777));
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(seen.mtime_ns as u64);
    if let Ok(file) = fs::File::open(path) {
        let _ = file.set_times(FileTimes::new().set_modified(time));
    }
}

/// What rsync orders a file by: in each directory the files come first.
fn order(file: &Path) -> Vec<(bool, Vec<u8>)> {
    let names: Vec<&[u8]> = file.iter().map(|name| name.as_bytes()).collect();
    let (last, directories) = names.split_last().expect("a file has a name");
    let directories = directories.iter().map(|name| (true, [name, &b"/"[..]].concat()));
    directories.chain([(false, last.to_vec())]).collect()
}
