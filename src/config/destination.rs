//! The place of a remote, in a form in which two places can be compared whatever their spelling. Pure.

use super::model::{Remote, Target};
use std::net::IpAddr;

/// ssh's default port.
const SSH_PORT: u16 = 22;

/// A directory of a service of a host. The login user does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    host: String,
    service: Service,
    /// The components, without empty ones and `.`.
    path: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Service {
    Daemon { port: u16 },
    Ssh { port: String },
}

impl Destination {
    /// The place that pushes to this remote write to.
    pub(super) fn of(remote: &Remote) -> Self {
        let (service, path) = match &remote.peer.target {
            Target::Daemon { port, module } => (Service::Daemon { port: *port }, module),
            Target::Ssh { path, port, options, .. } => {
                let port = port.map(|p| p.to_string()).or_else(|| ssh_port(options));
                let port = port.unwrap_or_else(|| SSH_PORT.to_string());
                (Service::Ssh { port }, path)
            }
        };
        Self { host: host(&remote.peer.host), service, path: components(path.as_bytes()) }
    }

    /// True if both are one directory.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    /// True if both are one directory, or one lies inside the other.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.host == other.host
            && self.service == other.service
            && (self.path.starts_with(&other.path) || other.path.starts_with(&self.path))
    }
}

/// The components of a path: `//`, `/./` and trailing slashes are ignored.
pub(super) fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|&b| b == b'/').filter(|c| !c.is_empty() && *c != b".");
    parts.map(<[u8]>::to_vec).collect()
}

/// A host as the resolver understands it: case and a trailing dot are ignored, an address has one spelling, and every
/// name of the local host becomes the same name.
fn host(written: &str) -> String {
    let name = written.to_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    match address(bare) {
        Some(address) if is_localhost(address) => "localhost".into(),
        Some(address) => address.to_string(),
        None if is_local_name(bare) => "localhost".into(),
        // With the zone of an address, which is case-sensitive.
        None if bare.contains('%') => written.to_owned(),
        None => bare.to_owned(),
    }
}

/// An address without a zone. An IPv4 address in IPv6 notation becomes an IPv4 address.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn is_localhost(address: IpAddr) -> bool {
    // All of 127.0.0.0/8 is this machine, but a different daemon may listen on another address in it.
    matches!(address, IpAddr::V4(v4) if v4.octets() == [127, 0, 0, 1])
        || matches!(address, IpAddr::V6(v6) if v6.is_loopback())
}

/// Names that mean the local machine on every host.
pub(super) fn is_local_name(name: &str) -> bool {
    matches!(name, "localhost" | "localhost.localdomain" | "ip6-localhost" | "ip6-loopback")
}

/// The port in the options for ssh. The first one applies.
fn ssh_port(options: &[String]) -> Option<String> {
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-o") {
            Some("") => words.next().map(String::as_str),
            setting => setting,
        };
        let port = match (word.strip_prefix("-p"), setting) {
            (Some(""), _) => words.next().map(String::as_str),
            (Some(port), _) => Some(port),
            (None, Some(setting)) => {
                let (name, value) = setting.split_once(['=', ' ']).unwrap_or((setting, ""));
                name.trim().eq_ignore_ascii_case("port").then_some(value)
            }
            (None, None) => None,
        };
        if let Some(port) = port {
            return Some(port.trim_start_matches(['=', ' ']).trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::model::Peer;
    use super::*;
    use crate::config::notation::{PlaceThere, remote};

    fn at(text: &str) -> Destination {
        let parsed = remote(text).unwrap();
        let target = match parsed.place {
            PlaceThere::Daemon { port, module } => {
                Target::Daemon { port: port.unwrap_or(873), module }
            }
            PlaceThere::Ssh { path } => {
                Target::Ssh { path, port: None, options: Vec::new(), control_master: true }
            }
        };
        Destination::of(&Remote::new(Peer { user: parsed.user, ..Peer::new(parsed.host, target) }))
    }

    #[test]
    fn spellings_of_one_destination_are_equal() {
        for (a, b) in [
            ("h::m", "u@H::m/"),
            ("h::m", "rsync://h:873/m"),
            ("h::m/a//b", "h.::m/a/b/"),
            ("[FE80::0:1]::m", "[fe80::1]::m"),
            ("[::ffff:10.0.0.2]::m", "10.0.0.2::m"),
            ("localhost::m", "127.0.0.1::m"),
            ("[::1]::m", "localhost::m"),
            ("u@h:/srv", "v@h:/srv/./"),
            ("h:/srv//www", "h:/srv/www"),
        ] {
            assert!(at(a).is_same(&at(b)) && at(a).meets(&at(b)), "{a} {b}");
        }
    }

    #[test]
    fn nested_destinations_are_recognized() {
        for (a, b) in [
            ("h::m", "h::m/backup"),
            ("u@h:/srv", "h:/srv/www"),
            ("h:/", "h:/srv"),
            ("rsync://h/m//a", "h:873::m/a/b"),
            ("[::1]::m", "127.0.0.1::m/x"),
        ] {
            assert!(at(a).meets(&at(b)) && at(b).meets(&at(a)), "{a} {b}");
            assert!(!at(a).is_same(&at(b)), "{a} {b}");
        }
        for (a, b) in [
            ("h::m", "h::mm"),
            ("h::m", "h::M"),
            ("h::m", "g::m"),
            ("h::m", "h:874::m"),
            ("h::srv", "h:/srv"),
            ("h:/srv", "h:/srv2"),
            ("127.0.0.1::m", "127.0.0.2::m"),
            ("[fe80::1%eth0]::m", "[fe80::1%eth1]::m"),
        ] {
            assert!(!at(a).meets(&at(b)), "{a} {b}");
        }
    }

    #[test]
    fn the_ssh_port_is_found() {
        let ssh = |port: Option<u16>, options: &[&str]| {
            let options = options.iter().map(|o| (*o).to_owned()).collect();
            let target = Target::Ssh { path: "/srv".into(), port, options, control_master: true };
            Destination::of(&Remote::new(Peer::new("h", target)))
        };
        let plain = ssh(None, &[]);
        for (port, options) in [
            (Some(22), &[][..]),
            (None, &["-p", "22"]),
            (None, &["-i", "/key", "-p22"]),
            (None, &["-o", "Port=22"]),
            (None, &["-oport 22"]),
        ] {
            assert!(plain.is_same(&ssh(port, options)), "{port:?} {options:?}");
        }
        assert!(!plain.meets(&ssh(Some(23), &[])) && !plain.meets(&ssh(None, &["-p", "23"])));
    }
}
