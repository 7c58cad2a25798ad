//! `syncsup migrate [PATH]...`: looks for a running or installed sersync, prints what would replace it, and writes the
//! replacement beside the old files: a YAML configuration and a systemd unit. It changes nothing else.

mod find;
mod starters;
mod unit;

use super::print;
use super::{check, convert::left_out};
use crate::config::convert::{as_written_in_yaml, to_yaml};
use crate::config::model::{Call, Config, LocalPath, Place, Remote};
use crate::config::{self, module, yaml};
use crate::error::{Error, Exit, Result};
use crate::language::say;
use crate::path::printable;
use crate::shell::quoted_text;
use crate::sys::output::complain;
use crate::sys::{own, procfs};
use find::{FoundConfiguration, find};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use unit::Needs;

/// No file of sersync is larger.
const MOST_BYTES: u64 = 64 << 20;

/// A file that must exist.
struct Wanted {
    path: PathBuf,
    text: String,
    mode: u32,
    /// The text without passwords, if it contains any.
    shown: Option<String>,
}

/// Exit status 0 if everything is written or already exists, or with `dry` if it could be written. 1 if no sersync is
/// found, or if a file of that name has other content. 2 if a configuration cannot be used. 5 if a file cannot be
/// written.
pub fn run(paths: &[PathBuf], dry: bool) -> Result<Exit> {
    if let Some(missing) = paths.iter().find(|p| !p.exists()) {
        return Err(Error::usage(say!("{}: no such file or directory", missing.display())));
    }
    let found = find(paths, &procfs::running());
    if found.is_empty() {
        let places = match paths {
            [] => say!("none runs, and there is none in {}", find::USUAL.join(&say!(" or "))),
            paths => paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "),
        };
        let text = say!("no sersync found ({}); name its directory, or its confxml.xml", places);
        return Err(Error::new(Exit::No, text));
    }
    // Everything is read before anything is written.
    let plans: Vec<Result<(&FoundConfiguration, Vec<Wanted>)>> =
        found.iter().map(|f| Ok((f, plan(f)?))).collect();
    let mut exit = Exit::Ok;
    for plan in plans {
        match plan {
            Ok((found, wanted)) => {
                for file in &wanted {
                    if !write(file, dry)? {
                        exit = worse(exit, Exit::No);
                    }
                }
                print(&next_steps(found, &wanted));
            }
            Err(error) => {
                error.text.lines().for_each(|line| complain(&format!("syncsup: {line}")));
                exit = worse(exit, error.exit);
            }
        }
    }
    let starters = starters::find(Path::new("/"));
    if !starters.is_empty() {
        print(&say!("these would start sersync again; remove them before you switch:\n"));
        starters.iter().for_each(|s| print(&format!("  {}\n", s.shown())));
    }
    Ok(exit)
}

fn worse(a: Exit, b: Exit) -> Exit {
    if b as u8 > a as u8 { b } else { a }
}

fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// A path as a word that a shell reads back unchanged.
fn word(path: &Path) -> String {
    quoted_text(path.as_os_str().as_bytes())
}

/// Prints what was found and what it means. Returns the files that would replace it.
fn plan(found: &FoundConfiguration) -> Result<Vec<Wanted>> {
    let file = &found.file;
    let loaded = config::read(std::slice::from_ref(file));
    let state = match &found.process {
        Some(process) => say!("runs, pid {}", process.pids()),
        None => say!("does not run"),
    };
    print(&format!("{} ({state})\n", shown(file)));
    let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    if loaded.has_errors() {
        return Err(Error::usage(lines.join("\n")));
    }
    lines.iter().for_each(|line| complain(&format!("syncsup: {line}")));
    if let Some(name) = found.process.as_ref().and_then(|p| p.plugin.as_deref()) {
        return Ok(vec![plan_alone(found, name, loaded.config)?]);
    }
    for localpath in &loaded.config.localpaths {
        let remotes: Vec<String> = localpath.remotes.iter().map(Remote::name).collect();
        print(&format!("  {} -> {}\n", localpath.watch, remotes.join(", ")));
        if let Some(owed) = owed(localpath) {
            print(&format!("  {owed}\n"));
        }
    }
    let yaml = to_yaml(&loaded.config)?;
    if !says_the_same(&yaml, &loaded.config) {
        let what = say!("{}: its YAML would have another meaning", shown(file));
        return Err(Error::system(what, say!("please report this, with the file")));
    }
    if let Some(text) = left_out(&loaded.config) {
        complain(&format!("syncsup: {}: {text}", shown(file)));
    }
    let head = format!("# Written by `syncsup migrate` from {}.\n", shown(file));
    let bare = to_yaml(&without_secrets(&loaded.config))?;
    let config = Wanted {
        path: file.with_extension("yaml"),
        shown: (bare != yaml).then(|| head.clone() + &bare),
        text: head + &yaml,
        mode: 0o600,
    };
    let unit = unit_of(found, &config.path, None, &Needs::of(&loaded.config))?;
    Ok(vec![config, unit])
}

/// The replacement of a process that only runs a plugin: the same command with the old file. The YAML cannot be used:
/// it lacks the plugins that are not started, and without `-m` it would push.
fn plan_alone(found: &FoundConfiguration, name: &str, mut config: Config) -> Result<Wanted> {
    let file = shown(&found.file);
    let kind = module::kind(name)
        .ok_or_else(|| Error::usage(say!("{}: -m {} is not a plugin of sersync's", file, name)))?;
    if let Some(nothing) = module::only(&mut config, kind) {
        return Err(Error::usage(nothing.to_string()));
    }
    for localpath in &config.localpaths {
        print(&say!("  {} -> plugin {} (pushes nothing)\n", localpath.watch, kind));
    }
    unit_of(found, &found.file, Some(kind), &Needs::of(&config))
}

/// The configuration without secrets, so that it can be shown.
fn without_secrets(config: &Config) -> Config {
    let mut config = config.clone();
    for plugin in config.localpaths.iter_mut().flat_map(|l| &mut l.plugins) {
        match &mut plugin.call {
            Call::RefreshCdn { password, .. } => password.0 = "...".into(),
            Call::Http { url, .. } => *url = check::without_secrets(url),
            Call::Command { .. } | Call::Socket { .. } => {}
        }
    }
    config
}

/// What sersync itself still has to push.
fn owed(localpath: &LocalPath) -> Option<String> {
    let path = &localpath.fail_log.as_ref()?.path;
    let text = own::read(path.as_path(), MOST_BYTES).ok()?;
    let lines = text.split(|&b| b == b'\n').filter(|l| l.starts_with(b"cd ")).count();
    (lines > 0)
        .then(|| say!("owes the paths in {} ({} lines): see `syncsup journal import`", path, lines))
}

fn says_the_same(text: &str, old: &Config) -> bool {
    let new = yaml::parse(text.as_bytes(), Path::new("yaml")).config;
    let plain = |config: &Config| {
        let all = config.localpaths.iter().cloned();
        all.map(|l| LocalPath { place: Place::default(), ..l }).collect::<Vec<_>>()
    };
    plain(&new) == plain(&as_written_in_yaml(old)) && new.debug == old.debug
}

/// With `alone`, the unit that only runs the plugins of that kind.
fn unit_of(
    found: &FoundConfiguration,
    config: &Path,
    alone: Option<&str>,
    needs: &Needs,
) -> Result<Wanted> {
    let program = std::env::current_exe()
        .map_err(|e| Error::system(say!("cannot find the path of this program"), e))?;
    let mut options = Vec::new();
    if let Some(process) = &found.process {
        options.extend((process.reconcile && alone.is_none()).then(|| "-r".to_owned()));
        options.extend(process.slots.iter().flat_map(|n| ["-n".to_owned(), n.to_string()]));
    }
    options.extend(alone.iter().flat_map(|kind| ["-m".to_owned(), (*kind).to_owned()]));
    let stem = found.file.file_stem().unwrap_or_default().to_string_lossy();
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let stem: String = stem.chars().map(|c| if safe(c) { c } else { '_' }).collect();
    let text = unit::text(&program, &options, config, &found.file, needs).ok_or_else(|| {
        let path = shown(config);
        Error::usage(say!(
            "{}: a systemd unit cannot hold this name; rename the configuration",
            path
        ))
    })?;
    let name = match alone {
        Some(kind) => format!("syncsup-{stem}-m-{kind}.service"),
        None => format!("syncsup-{stem}.service"),
    };
    Ok(Wanted { path: config.with_file_name(name), text, mode: 0o644, shown: None })
}

/// Writes a new file. An existing file is never touched. Returns false if an existing file has other content.
fn write(wanted: &Wanted, dry: bool) -> Result<bool> {
    let path = shown(&wanted.path);
    match own::glance(&wanted.path, MOST_BYTES) {
        Ok(old) if old == wanted.text.as_bytes() => {
            print(&say!("  {} exists already\n", path));
            return Ok(true);
        }
        Ok(_) => {
            complain(&say!(
                "syncsup: {} exists already with other content; move it away, or keep it",
                path
            ));
            return Ok(false);
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(Error::system(path, e)),
    }
    if dry {
        let text = wanted.shown.as_ref().unwrap_or(&wanted.text);
        let indented: String = text.lines().map(|l| format!("    {l}\n")).collect();
        print(&say!("  would write {}:\n{}", path, indented));
        return Ok(true);
    }
    let failed = |e| Error::system(say!("cannot write {}", path), e);
    let options = OpenOptions::new().write(true).create_new(true).mode(wanted.mode).clone();
    let mut file = options.open(&wanted.path).map_err(failed)?;
    if let Err(e) = file.write_all(wanted.text.as_bytes()).and_then(|()| file.sync_all()) {
        // A partial file would block the next attempt.
        let _ = fs::remove_file(&wanted.path);
        return Err(failed(e));
    }
    print(&say!("  wrote {}\n", path));
    Ok(true)
}

/// The remaining steps for the operator. The unit is the last file.
fn next_steps(found: &FoundConfiguration, wanted: &[Wanted]) -> String {
    let Some(unit) = wanted.last() else { return String::new() };
    let name = unit.path.file_name().unwrap_or_default().to_string_lossy();
    let stop = match &found.process {
        Some(process) => format!("kill {}; ", process.pids()),
        None => String::new(),
    };
    let mut text = say!(
        "  to switch: {}cp {} /etc/systemd/system/ && systemctl daemon-reload && systemctl enable --now {}\n",
        stop,
        word(&unit.path),
        name
    );
    if let [config, _] = wanted {
        text += &say!("  then reconcile once: syncsup sync -o {}\n", word(&config.path));
    }
    text
}
