//! Files named in a configuration that are trusted like the configuration itself: programs, which run with all rights
//! of the user, and password files, whose contents go to a remote. Pure: the doubts are passed as values.

use super::diagnostic::{Diagnostic, Severity};
use super::model::{Call, Config, LocalPath, Place, Remote};
use crate::language::say;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Programs that run the script in their first argument.
const INTERPRETERS: [&str; 12] =
    ["sh", "bash", "dash", "ash", "ksh", "zsh", "env", "perl", "python", "php", "ruby", "node"];

/// Reports each doubt once.
pub(super) struct Doubts<F> {
    /// What is not trusted on the way to a path, and the text.
    of: F,
    said: BTreeSet<PathBuf>,
}

impl<F: Fn(&Path) -> Option<(PathBuf, String)>> Doubts<F> {
    pub(super) fn new(of: F) -> Self {
        Self { of, said: BTreeSet::new() }
    }

    /// Why a configuration file is not used.
    pub(super) fn of(&self, file: &Path) -> Option<String> {
        (self.of)(file).map(|(_, why)| why)
    }

    /// The files that `config` names and that should not be trusted.
    pub(super) fn named_by(&mut self, config: &Config) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let server = config.http.iter().filter_map(|server| server.token_file.as_ref());
        for file in server {
            self.look(&mut found, &Place::default(), &say!("token file"), file.as_path());
        }
        for localpath in &config.localpaths {
            for remote in &localpath.remotes {
                if let Some(file) = &remote.peer.password_file {
                    self.look(&mut found, &remote.place, &say!("password file"), file.as_path());
                }
            }
            for plugin in &localpath.plugins {
                if let Call::Http { ca_file: Some(file), .. } = &plugin.call {
                    self.look(&mut found, &plugin.place, "ca_file", file.as_path());
                }
            }
            for (place, program) in programs_named(localpath) {
                self.look(&mut found, place, &say!("program"), &program);
            }
        }
        found
    }

    fn look(&mut self, found: &mut Vec<Diagnostic>, place: &Place, what: &str, file: &Path) {
        if !file.is_absolute() {
            return;
        }
        let Some((doubted, why)) = (self.of)(file) else { return };
        if self.said.insert(doubted) {
            let text = format!(
                "{what} {}: {why}",
                crate::path::as_written(file.as_os_str().as_encoded_bytes())
            );
            let place = place.clone();
            found.push(Diagnostic { severity: Severity::Error, place, column: 0, text });
        }
    }
}

/// The programs and scripts in a localpath's part of a configuration, with their places.
pub(super) fn programs_named(localpath: &LocalPath) -> Vec<(&Place, PathBuf)> {
    let mut found = Vec::new();
    for remote in &localpath.remotes {
        found.extend(programs_of(remote).into_iter().map(|program| (&remote.place, program)));
    }
    for plugin in &localpath.plugins {
        match &plugin.call {
            Call::Command { prefix, suffix, .. } => {
                let words = shlex::split(prefix).into_iter().chain(shlex::split(suffix));
                let programs = programs(&words.flatten().collect::<Vec<_>>());
                found.extend(programs.into_iter().map(|program| (&plugin.place, program)));
            }
            Call::Http { .. } | Call::Socket { .. } | Call::RefreshCdn { .. } => {}
        }
    }
    for words in [&localpath.alarms.on_failure, &localpath.alarms.on_recovery] {
        found.extend(programs(words).into_iter().map(|program| (&localpath.place, program)));
    }
    found
}

/// The programs that a push runs: rsync, and the program for ssh in its parameters.
fn programs_of(remote: &Remote) -> Vec<PathBuf> {
    let mut found = programs(&[remote.peer.rsync_program.as_os_str()]);
    // Also for a daemon: with this parameter, rsync reaches a daemon through ssh.
    let shell = shell_of(&remote.peer.params);
    found.extend(shell.iter().flat_map(|line| programs(&shlex::split(line).unwrap_or_default())));
    found
}

/// The value of `-e` or `--rsh` among rsync's parameters, alone or at the end of other letters.
fn shell_of(params: &[crate::path::OsBytes]) -> Option<String> {
    let mut params = params.iter().filter_map(|p| p.as_os_str().to_str());
    let mut said = None;
    while let Some(param) = params.next() {
        let letters = param.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        if let Some(value) = param.strip_prefix("--rsh=") {
            said = Some(value.to_owned());
        } else if let Some(value) =
            letters.and_then(|l| l.strip_prefix('e')).filter(|v| !v.is_empty())
        {
            said = Some(value.trim_start_matches('=').to_owned());
        } else if param == "--rsh" || letters.is_some_and(|letters| letters.ends_with('e')) {
            said = params.next().map(str::to_owned);
        }
    }
    said
}

/// The program that a command line runs, and the script that an interpreter runs. Those without a slash are searched
/// for in directories that the user chose.
fn programs<W: AsRef<OsStr>>(words: &[W]) -> Vec<PathBuf> {
    let mut words = words.iter().map(|w| Path::new(w.as_ref()));
    let Some(program) = words.next() else { return Vec::new() };
    let name = program.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let option = |word: &&Path| word.as_os_str().as_encoded_bytes().starts_with(b"-");
    let script = INTERPRETERS.contains(&name).then(|| words.find(|word| !option(word))).flatten();
    [Some(program), script].into_iter().flatten().map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let config = super::super::yaml::parse(text.as_bytes(), Path::new("f.yaml"));
        assert!(!config.has_errors(), "{:?}", config.diagnostics);
        let bad =
            |path: &Path| path.starts_with("/bad").then(|| (path.to_owned(), "no".to_owned()));
        let mut doubts = Doubts::new(bad);
        doubts.named_by(&config.config).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_program_and_file_in_use_is_checked() {
        let localpath = "localpaths:\n  - {watch: /a, remotes: [\"h::m\"]}\n";
        let plugin = |p: &str| {
            format!("localpaths:\n  - {{watch: /a, remotes: [\"h::m\"], plugins: [{p}]}}\n")
        };
        for (text, expected) in [
            (format!("rsync: {{program: /bad/rsync}}\n{localpath}"), "program /bad/rsync: no"),
            (
                format!("rsync: {{params: [-a, -e, /bad/ssh -p 1]}}\n{localpath}"),
                "program /bad/ssh: no",
            ),
            (format!("rsync: {{params: [-ae, /bad/ssh]}}\n{localpath}"), "program /bad/ssh: no"),
            (
                format!("rsync: {{params: [-a, --rsh=/bad/ssh]}}\n{localpath}"),
                "program /bad/ssh: no",
            ),
            (
                format!("rsync: {{auth: {{user: u, password_file: /bad/pw}}}}\n{localpath}"),
                "password file /bad/pw: no",
            ),
            (format!("on_failure: /bad/tell\n{localpath}"), "program /bad/tell: no"),
            (format!("on_recovery: [sh, /bad/tell]\n{localpath}"), "program /bad/tell: no"),
            (
                format!("http: {{listen: 1.2.3.4:80, token_file: /bad/t}}\n{localpath}"),
                "token file /bad/t: no",
            ),
            (plugin("{command: {prefix: /bad/run -x}}"), "program /bad/run: no"),
            (plugin("{command: {prefix: python3, suffix: /bad/x.py}}"), "program /bad/x.py: no"),
            (plugin("{http: {url: \"https://h/\", ca_file: /bad/ca}}"), "ca_file /bad/ca: no"),
        ] {
            let all = found(&text);
            assert!(all.len() == 1 && all[0].ends_with(expected), "{text}{all:?}");
        }
        let fine = "rsync: {program: /good/rsync, params: [-a, --exclude, e]}\n";
        assert_eq!(found(&format!("{fine}{localpath}")), [""; 0]);
    }

    #[test]
    fn programs_and_scripts_of_a_command_line_are_found() {
        let line = |text: &str| {
            let words: Vec<&str> = text.split(' ').collect();
            let all = programs(&words);
            all.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("/x/run a b"), "/x/run");
        assert_eq!(line("/bin/sh /x/y.sh a"), "/bin/sh /x/y.sh");
        assert_eq!(line("python3.11 -u /x/y.py"), "python3.11 /x/y.py");
        assert_eq!(line("sh -e"), "sh");
    }
}
