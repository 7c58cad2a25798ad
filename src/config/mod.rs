//! Configuration: bytes of a `confxml.xml` or a YAML file -> validated [`model`], all errors at once.

pub mod check;
pub mod confxml;
mod confxml_plugin;
mod confxml_schema;
mod confxml_values;
pub mod convert;
mod convert_values;
pub mod cron;
mod destination;
pub mod diagnostic;
pub mod here;
pub mod http;
mod lint;
pub mod model;
pub mod module;
mod node;
mod notation;
pub(crate) mod params;
mod plugin_values;
pub mod probe;
pub mod sersync_log;
mod values;
mod xml;
pub mod yaml;
mod yaml_plugin;
mod yaml_rsync;
mod yaml_settings;
mod yaml_values;
mod yaml_verify;

use diagnostic::{Diagnostic, Notes, Parsed};
use probe::Probe;
use std::fs;
use std::path::{Path, PathBuf};

/// What the given files say together, and everything that is wrong with it.
pub type Loaded = Parsed;

/// Reads one configuration, XML or YAML by its content: XML begins with `<`.
pub fn parse(bytes: &[u8], file: &Path) -> Parsed {
    let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    // A full-width `<` is a broken XML too.
    let xml = utf16 || start.starts_with(b"<") || start.starts_with("\u{ff1c}".as_bytes());
    if xml { confxml::parse(bytes, file) } else { yaml::parse(bytes, file) }
}

/// Reads the files, and of directories every `*.xml`, `*.yaml`, `*.yml` by name, into one configuration; checks it, and
/// looks at its localpaths and password files ([`check::roots`]). Nothing may be started with it when it has errors.
pub fn load(files: &[PathBuf], probe: &dyn Probe) -> Loaded {
    let mut loaded = read(files);
    loaded.diagnostics.extend(check::roots(&loaded.config, probe));
    loaded
}

/// As [`load`], without a look at the file system beyond the files themselves.
pub fn read(files: &[PathBuf]) -> Loaded {
    let mut loaded = Loaded::default();
    for file in expand(files, &mut loaded.diagnostics) {
        match fs::read(&file) {
            Ok(bytes) => {
                let parsed = parse(&bytes, &file);
                loaded.config.debug |= parsed.config.debug;
                loaded.config.no_sysctl |= parsed.config.no_sysctl;
                let second = http::merge(&mut loaded.config.http, parsed.config.http);
                loaded.diagnostics.extend(second);
                loaded.config.localpaths.extend(parsed.config.localpaths);
                loaded.config.sections.extend(parsed.config.sections);
                loaded.diagnostics.extend(parsed.diagnostics);
            }
            Err(error) => {
                loaded.diagnostics.push(broken(&file, format!("cannot be read: {error}")))
            }
        }
        loaded.config.files.push(file);
    }
    loaded.diagnostics.extend(check::across(&mut loaded.config));
    loaded
}

fn broken(file: &Path, text: impl Into<String>) -> Diagnostic {
    let mut notes = Notes::new(file);
    notes.error(0, text);
    notes.list.remove(0)
}

/// The files themselves, each once.
fn expand(files: &[PathBuf], found: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for file in files {
        if !file.is_dir() {
            all.push(file.clone());
            continue;
        }
        let entries = match fs::read_dir(file) {
            Ok(entries) => entries,
            Err(error) => {
                found.push(broken(file, format!("cannot be read: {error}")));
                continue;
            }
        };
        let mut inside: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        inside.retain(|p| {
            p.is_file() && p.extension().is_some_and(|e| e == "xml" || e == "yaml" || e == "yml")
        });
        // What editors leave beside a file is none.
        inside.retain(|p| p.file_name().is_none_or(|n| !n.as_encoded_bytes().starts_with(b".")));
        inside.sort();
        if inside.is_empty() {
            found
                .push(broken(file, "holds no *.xml, *.yaml or *.yml; write a configuration there"));
        }
        all.extend(inside);
    }
    let mut seen = Vec::new();
    all.retain(|file| {
        let real = file.canonicalize().unwrap_or_else(|_| file.clone());
        let new = !seen.contains(&real);
        seen.push(real);
        new
    });
    all
}
