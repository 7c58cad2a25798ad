//! What an rsync that sends needs on this machine besides the tree. Pure.

use super::params;
use super::peer::{Peer, Target};
use crate::path::OsBytes;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The options that name a file which rsync reads, as every command line here has them.
const FILES: [&str; 4] =
    ["--password-file=", "--exclude-from=", "--include-from=", "--early-input="];

/// The sources of names in an nsswitch.conf that need no other files than [`NAMES`], and no other TCP port than that of
/// DNS.
const SOURCES: [&str; 13] = [
    "altfiles",
    "compat",
    "dns",
    "extrausers",
    "files",
    "mdns",
    "mdns4",
    "mdns4_minimal",
    "mdns_minimal",
    "myhostname",
    "resolve",
    "sss",
    "systemd",
];

/// The port of DNS.
pub const DNS_PORT: u16 = 53;

/// What every rsync reads: where libraries are, how names of hosts, users and groups are found, and the settings of the
/// libraries.
pub const NAMES: &[&str] = &[
    "/dev/random",
    "/dev/urandom",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld-musl-aarch64.path",
    "/etc/ld-musl-x86_64.path",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/networks",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki/tls/openssl.cnf",
    "/etc/popt",
    "/etc/popt.d",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/openssl.cnf",
    "/etc/userdb",
    "/proc/cpuinfo",
    "/proc/sys/crypto",
    "/proc/sys/vm/overcommit_memory",
    "/run/host/userdb",
    "/run/nscd",
    "/run/systemd/userdb",
    "/run/userdb",
    "/sys/devices/system/cpu",
    "/usr/etc",
    "/usr/share",
    "/var/cache/nscd",
    "/var/db/nscd",
    "/var/lib/extrausers",
    "/var/lib/sss/mc",
];

/// What the parameters of a remote need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The daemon's port.
    pub port: u16,
    /// The directory of its log file.
    pub log: Option<PathBuf>,
}

/// What an rsync to this remote needs. `None` where that cannot be told: it starts ssh or a program of the user's own, or
/// rules of the user name files that name others.
pub fn of(peer: &Peer) -> Option<Needs> {
    let Target::Daemon { port, .. } = peer.target else { return None };
    if params::remote_shell(&peer.params).is_some() || params::merges_rules(&peer.params) {
        return None;
    }
    let log = params::log_file(&peer.params);
    let parent = |file: OsBytes| file.as_path().parent().map(Path::to_owned);
    Some(Needs { port, log: log.and_then(parent) })
}

/// The files that an rsync with this command line reads besides. A relative name is one in the tree.
pub fn files(argv: &[OsString]) -> Vec<PathBuf> {
    let file = |word: &OsString| {
        let word = OsBytes::from(word.as_encoded_bytes().to_vec());
        let name = FILES.iter().find_map(|o| word.as_bytes().strip_prefix(o.as_bytes()))?;
        Some(OsBytes::from(name.to_vec()).as_path().to_owned())
    };
    argv.iter().filter_map(file).filter(|file| file.is_absolute()).collect()
}

/// True if the names of hosts, users and groups come from sources whose files are known, by the text of an
/// `nsswitch.conf`. Otherwise an rsync that cannot read those files would send numbers in place of names.
pub fn finds_names(nsswitch: &str) -> bool {
    let lines = nsswitch.lines().map(|line| line.split('#').next().unwrap_or_default());
    let entries = lines.filter_map(|line| line.split_once(':'));
    let ours = entries.filter(|(base, _)| ["passwd", "group", "hosts"].contains(&base.trim()));
    ours.flat_map(|(_, sources)| sources.split_whitespace()).all(|word| {
        // `[NOTFOUND=return]`, possibly with blanks in it.
        let action = word.starts_with('[') || word.ends_with(']') || word.contains('=');
        action || SOURCES.contains(&word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(params: &[&str]) -> Peer {
        let target = Target::Daemon { port: 874, module: OsBytes::from("www") };
        let params = params.iter().map(|p| OsBytes::from(*p)).collect();
        Peer { params, ..Peer::new("h", target) }
    }

    #[test]
    fn what_cannot_be_told_is_not_restricted() {
        let plain = Needs { port: 874, log: None };
        for params in [&["-a"][..], &["-aX", "--exclude=/a", "--exclude-from=/r", "--include=b"]] {
            assert_eq!(of(&daemon(params)), Some(plain.clone()), "{params:?}");
        }
        let logs = Needs { log: Some("/var/log".into()), ..plain };
        assert_eq!(of(&daemon(&["--log-file=/var/log/r"])), Some(logs));
        for params in [
            &["-aF"][..],
            &["-C"],
            &["-e", "stunnel"],
            &["--filter=merge /etc/rules"],
            &["--filter=. /etc/rules"],
            &["-f", ":n .rules"],
            &["--filter=dir-merge .rules"],
        ] {
            assert_eq!(of(&daemon(params)), None, "{params:?}");
        }
        let ssh = Target::Ssh {
            path: OsBytes::from("/srv"),
            port: None,
            options: Vec::new(),
            control_master: true,
        };
        assert_eq!(of(&Peer::new("h", ssh)), None);
    }

    #[test]
    fn files_of_a_command_line_are_found() {
        let words =
            ["rsync", "--exclude-from=/r", "--password-file=/p", "--include-from=in/tree", "./"];
        assert_eq!(files(&words.map(OsString::from)), [PathBuf::from("/r"), PathBuf::from("/p")]);
    }

    #[test]
    fn unknown_sources_of_names_are_noticed() {
        let debian = "# names\npasswd: files systemd\ngroup:\tfiles [SUCCESS=merge] systemd\nshadow: ldap\n\
            hosts: files mdns4_minimal [NOTFOUND=return] dns [!UNAVAIL=return SUCCESS=continue] resolve # ldap\n";
        assert!(finds_names(debian) && finds_names(""));
        assert!(!finds_names("passwd: files ldap\n"));
        assert!(!finds_names("hosts: files wins\n"));
    }
}
