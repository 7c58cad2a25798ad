//! The command line: sersync's options (`-dro FILE`) and subcommands.

mod help;
mod operate;

use crate::commands;
use crate::commands::invocation::{Command, Invocation, JournalAction, Wish, absolute};
use crate::config::diagnostic::nearest;
use crate::config::model::PLUGIN_KINDS;
use crate::config::{http, module, run_as};
use crate::error::{Error, Exit, Result};
use crate::instance::directories::Directories;
use crate::language::{Language, listed, say};
use crate::log_settings::{self, LogFormat};
use crate::sys::output::{self, complain};
use lexopt::Arg;
use std::ffi::OsString;
use std::path::PathBuf;

/// Every subcommand.
const COMMANDS: [&str; 16] = [
    "run", "check", "convert", "schema", "status", "stop", "reload", "sync", "release", "wait",
    "verify", "journal", "undelete", "migrate", "demo", "help",
];
/// Every long option.
const OPTIONS: [&str; 28] = [
    "state-dir",
    "run-dir",
    "user",
    "http",
    "max-lag",
    "log-format",
    "no-sysctl",
    "verbose",
    "help",
    "version",
    "connect",
    "json",
    "watch",
    "problems",
    "processes",
    "dry-run",
    "all",
    "quorum",
    "remote",
    "plugin",
    "timeout",
    "checksum",
    "repair",
    "show",
    "at",
    "last",
    "force",
    "yes",
];

/// Runs the command line; prints its error, if any.
pub fn main(args: &[OsString]) -> Exit {
    Language::of_locale().speak();
    let parsed = parse(args);
    let shows = parsed.as_ref().is_ok_and(|invocation| is_result(&invocation.command));
    let done = parsed.and_then(|invocation| dispatch(&invocation));
    let exit = done.unwrap_or_else(|error| {
        for line in error.text.lines() {
            complain(&format!("syncsup: {line}"));
        }
        error.exit
    });
    match output::lost() {
        Some(why) if shows => {
            complain(&say!("syncsup: cannot write to standard output: {}", why));
            Exit::System
        }
        Some(_) | None => exit,
    }
}

/// True if the output of a command is its result. The result of the other commands is the exit status.
fn is_result(command: &Command) -> bool {
    match command {
        Command::Check { .. }
        | Command::Convert
        | Command::Schema
        | Command::Status(_)
        | Command::Verify(_)
        | Command::Journal(JournalAction::List { .. })
        | Command::Migrate { .. }
        | Command::Undelete(Wish { at: None, .. })
        | Command::Release { show: true, .. }
        | Command::Demo
        | Command::HelpOn(_)
        | Command::Help
        | Command::Version => true,
        Command::Run { .. }
        | Command::Stop
        | Command::Reload
        | Command::Sync(_)
        | Command::Wait(_)
        | Command::Release { show: false, .. }
        | Command::Journal(JournalAction::Retry(_) | JournalAction::Drop(_))
        | Command::Import(_)
        | Command::Prune { .. }
        | Command::Undelete(Wish { at: Some(_), .. }) => false,
    }
}

fn dispatch(invocation: &Invocation) -> Result<Exit> {
    match &invocation.command {
        Command::Run { daemon, reconcile, slots } => {
            commands::run::run(invocation, *daemon, *reconcile, *slots)
        }
        Command::Check { connect } => commands::check::run(invocation, *connect),
        Command::Convert => commands::convert::run(invocation),
        Command::Schema => commands::schema::run(),
        Command::Status(what) => commands::status::run(invocation, what),
        Command::Stop => commands::stop::run(invocation),
        Command::Reload => commands::reload::run(invocation),
        Command::Sync(names) => commands::sync::run(invocation, names),
        Command::Release { name, show } => commands::release::run(invocation, name, *show),
        Command::Wait(what) => commands::wait::run(invocation, what),
        Command::Verify(what) => commands::verify::run(invocation, what),
        Command::Journal(action) => commands::journal::failures::run(invocation, action),
        Command::Migrate { paths, dry } => commands::migrate::run(paths, *dry),
        Command::Prune { names, yes } => commands::journal::prune::run(invocation, names, *yes),
        Command::Import(file) => commands::journal::import::run(invocation, file),
        Command::Undelete(wish) => commands::undelete::run(invocation, wish),
        Command::Demo => commands::demo::run(),
        Command::HelpOn(topic) => commands::help_on::run(*topic),
        Command::Help => {
            output::print(help::text(Language::current()));
            Ok(Exit::Ok)
        }
        Command::Version => {
            output::print(&format!("syncsup {}\n", env!("CARGO_PKG_VERSION")));
            Ok(Exit::Ok)
        }
    }
}

/// The options of the command line, before the subcommand is known.
#[derive(Default)]
struct Words {
    /// The letters and names of the options that only some subcommands take.
    special: Vec<&'static str>,
    state: Option<PathBuf>,
    run: Option<PathBuf>,
    verbose: bool,
    no_sysctl: bool,
    user: Option<String>,
    log_format: Option<LogFormat>,
    http: http::Given,
    help: bool,
    version: bool,
    files: Vec<PathBuf>,
    slots: Option<usize>,
    module: Option<String>,
    operate: operate::Words,
    names: Vec<OsString>,
}

/// Parses a command line that begins with the program's name. Errors: usage, on one line.
pub fn parse(args: &[OsString]) -> Result<Invocation> {
    let mut words = read(args)?;
    let defaults = Directories::defaults();
    let directories = Directories {
        state: absolute(words.state.take().unwrap_or(defaults.state))?,
        run: absolute(words.run.take().unwrap_or(defaults.run))?,
    };
    let files = std::mem::take(&mut words.files);
    let (verbose, sysctl, log_format) = (words.verbose, !words.no_sysctl, words.log_format);
    let (module, http, user) = (words.module.take(), words.http, words.user.take());
    let command = if words.help {
        Command::Help
    } else if words.version {
        Command::Version
    } else {
        command(words)?
    };
    Ok(Invocation {
        directories,
        verbose,
        sysctl,
        user,
        log_format,
        http,
        files,
        module,
        command,
        words: args.to_vec(),
    })
}

fn read(args: &[OsString]) -> Result<Words> {
    let mut parser = lexopt::Parser::from_iter(args.iter());
    let mut words = Words::default();
    loop {
        // The argument borrows the parser, which is also needed for the value.
        let (name, value) = match parser.next().map_err(usage)? {
            None => return Ok(words),
            Some(Arg::Short(letter)) => (letter.to_string(), None),
            Some(Arg::Long(name)) => (name.to_owned(), None),
            Some(Arg::Value(value)) => (String::new(), Some(value)),
        };
        if let Some(value) = value {
            words.names.push(value);
            continue;
        }
        let mut path = || match parser.value().map_err(usage)? {
            value if value.is_empty() => Err(empty(&name)),
            value => Ok(PathBuf::from(value)),
        };
        match name.as_str() {
            "state-dir" => words.state = Some(path()?),
            "run-dir" => words.run = Some(path()?),
            "o" => words.files.push(path()?),
            "v" | "verbose" => words.verbose = true,
            "user" => words.user = Some(value_of("--user", &mut parser, run_as::name)?),
            "no-sysctl" => words.no_sysctl = true,
            "h" | "help" => words.help = true,
            "V" | "version" => words.version = true,
            "d" => words.special.push("-d"),
            "r" => words.special.push("-r"),
            "json" => words.special.push("--json"),
            "watch" => words.special.push("--watch"),
            "problems" => words.special.push("--problems"),
            "processes" => words.special.push("--processes"),
            "connect" => words.special.push("--connect"),
            "dry-run" => words.special.push("--dry-run"),
            "http" => {
                words.special.push("--http");
                words.http.listen = Some(value_of("--http", &mut parser, http::listen)?);
            }
            "max-lag" => {
                words.special.push("--max-lag");
                words.http.max_lag_ms = Some(value_of("--max-lag", &mut parser, http::max_lag_ms)?);
            }
            "log-format" => {
                words.special.push("--log-format");
                let format = |text: &str| log_settings::value(&LogFormat::WORDS, text);
                words.log_format = Some(value_of("--log-format", &mut parser, format)?);
            }
            "last" => words.special.push("--last"),
            "force" => words.special.push("--force"),
            "yes" => words.special.push("--yes"),
            "n" => {
                words.special.push("-n");
                words.slots = Some(slots(&parser.value().map_err(usage)?)?);
            }
            "m" => {
                words.special.push("-m");
                words.module = Some(plugin(&parser.value().map_err(usage)?)?);
            }
            "all" => words.special.push("--all"),
            "checksum" => words.special.push("--checksum"),
            "repair" => words.special.push("--repair"),
            "show" => words.special.push("--show"),
            "0" => words.special.push("-0"),
            option @ ("quorum" | "remote" | "plugin" | "timeout" | "at") => {
                words.special.push(words.operate.take(option, parser.value().map_err(usage)?)?);
            }
            other => return Err(unknown_option(other)),
        }
    }
}

fn command(words: Words) -> Result<Command> {
    let mut names = words.names.iter().map(|w| w.to_string_lossy().into_owned());
    let command = names.next().unwrap_or_else(|| "run".into());
    let names: Vec<String> = names.collect();
    let takes: &[&str] = match command.as_str() {
        "run" => &["-d", "-r", "-n", "-m", "--http", "--max-lag", "--log-format"],
        "check" => &["--connect"],
        "status" => &["--json", "--watch", "--problems", "--processes", "-m"],
        "stop" | "reload" => &["-m"],
        "release" => &["--show", "-m"],
        "wait" => &["--all", "--quorum", "--remote", "--timeout"],
        "verify" => &["--remote", "--checksum", "--repair", "--json", "-0"],
        "journal" => &["--remote", "--plugin", "--json", "--yes"],
        "migrate" => &["--dry-run"],
        "undelete" => &["--remote", "--at", "--last", "--force"],
        "convert" | "schema" | "sync" | "demo" | "help" => &[],
        other => return Err(unknown_command(other)),
    };
    if let Some(other) = words.special.iter().find(|s| !takes.contains(*s)) {
        let text = say!("`syncsup {}` does not take {}; see `syncsup --help`", command, other);
        return Err(Error::usage(text));
    }
    let has = |option: &str| words.special.contains(&option);
    match (command.as_str(), &names[..]) {
        ("sync", _) => Ok(Command::Sync(names)),
        ("status", _) => operate::status(&words, names),
        ("wait", _) => operate::wait(words),
        ("verify", _) => operate::verify(words),
        ("journal", [import, _]) if import == "import" && words.special.is_empty() => {
            Ok(Command::Import(PathBuf::from(&words.names[2])))
        }
        ("journal", _) => operate::journal(words),
        ("migrate", _) => {
            let paths = words.names[1..].iter().map(PathBuf::from).collect();
            Ok(Command::Migrate { paths, dry: has("--dry-run") })
        }
        ("undelete", _) => operate::undelete(words),
        ("help", []) => Ok(Command::Help),
        ("help", [topic]) => Ok(Command::HelpOn(operate::topic(topic)?)),
        ("release", [name]) => Ok(Command::Release { name: name.clone(), show: has("--show") }),
        ("release", _) => Err(Error::usage(say!(
            "`syncsup release` takes one NAME: the localpath or the remote that `syncsup status` shows as held"
        ))),
        (_, [name, ..]) => {
            let text = say!(
                "`syncsup {}` does not take `{}`; give a configuration file with -o",
                command,
                name
            );
            Err(Error::usage(text))
        }
        ("check", []) => Ok(Command::Check { connect: has("--connect") }),
        ("convert", []) => Ok(Command::Convert),
        ("schema", []) => Ok(Command::Schema),
        ("stop", []) => Ok(Command::Stop),
        ("demo", []) => Ok(Command::Demo),
        ("reload", []) => Ok(Command::Reload),
        (_, []) => Ok(Command::Run { daemon: has("-d"), reconcile: has("-r"), slots: words.slots }),
    }
}

/// The value of a long option, parsed by `read`, which returns the error of a bad value.
fn value_of<T>(
    option: &str,
    parser: &mut lexopt::Parser,
    read: impl Fn(&str) -> std::result::Result<T, String>,
) -> Result<T> {
    let word = parser.value().map_err(usage)?;
    read(&word.to_string_lossy()).map_err(|why| Error::usage(format!("{option} {why}")))
}

/// The error for an empty value: the system's own error would not explain it.
fn empty(option: &str) -> Error {
    let dashes = if option.chars().count() == 1 { "-" } else { "--" };
    Error::usage(say!(
        "{}{} has an empty value; is a variable of the caller unset?",
        dashes,
        option
    ))
}

fn slots(value: &OsString) -> Result<usize> {
    let text = value.to_string_lossy();
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(Error::usage(say!("-n {}: not a number of rsyncs; write 1 or more", text))),
    }
}

fn plugin(value: &OsString) -> Result<String> {
    let name = value.to_string_lossy();
    module::kind(&name).map(str::to_owned).ok_or_else(|| {
        let near = nearest(&name, &PLUGIN_KINDS).map(|n| say!("; did you mean {}?", n));
        let kinds = listed(&PLUGIN_KINDS);
        let text = say!(
            "-m {} is not a plugin; the plugins are {}{}",
            name,
            kinds,
            near.unwrap_or_default()
        );
        Error::usage(text)
    })
}

fn usage(error: lexopt::Error) -> Error {
    match error {
        lexopt::Error::MissingValue { option: Some(option) } => {
            Error::usage(say!("{} needs a value; see `syncsup --help`", option))
        }
        lexopt::Error::UnexpectedValue { option, value } => Error::usage(say!(
            "unexpected argument for option '{}': {}; see `syncsup --help`",
            option,
            format!("{value:?}")
        )),
        other => Error::usage(say!("{}; see `syncsup --help`", other)),
    }
}

fn unknown_option(name: &str) -> Error {
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    let near = nearest(name, &OPTIONS).filter(|_| dashes == "--");
    let advice = near.map_or(say!("see `syncsup --help`"), |n| say!("did you mean --{}?", n));
    Error::usage(say!("unknown option {}{}; {}", dashes, name, advice))
}

fn unknown_command(name: &str) -> Error {
    let advice = match nearest(name, &COMMANDS) {
        Some(near) => say!("did you mean `{}`?", near),
        None if name.contains(['.', '/']) => say!("give a configuration file with -o"),
        None => say!("commands: {}", listed(&COMMANDS)),
    };
    Error::usage(say!("unknown command `{}`; {}", name, advice))
}

#[cfg(test)]
mod tests;
