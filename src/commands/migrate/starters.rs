//! Finds what else starts sersync: lines for the boot and for cron. If they stay, they start sersync beside its
//! successor. Check scripts that look for a process called `sersync2` do that.

use crate::language::say;
use crate::path::printable;
use crate::sys::own;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// No crontab is larger.
const MOST_BYTES: u64 = 4 << 20;

/// Files and directories that the boot and cron use.
const PLACES: [&str; 12] = [
    "etc/rc.local",
    "etc/rc.d/rc.local",
    "etc/inittab",
    "etc/init.d",
    "etc/rc.d/init.d",
    "etc/crontab",
    "etc/cron.d",
    "var/spool/cron",
    "var/spool/cron/crontabs",
    "etc/systemd/system",
    "etc/supervisord.conf",
    "etc/supervisor/conf.d",
];

/// A line that may start sersync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SersyncStarter {
    file: PathBuf,
    line: usize,
    text: String,
    /// The number of other such lines in that file.
    more: usize,
}

impl SersyncStarter {
    /// `FILE:LINE: TEXT`.
    pub fn shown(&self) -> String {
        let more = match self.more {
            0 => String::new(),
            1 => say!(" (and 1 line more)"),
            more => say!(" (and {} lines more)", more),
        };
        let file = printable(self.file.as_os_str().as_bytes());
        format!("{file}:{}: {}{more}", self.line, self.text)
    }
}

/// All such lines below `root`, which is `/`. Unreadable files are left out.
pub fn find(root: &Path) -> Vec<SersyncStarter> {
    let mut files = Vec::new();
    for place in PLACES {
        let path = root.join(place);
        match path.is_dir() {
            true => {
                let entries = fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path());
                files.extend(entries.filter(|p| p.is_file()));
            }
            false => files.push(path),
        }
    }
    // /etc/rc.local and /etc/init.d are often links.
    let mut files: Vec<PathBuf> = files.into_iter().filter_map(|f| f.canonicalize().ok()).collect();
    files.sort();
    files.dedup();
    files
        .into_iter()
        .filter_map(|file| starter(&own::glance(&file, MOST_BYTES).ok()?, file))
        .collect()
}

fn starter(text: &[u8], file: PathBuf) -> Option<SersyncStarter> {
    let has = |line: &[u8], word: &[u8]| line.windows(word.len()).any(|w| w == word);
    let starts = |line: &&[u8]| {
        let line = line.trim_ascii();
        // Excludes comments, and our own unit, which may name sersync's directory.
        !line.starts_with(b"#") && has(line, b"sersync") && !has(line, b"syncsup")
    };
    let mut lines = text.split(|&b| b == b'\n').enumerate().filter(|(_, line)| starts(line));
    let (at, line) = lines.next()?;
    let text = printable(line.trim_ascii()).chars().take(120).collect();
    Some(SersyncStarter { file, line: at + 1, text, more: lines.count() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_boot_scripts_and_crontabs_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let put = |place: &str, text: &str| {
            let file = root.join(place);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let line = "/usr/local/sersync/sersync2 -d -r -o /usr/local/sersync/confxml.xml";
        put("etc/rc.d/rc.local", &format!("#!/bin/sh\n# sersync\ntouch x\n{line}\n"));
        std::os::unix::fs::symlink("rc.d/rc.local", root.join("etc/rc.local")).unwrap();
        put(
            "var/spool/cron/root",
            "* * * * * /server/scripts/check_sersync.sh\nsersync\nsersync\n",
        );
        put("etc/cron.d/other", "* * * * * root true\n");
        put(
            "etc/systemd/system/syncsup-confxml.service",
            "ExecStart=syncsup -o /usr/local/sersync/x\n",
        );
        let found: Vec<String> = find(&root).iter().map(SersyncStarter::shown).collect();
        let at = |place: &str| root.join(place).display().to_string();
        assert_eq!(
            found,
            [
                format!("{}:4: {line}", at("etc/rc.d/rc.local")),
                format!(
                    "{}:1: * * * * * /server/scripts/check_sersync.sh (and 2 lines more)",
                    at("var/spool/cron/root")
                ),
            ]
        );
    }
}
