//! What every file here begins with.

use std::path::Path;
use syncsup::config::diagnostic::{Parsed, Severity};
use syncsup::config::model::{Peer, Remote, Target};
use syncsup::config::parse;

/// sersync's own configuration file.
pub const SAMPLE: &str = include_str!("../../examples/confxml.xml");

/// Read as XML; findings name it `c.xml`.
pub fn read_xml(xml: impl AsRef<[u8]>) -> Parsed {
    parse(xml.as_ref(), Path::new("c.xml"))
}

/// Read as YAML; findings name it `c.yaml`.
pub fn read_yaml(text: &str) -> Parsed {
    parse(text.as_bytes(), Path::new("c.yaml"))
}

/// Every finding.
pub fn told(parsed: &Parsed) -> Vec<String> {
    parsed.diagnostics.iter().map(ToString::to_string).collect()
}

/// The errors among them.
pub fn errors(parsed: &Parsed) -> Vec<String> {
    let errors = parsed.diagnostics.iter().filter(|d| d.severity == Severity::Error);
    errors.map(ToString::to_string).collect()
}

/// The sample with one piece replaced, which must be there.
pub fn with(old: &str, new: &str) -> String {
    assert!(SAMPLE.contains(old), "{old}");
    SAMPLE.replacen(old, new, 1)
}

/// A module of a daemon, with rsync's parameters.
pub fn remote(host: &str, module: &str, params: &str) -> Remote {
    let target = Target::Daemon { port: 873, module: module.into() };
    Remote::new(Peer { params: vec![params.into()], ..Peer::new(host, target) })
}
