//! Names on disk that are the same in every run and build: state directories, instances, hashes. Pure.

pub use crate::path::fnv1a;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest readable part of a name.
const READABLE_MAX: usize = 40;

/// The name of a localpath's state directory: the last component, safe characters only, and a hash of the whole path.
pub fn localpath_id(watch: &Path) -> String {
    let last = watch.file_name().unwrap_or_default().as_bytes();
    format!("{}-{:016x}", readable(last, "root"), fnv1a(watch.as_os_str().as_bytes()))
}

/// The name of an instance: the stem of its first configuration file, and a hash of all absolute paths.
pub fn instance_id(files: &[PathBuf]) -> String {
    let stem = files.first().and_then(|f| f.file_stem()).unwrap_or_default().as_bytes();
    let mut all = Vec::new();
    for file in files {
        all.extend_from_slice(file.as_os_str().as_bytes());
        all.push(0);
    }
    format!("{}-{:016x}", readable(stem, "syncsup"), fnv1a(&all))
}

fn readable(bytes: &[u8], otherwise: &str) -> String {
    let safe = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let text: String =
        bytes.iter().filter(|b| safe(b)).take(READABLE_MAX).map(|b| char::from(*b)).collect();
    let text = text.trim_start_matches(['.', '-']);
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn ids_are_readable_and_safe() {
        let hash = |p: &str| format!("{:016x}", fnv1a(p.as_bytes()));
        assert_eq!(localpath_id(Path::new("/srv/www")), format!("www-{}", hash("/srv/www")));
        assert_eq!(localpath_id(Path::new("/")), format!("root-{}", hash("/")));
        assert_ne!(localpath_id(Path::new("/a/www")), localpath_id(Path::new("/b/www")));
        let odd = localpath_id(Path::new(OsStr::from_bytes(b"/x/-.\xff\n $(a)..")));
        assert!(odd.starts_with("a..-"), "{odd}");
        assert!(localpath_id(Path::new(&format!("/{}", "x".repeat(255)))).len() < 60);
    }

    #[test]
    fn instance_names_are_distinct() {
        let id = |files: &[&str]| instance_id(&files.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert!(id(&["/etc/confxml.xml"]).starts_with("confxml-"));
        assert_ne!(id(&["/a/confxml.xml"]), id(&["/b/confxml.xml"]));
        assert_ne!(id(&["/a/b", "/c"]), id(&["/a/b"]));
    }
}
