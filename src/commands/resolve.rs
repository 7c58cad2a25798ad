//! Finds the localpath that a PATH on the command line means, and the path within it.

use super::invocation::absolute;
use crate::error::{Error, Result};
use crate::language::{listed, say};
use crate::path::{OsBytes, RelPath, printable};
use std::path::{Component, Path, PathBuf};

/// The forms of a path that can be compared with a localpath: as written, and without symbolic links. Its last
/// component is not followed, and need not exist.
fn forms(path: &Path) -> Result<Vec<PathBuf>> {
    let plain = normal(&absolute(path.to_owned())?);
    let mut forms = vec![plain.clone()];
    // Only the existing part is resolved: the rest may already be deleted.
    let mut rest = Vec::new();
    let mut there: &Path = &plain;
    while let (Some(parent), Some(name)) = (there.parent(), there.file_name()) {
        rest.push(name.to_owned());
        there = parent;
        if let Ok(mut real) = parent.canonicalize() {
            real.extend(rest.iter().rev());
            forms.push(real);
            break;
        }
    }
    forms.extend(plain.canonicalize());
    forms.dedup();
    Ok(forms)
}

/// The path without `.` and `..`, as a shell shows the current directory.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// For each localpath that contains the path or lies in it: the selected path within the localpath.
pub fn within(path: &Path, watches: &[OsBytes]) -> Result<Vec<(OsBytes, RelPath)>> {
    let forms = forms(path)?;
    let mut found = Vec::new();
    for watch in watches {
        let mut roots = vec![watch.as_path().to_owned()];
        roots.extend(watch.as_path().canonicalize());
        let meant = |(form, root): (&PathBuf, &PathBuf)| match RelPath::strip(form, root) {
            Some(below) => Some(below),
            None => root.starts_with(form).then(RelPath::root),
        };
        let pairs = forms.iter().flat_map(|form| roots.iter().map(move |root| (form, root)));
        if let Some(below) = pairs.into_iter().find_map(meant) {
            found.push((watch.clone(), below));
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let all: Vec<String> = watches.iter().map(ToString::to_string).collect();
    let path = forms.first().map_or(path, PathBuf::as_path);
    Err(Error::usage(say!(
        "{}: not in a localpath of a running instance; there are: {}",
        printable(path.as_os_str().as_encoded_bytes()),
        listed(&all)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_select_localpaths() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("data/www/css")).unwrap();
        std::os::unix::fs::symlink(base.join("data"), base.join("link")).unwrap();
        let watches: Vec<OsBytes> =
            ["data/www", "data/www/css", "data/img"].iter().map(|w| base.join(w).into()).collect();
        let shown = |path: &str| -> Vec<String> {
            let found = within(&base.join(path), &watches).unwrap();
            let show = |(w, b): (OsBytes, RelPath)| {
                format!("{} {b}", w.as_path().strip_prefix(&base).unwrap().display())
            };
            found.into_iter().map(show).collect()
        };
        assert_eq!(shown("data/www/a"), ["data/www a"]);
        assert_eq!(shown("link/www/a/b"), ["data/www a/b"]);
        assert_eq!(shown("data/img/../www/css/x"), ["data/www css/x", "data/www/css x"]);
        assert_eq!(shown("data"), ["data/www .", "data/www/css .", "data/img ."]);
        assert_eq!(shown("data/www/"), ["data/www .", "data/www/css ."]);
        let error = within(Path::new("/nowhere\n"), &watches).unwrap_err();
        let relative = within(Path::new("nosuch"), &watches).unwrap_err();
        let here = std::env::current_dir().unwrap().join("nosuch");
        assert!(relative.text.starts_with(&format!("{}: ", here.display())), "{relative}");
        assert!(error.exit == crate::error::Exit::Usage && error.text.lines().count() == 1);
    }
}
