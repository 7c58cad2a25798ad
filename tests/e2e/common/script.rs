//! Scripts that run in place of rsync.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// An rsync whose comparisons of everything, once `dir/wait` exists, say `dir/listed` when they have seen the remote, and
/// print what they saw when `dir/go` exists.
pub fn slow_to_tell(dir: &Path) -> String {
    let script = dir.join("rsync");
    let text = r#"#!/bin/sh
dir=$(dirname "$0")
case " $* " in
*" --files-from"*) exec rsync "$@" ;;
*" -n "* | *" --dry-run "*) [ -e "$dir/wait" ] || exec rsync "$@" ;;
*) exec rsync "$@" ;;
esac
rsync "$@" > "$dir/output"
status=$?
: > "$dir/listed"
until [ -e "$dir/go" ]; do sleep 0.05; done
cat "$dir/output"
exit $status
"#;
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    format!(", program: {script:?}")
}
