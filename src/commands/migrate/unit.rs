//! The systemd unit of a migrated configuration. Pure.

use crate::config::model::{Call, Config};
use crate::path::printable;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The unit that is installed with syncsup.
const SHIPPED: &str = include_str!("../../../units/syncsup.service");
/// What commands of plugins may need in addition.
const PLUGINS: &str = include_str!("../../../units/plugins.conf");
/// The directories that the unit makes read-only for its processes.
const READ_ONLY: [&str; 5] = ["/usr", "/boot", "/etc", "/home", "/root"];

/// What a configuration needs that the shipped unit does not allow.
#[derive(Debug, Default)]
pub struct Needs {
    commands: bool,
    writes: BTreeSet<PathBuf>,
}

impl Needs {
    /// sersync's plugins ran with all rights of root. Its fail log may be in a read-only directory.
    pub fn of(config: &Config) -> Self {
        let plugins = || config.localpaths.iter().flat_map(|l| &l.plugins);
        let logs = config.localpaths.iter().filter_map(|l| l.fail_log.as_ref());
        let dirs = logs.filter_map(|log| log.path.as_path().parent().map(Path::to_owned));
        Self {
            commands: plugins().any(|p| matches!(p.call, Call::Command { .. })),
            writes: dirs.filter(|d| READ_ONLY.iter().any(|r| d.starts_with(r))).collect(),
        }
    }

    fn lines(&self) -> Option<String> {
        let mut lines = String::new();
        if self.commands {
            let needed = PLUGINS.split_once("[Service]\n").map_or("", |(_, lines)| lines);
            lines += &format!("# For the commands of plugins:\n{needed}");
        }
        for dir in &self.writes {
            // Variables are expanded only in commands.
            let dir = word(dir)?.replace("$$", "$");
            lines += &format!("# The fail log.\nReadWritePaths=-{dir}\n");
        }
        Some(lines)
    }
}

/// The unit for one configuration. `options` are sersync's options. `None` if a path cannot be written in a unit.
pub fn text(
    program: &Path,
    options: &[String],
    config: &Path,
    from: &Path,
    needs: &Needs,
) -> Option<String> {
    let (program, config) = (word(program)?, word(config)?);
    let command = |words: &[String]| {
        let words = words.iter().map(String::as_str);
        let all = std::iter::once(program.as_str()).chain(words).chain(["-o", config.as_str()]);
        all.collect::<Vec<_>>().join(" ")
    };
    let mut reload = vec!["reload".to_owned()];
    let module = options.iter().skip_while(|o| *o != "-m").take(2);
    reload.extend(module.cloned());
    let mut unit = format!(
        "# Written by `syncsup migrate` from {}.\n",
        printable(from.as_os_str().as_bytes())
    );
    // The comment before `[Unit]` applies only to the shipped file.
    for old in SHIPPED.lines().skip_while(|line| *line != "[Unit]") {
        match old.split_once('=').map_or(old, |(key, _)| key) {
            "ExecStart" => unit += &format!("ExecStart={}", command(options)),
            "ExecReload" => unit += &format!("ExecReload={}", command(&reload)),
            "[Install]" => unit += &format!("{}{old}", needs.lines()?),
            _ => unit += old,
        }
        unit.push('\n');
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
    fn arguments_in_a_unit_are_quoted() {
        assert_eq!(word(Path::new("/usr/bin/x-1")).unwrap(), "/usr/bin/x-1");
        assert_eq!(word(Path::new("/a b/100%/$x")).unwrap(), "\"/a b/100%%/$$x\"");
        assert_eq!(word(Path::new("/a\"\\")).unwrap(), r#""/a\"\\""#);
        assert_eq!(word(Path::new("/a\nb")), None);
    }

    #[test]
    fn the_shipped_unit_gets_another_command() {
        let options = ["-n", "20", "-m", "http"].map(str::to_owned);
        let at = Path::new;
        let write = |needs: &Needs| {
            text(at("/bin/syncsup"), &options, at("/s/c.yaml"), at("/s/c.xml"), needs).unwrap()
        };
        let unit = write(&Needs::default());
        assert!(unit.contains("\nExecStart=/bin/syncsup -n 20 -m http -o /s/c.yaml\n"), "{unit}");
        assert!(unit.contains("\nExecReload=/bin/syncsup reload -m http -o /s/c.yaml\n"), "{unit}");
        assert_eq!(unit.matches("ExecStart=").count(), 1);
        assert!(
            unit.contains("\nType=notify\n") && unit.contains("\nRuntimeDirectoryPreserve=yes\n")
        );
        assert!(!unit.contains("conf.d") && !unit.contains("NoNewPrivileges=no"), "{unit}");

        let needs = Needs { commands: true, writes: ["/usr/local/sersync".into()].into() };
        let unit = write(&needs);
        let service = unit.split("[Install]").next().unwrap();
        assert!(service.contains("\nReadWritePaths=-/usr/local/sersync\n"), "{unit}");
        // The last occurrence counts.
        let value = |key: &str| service.lines().filter_map(|l| l.strip_prefix(key)).next_back();
        assert_eq!(value("NoNewPrivileges="), Some("no"));
        assert_eq!(value("ProtectHome="), Some("no"));
    }
}
