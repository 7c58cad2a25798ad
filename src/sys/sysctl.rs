//! Kernel settings below /proc/sys.

use std::fs;
use std::io;
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name.replace('.', "/"))
}

/// The value of the setting `name`, such as `fs.inotify.max_user_watches`.
pub fn read(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(file(name))?;
    text.trim().parse().map_err(|_| io::Error::other(format!("`{}` is not a number", text.trim())))
}

/// Sets the value for the whole machine, until the next boot.
pub fn write(name: &str, value: u64) -> io::Result<()> {
    fs::write(file(name), format!("{value}\n"))
}
