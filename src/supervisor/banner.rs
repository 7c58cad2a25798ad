//! The start-up lines of an instance, in sersync's wording: scripts search for them. Pure.
//!
//! The lines of sersync that repeat the configuration are kept. The lines about its threads and its advice are dropped.
//! Blanks and tabs are sersync's.

use super::InstanceOptions;
use crate::config::model::Config;

/// The lines, in sersync's order. `raised`: the kernel limits that were raised; `slots`: the most rsyncs that push at a
/// time.
pub fn lines(
    options: &InstanceOptions,
    config: &Config,
    slots: usize,
    raised: Option<&str>,
) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(raised.map(|what| format!("set the system param: {what}")));
    if options.reconcile {
        lines.push(
            "option: -r \trsync all the local files to the remote servers before the sersync work"
                .into(),
        );
    }
    for file in &config.files {
        lines.push(format!(
            "option: -o \tconfig xml name：  {}",
            crate::path::printable(file.as_os_str().as_encoded_bytes())
        ));
    }
    lines.push(format!("daemon thread num: {slots}"));
    let remotes = || config.localpaths.iter().flat_map(|l| &l.remotes);
    let users = remotes().filter_map(|r| r.peer.user.as_ref());
    push_each(&mut lines, users.map(|user| format!("user is\t{user}")));
    let files = remotes().filter_map(|r| r.peer.password_file.as_ref());
    push_each(&mut lines, files.map(|file| format!("passwordfile is \t{file}")));
    lines.push("config xml parse success".into());
    push_each(&mut lines, config.localpaths.iter().map(|l| format!("watch path is: {}", l.watch)));
    lines
}

/// Appends each line once.
fn push_each(lines: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for line in more {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{config, localpath};
    use super::*;
    use crate::instance::directories::Directories;

    #[test]
    fn each_line_of_sersyncs_banner_appears_once() {
        let mut c = config(vec![localpath("/a", &["x", "y"]), localpath("/b", &["x"])]);
        for l in &mut c.localpaths {
            l.remotes[0].peer.user = Some("backup".into());
            l.remotes[0].peer.password_file = Some("/etc/rsync.pas".into());
        }
        let options = InstanceOptions {
            files: vec!["/etc/test.yaml".into()],
            directories: Directories { state: "/s".into(), run: "/r".into() },
            slots: None,
            reconcile: false,
            debug: false,
            module: None,
            sysctl: true,
            user: None,
            log_format: None,
            http: Default::default(),
        };
        let wanted = [
            "option: -o \tconfig xml name：  /etc/test.yaml",
            "daemon thread num: 10",
            "user is\tbackup",
            "passwordfile is \t/etc/rsync.pas",
            "config xml parse success",
            "watch path is: /a",
            "watch path is: /b",
        ];
        assert_eq!(lines(&options, &c, 10, None), wanted);
        let options = InstanceOptions { reconcile: true, ..options };
        let more = lines(&options, &c, 10, Some("x 1 -> 2"));
        assert_eq!(more[0], "set the system param: x 1 -> 2");
        assert!(more[1].starts_with("option: -r \trsync all the local files"), "{more:?}");
        assert_eq!(more[2..], wanted);
    }
}
