//! The file that a program's name means.

use super::script::start_of;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How a binary begins.
const ELF: &[u8] = b"\x7fELF";

/// The file of a program, which is looked for as execvp(3) does, if it is a binary. `None` for a script, which may start
/// any other program, such as sudo.
pub fn binary(program: &OsStr) -> Option<PathBuf> {
    let file = found(Path::new(program))?;
    start_of(&file).ok()?.starts_with(ELF).then_some(file)
}

fn found(program: &Path) -> Option<PathBuf> {
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return Some(program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_no_binary() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("rsync");
        std::fs::write(&script, "#!/bin/sh\nexec sudo rsync \"$@\"\n").unwrap();
        assert_eq!(binary(script.as_os_str()), None);
        assert_eq!(binary(OsStr::new("no-such-program")), None);
        let sh = binary(OsStr::new("sh")).unwrap();
        assert_eq!(binary(sh.as_os_str()), Some(sh));
    }
}
