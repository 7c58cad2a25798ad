//! Configuration: bytes of a `confxml.xml` or a YAML file -> validated [`model`], all errors at once.

pub mod check;
pub mod confxml;
mod confxml_plugin;
mod confxml_schema;
mod confxml_values;
pub mod convert;
mod convert_values;
pub mod credentials;
pub mod cron;
mod destination;
pub mod diagnostic;
pub mod here;
pub mod http;
mod lint;
pub mod log;
pub mod model;
pub mod module;
mod node;
mod notation;
pub(crate) mod params;
mod plugin_values;
pub mod probe;
pub mod run_as;
pub mod sender;
pub mod sersync_log;
mod trusted;
mod values;
mod xml;
pub mod yaml;
mod yaml_hint;
mod yaml_plugin;
mod yaml_rsync;
mod yaml_settings;
mod yaml_text;
mod yaml_values;
mod yaml_verify;

use crate::error::without_number;
use crate::language::say;
use crate::path::as_written;
use crate::trust::{self, User};
use diagnostic::{Diagnostic, Notes, Parsed, keep_one};
use model::Config;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The JSON Schema of the YAML configuration, for editors.
pub const SCHEMA: &str = include_str!("syncsup.schema.json");

/// The merged contents of the given files, and all findings.
pub type Loaded = Parsed;

/// Reads one configuration, XML or YAML by its content: XML begins with `<`.
pub fn parse(bytes: &[u8], file: &Path) -> Parsed {
    let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    // A full-width `<` also shows an XML file, a broken one.
    let xml = utf16 || start.starts_with(b"<") || start.starts_with("\u{ff1c}".as_bytes());
    if xml { confxml::parse(bytes, file) } else { yaml::parse(bytes, file) }
}

/// Reads the files, and in directories every `*.xml`, `*.yaml`, `*.yml` (in any case) by name, into one configuration,
/// and checks it. Of the files that it names, only the owners are looked at; [`check::roots`] examines the machine.
/// Nothing may be started with it if it has errors.
pub fn read(files: &[PathBuf]) -> Loaded {
    let mut loaded = merged(files);
    let user = User::current();
    loaded.diagnostics.extend(named_by(&loaded.config, user));
    loaded
}

/// As [`read`], for an instance: its `user` must exist, and this process must be able to become it. That user runs the
/// programs and reads the files that the configuration names. `given` is the user of the command line; `find` returns a
/// user by its name.
pub fn read_to_run(
    files: &[PathBuf],
    given: Option<&str>,
    find: &dyn Fn(&str) -> Option<User>,
) -> Loaded {
    let mut loaded = merged(files);
    run_as::overlay(&mut loaded.config.user, given);
    let current = User::current();
    let user = match loaded.config.user.as_ref().map(|run_as| run_as::judge(run_as, find, current))
    {
        None => current,
        Some(Ok(user)) => user,
        Some(Err(error)) => {
            loaded.diagnostics.push(error);
            current
        }
    };
    loaded.diagnostics.extend(named_by(&loaded.config, user));
    loaded
}

fn doubts(user: User) -> trusted::Doubts<impl Fn(&Path) -> Option<(PathBuf, String)>> {
    trusted::Doubts::new(move |path| {
        trust::doubted(path, user).ok()?.map(|d| (d.path.clone(), d.text(user)))
    })
}

/// The files that the configuration names and that `user` should not trust.
fn named_by(config: &Config, user: User) -> Vec<Diagnostic> {
    doubts(user).named_by(config)
}

fn merged(files: &[PathBuf]) -> Loaded {
    let mut loaded = Loaded::default();
    let doubts = doubts(User::current());
    for file in expand(files, &mut loaded.diagnostics) {
        if let Some(why) = doubts.of(&file) {
            // It is not parsed either: its author would choose the text of the errors.
            loaded.diagnostics.push(broken(&file, say!("refused: {}", why)));
            loaded.config.files.push(file);
            continue;
        }
        match content(&file) {
            Ok(bytes) => {
                let parsed = parse(&bytes, &file);
                loaded.config.debug |= parsed.config.debug;
                loaded.config.no_sysctl |= parsed.config.no_sysctl;
                let (user, http) = (&mut loaded.config.user, &mut loaded.config.http);
                let second = keep_one("user", user, parsed.config.user, |user| &user.place);
                loaded.diagnostics.extend(second);
                let log = &mut loaded.config.log;
                loaded
                    .diagnostics
                    .extend(keep_one("log", log, parsed.config.log, |log| &log.place));
                let second = keep_one("http", http, parsed.config.http, |http| &http.place);
                loaded.diagnostics.extend(second);
                loaded.config.localpaths.extend(parsed.config.localpaths);
                loaded.config.sections.extend(parsed.config.sections);
                loaded.diagnostics.extend(parsed.diagnostics);
            }
            Err(why) => loaded.diagnostics.push(broken(&file, why)),
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

/// The extensions of configuration files in a directory, in any case.
const EXTENSIONS: [&str; 3] = ["xml", "yaml", "yml"];

/// True for a name that is read in a directory of configurations. Temporary files of editors are not read.
fn is_configuration(name: &OsStr) -> bool {
    let extension = Path::new(name).extension();
    !name.as_encoded_bytes().starts_with(b".")
        && extension.is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// The files themselves, each once. A file with the name of a configuration that cannot be read as one is an error: if
/// it were skipped, a reload would stop its localpaths.
fn expand(files: &[PathBuf], found: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for file in files {
        if !file.is_dir() {
            all.push(file.clone());
            continue;
        }
        let entries = fs::read_dir(file).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                found.push(broken(file, say!("cannot be read: {}", without_number(&error))));
                continue;
            }
        };
        let inside = entries.into_iter().filter(|e| is_configuration(&e.file_name()));
        let mut inside: Vec<PathBuf> = inside.map(|e| e.path()).collect();
        inside.sort();
        if inside.is_empty() {
            found.push(broken(
                file,
                say!("contains no *.xml, *.yaml or *.yml; add a configuration"),
            ));
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

/// The bytes of a configuration, or the error for the user.
fn content(file: &Path) -> Result<Vec<u8>, String> {
    let seen = match fs::metadata(file) {
        Ok(seen) => seen,
        Err(error) => {
            let text = match fs::read_link(file) {
                Ok(target) if error.kind() == ErrorKind::NotFound => say!(
                    "is a symbolic link to {}, which does not exist; correct or remove it",
                    as_written(target.as_os_str().as_encoded_bytes())
                ),
                _ => say!("cannot be read: {}", without_number(&error)),
            };
            return Err(text);
        }
    };
    // A pipe that a shell made for `-o <(...)` has a writer; a read of any other pipe would block.
    let given_by_shell = file.starts_with("/dev/fd") || file.starts_with("/proc/self/fd");
    if seen.is_dir() {
        return Err(say!("is a directory, not a file; rename or remove it"));
    }
    if !seen.is_file() && !given_by_shell {
        return Err(say!("is not a regular file; a configuration must be one"));
    }
    fs::read(file).map_err(|error| say!("cannot be read: {}", without_number(&error)))
}
