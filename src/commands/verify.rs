//! `syncsup verify`: compares, and prints which paths differ and why.

mod alone;
mod busy;
mod pair;
mod show;

use super::client::{self, RunningInstance};
use super::invocation::{Format, Invocation, Verify};
use super::{resolve, status, wait};
use crate::error::{Error, Exit, Result};
use crate::language::{Language, listed, say};
use crate::message::{
    Answer, Difference, LocalPathStatus, Request, Ticket, VerifyEnd, VerifyJob, Whose,
};
use crate::path::{OsBytes, RelPath, printable};
use busy::BusyLine;
use pair::{Failing, Pair};
use show::VerifyOutput;
use std::time::Duration;

/// The pause between two requests while there is nothing to read.
const PAUSE: Duration = Duration::from_millis(50);

/// Exit status 0 if everything is identical or was repaired, 1 if not.
pub fn run(invocation: &Invocation, verify: &Verify) -> Result<Exit> {
    if verify.format == Format::Json {
        // Its reasons are English, as in all JSON.
        Language::English.speak();
    }
    let running = client::running(invocation)?;
    if running.is_empty() {
        return match invocation.files.is_empty() || verify.repair {
            true => Err(client::none(invocation)),
            false => alone::run(invocation, verify),
        };
    }
    let mut known = Vec::new();
    for instance in running {
        for localpath in instance.status()?.localpaths {
            let remotes = localpath.remotes.into_iter().map(|r| r.name).collect();
            known.push((localpath.watch, remotes, instance.clone()));
        }
    }
    let pairs = choose(verify, known)?;
    let mut show = VerifyOutput::new(verify.format);
    let mut fine = true;
    // One after another: each comparison reads the whole local tree.
    for (pair, instance) in pairs {
        fine &= one(&instance, &pair, verify, &mut show)?;
    }
    Ok(if fine { Exit::Ok } else { Exit::No })
}

/// Selects what is compared: localpaths with the names of their remotes.
fn choose<T: Clone>(
    verify: &Verify,
    known: Vec<(OsBytes, Vec<String>, T)>,
) -> Result<Vec<(Pair, T)>> {
    let watches: Vec<OsBytes> = known.iter().map(|(watch, _, _)| watch.clone()).collect();
    let meant = match &verify.path {
        Some(path) => resolve::within(path, &watches)?,
        None => watches.into_iter().map(|watch| (watch, RelPath::root())).collect(),
    };
    let mut pairs = Vec::new();
    for (watch, below) in meant {
        for (_, remotes, instance) in known.iter().filter(|(w, _, _)| *w == watch) {
            let wanted =
                |name: &&String| verify.remotes.is_empty() || verify.remotes.contains(*name);
            for remote in remotes.iter().filter(wanted) {
                let pair =
                    Pair { watch: watch.clone(), below: below.clone(), remote: remote.clone() };
                pairs.push((pair, instance.clone()));
            }
        }
    }
    match verify.remotes.iter().find(|name| !pairs.iter().any(|(pair, _)| pair.remote == **name)) {
        Some(name) => {
            let all: Vec<&str> =
                known.iter().flat_map(|(_, remotes, _)| remotes).map(String::as_str).collect();
            Err(Error::usage(say!(
                "--remote {}: not a remote of the chosen localpaths; there are: {}",
                printable(name.as_bytes()),
                listed(&all)
            )))
        }
        None => Ok(pairs),
    }
}

/// Compares one remote. Returns true if it is identical or repaired.
fn one(
    instance: &RunningInstance,
    pair: &Pair,
    verify: &Verify,
    show: &mut VerifyOutput,
) -> Result<bool> {
    let job = VerifyJob {
        below: pair.below.clone(),
        checksum: verify.checksum,
        repair: verify.repair,
        progress: BusyLine::shows(),
    };
    show.begin(&pair.watch, &pair.remote);
    let end = read(instance, pair, job, |difference| show.difference(&difference))?;
    // A dry run does not find what a slave refuses to store. The journal has it.
    let failing = failing(instance, pair)?;
    let found = show.end(&end, &failing, verify.repair);
    help(instance, &pair.watch, &pair.remote, &end)?.iter().for_each(|line| show.note(line));
    if verify.repair && found.differ > 0 && found.whole {
        return Ok(wait::one(instance, &pair.watch, pair.below.clone(), &pair.remote)? == Exit::Ok);
    }
    Ok(found.whole && found.differ + found.pending == 0 && failing.count == 0)
}

/// The line that names the help, if the remote cannot be compared now.
pub(super) fn help(
    instance: &RunningInstance,
    watch: &OsBytes,
    remote: &str,
    end: &VerifyEnd,
) -> Result<Option<String>> {
    if !matches!(end, VerifyEnd::Failed(_)) {
        return Ok(None);
    }
    let status = instance.status()?;
    let local = status.localpaths.iter().find(|local| local.watch == *watch);
    let of_remote = |local: &LocalPathStatus| {
        let remote = local.remotes.iter().find(|found| found.name == remote)?;
        remote.status.help
    };
    Ok(local.and_then(|local| local.help.or_else(|| of_remote(local))).map(status::help))
}

fn failing(instance: &RunningInstance, pair: &Pair) -> Result<Failing> {
    let mut found = Failing::default();
    let mut after = None;
    loop {
        let (watch, whose) = (pair.watch.clone(), Whose::Remote(pair.remote.clone()));
        let rows =
            match instance.ask(&Request::Failing { watch, whose, after }, client::PATIENCE)? {
                Answer::Failing(rows) => rows,
                _ => return Err(client::unexpected()),
            };
        let Some(last) = rows.last() else { return Ok(found) };
        after = Some(last.path.clone());
        let below = rows.iter().filter(|row| row.path.is_within(&pair.below));
        for row in below {
            found.count += 1;
            found.first.get_or_insert_with(|| format!("{}: {}", row.path, row.error));
        }
    }
}

/// Reads one comparison until it ends.
pub(super) fn ask(
    instance: &RunningInstance,
    watch: &OsBytes,
    remote: &str,
    each: impl FnMut(Difference),
) -> Result<VerifyEnd> {
    let pair = Pair { watch: watch.clone(), below: RelPath::root(), remote: remote.to_owned() };
    let job = VerifyJob {
        below: RelPath::root(),
        checksum: false,
        repair: false,
        progress: BusyLine::shows(),
    };
    read(instance, &pair, job, each)
}

fn read(
    instance: &RunningInstance,
    pair: &Pair,
    job: VerifyJob,
    mut each: impl FnMut(Difference),
) -> Result<VerifyEnd> {
    let busy = BusyLine::new(pair, job.checksum);
    let ticket = begin(instance, pair, job)?;
    loop {
        let Answer::Verified(part) = instance.ask(&Request::Verified(ticket), client::PATIENCE)?
        else {
            return Err(client::unexpected());
        };
        let Some(part) = part else {
            let why = say!("the supervisor has lost this request; verify again");
            return Ok(VerifyEnd::Failed(why));
        };
        let nothing = part.differences.is_empty();
        if let Some(at) = part.progress {
            busy.at(at);
        }
        if !nothing {
            busy.hide();
        }
        part.differences.into_iter().for_each(&mut each);
        if let Some(end) = part.end {
            return Ok(end);
        }
        if nothing {
            busy.show();
            std::thread::sleep(PAUSE);
        }
    }
}

fn begin(instance: &RunningInstance, pair: &Pair, job: VerifyJob) -> Result<Ticket> {
    let (watch, remote) = (pair.watch.clone(), pair.remote.clone());
    match instance.ask(&Request::Verify { watch, remote, job }, client::PATIENCE)? {
        Answer::Ticket(ticket) => Ok(ticket),
        _ => Err(client::unexpected()),
    }
}
