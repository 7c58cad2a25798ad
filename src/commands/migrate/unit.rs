//! The systemd unit of a migrated configuration. Pure.

use crate::path::printable;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The unit that is installed with syncsup.
const SHIPPED: &str = include_str!("../../../units/syncsup.service");

/// The same for one configuration; `options` are sersync's letters. `None` when a path cannot stand in a unit.
pub fn text(program: &Path, options: &[String], config: &Path, from: &Path) -> Option<String> {
    let mut line = vec![word(program)?];
    line.extend(options.iter().cloned());
    line.extend(["-o".to_owned(), word(config)?]);
    let exec = format!("ExecStart={}", line.join(" "));
    let mut unit = format!(
        "# Written by `syncsup migrate` for what {} says.\n",
        printable(from.as_os_str().as_bytes())
    );
    for old in SHIPPED.lines() {
        unit += if old.starts_with("ExecStart=") { &exec } else { old };
        unit.push('\n');
        // The directory is shared with other instances, which may go on when this one stops.
        if old.starts_with("RuntimeDirectory=") {
            unit += "RuntimeDirectoryPreserve=yes\n";
        }
    }
    Some(unit)
}

/// A path as a word of `ExecStart=`, see systemd.syntax(7) and systemd.service(5).
fn word(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control))?;
    let text = text.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:%$".contains(c);
    if text.chars().all(plain) {
        return Some(text);
    }
    Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_unit() {
        assert_eq!(word(Path::new("/usr/bin/x-1")).unwrap(), "/usr/bin/x-1");
        assert_eq!(word(Path::new("/a b/100%/$x")).unwrap(), "\"/a b/100%%/$$x\"");
        assert_eq!(word(Path::new("/a\"\\")).unwrap(), r#""/a\"\\""#);
        assert_eq!(word(Path::new("/a\nb")), None);
    }

    #[test]
    fn the_shipped_unit_with_another_command() {
        let options = ["-r".to_owned(), "-n".to_owned(), "20".to_owned()];
        let at = Path::new;
        let unit = text(at("/bin/syncsup"), &options, at("/s/c.yaml"), at("/s/c.xml")).unwrap();
        assert!(unit.contains("\nExecStart=/bin/syncsup -r -n 20 -o /s/c.yaml\n"), "{unit}");
        assert_eq!(unit.matches("ExecStart=").count(), 1);
        assert!(
            unit.contains("\nType=notify\n") && unit.contains("\nRuntimeDirectoryPreserve=yes\n")
        );
    }
}
