//! Prepares a pusher: its lock, its journal, the remote's row, and the first reconcile request.

use super::batch::{Batch, Findings};
use super::context::Context;
use super::jobs::Jobs;
use super::jobs::scrub::Scrub;
use super::jobs::select::{BATCH, MARKS};
use super::lane::Lane;
use super::master::Master;
use super::privileges;
use super::reconcile::Reconcile;
use super::remote_state::RemoteState;
use super::sent_times::SentTimes;
use super::slot::Returned;
use super::state::{Event, PusherSettings, State};
use super::supervisor_link::{Control, SupervisorLink};
use crate::filter::Filter;
use crate::journal::{Journal, JournalError, RemoteRow};
use crate::message::{FromPusher, PusherStart};
use crate::path::pusher_lock;
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::argv::{placeholders_prefix, rules_prefix};
use crate::sys::begin::{open_journal, wait_for_lock};
use crate::sys::lock::Lock;
use crate::sys::rsync::Confined;
use crate::sys::{clock, process};
use slog::{Logger, warn};
use std::cell::RefCell;
use std::time::Duration;

/// Without a `delay`, an idle pusher that has no standby waits this long: starting an rsync costs more than that.
const DELAY: Duration = Duration::from_millis(3);
/// The share of a core, in percent, that is no limit.
const UNPACED: u32 = 100;

/// A pusher that is ready to work.
pub struct Prepared {
    /// What its jobs share.
    pub context: Context,
    /// The state machine.
    pub state: State,
    /// Its jobs, none of which runs yet.
    pub jobs: Jobs,
    /// Slots that the jobs have returned.
    pub returned: Returned,
    /// The first event.
    pub begun: Event,
}

/// Takes the lock, opens the journal, creates the remote's row, and determines what the predecessor left.
pub fn prepare(
    mut control: Control,
    start: PusherStart,
    logger: Logger,
) -> Result<Prepared, String> {
    let lock = take_lock(&start, &mut control, &logger)?;
    // Taking the lock may have ended an rsync that this process will not reach any more.
    let confined = privileges::confined(&start, &logger);
    if let Some(confined) = &confined {
        privileges::write_state_only(&start.state_dir, confined, &logger)
            .map_err(|error| format!("cannot give up privileges: {error}"))?;
    }
    prepare_under(lock, control, start, confined, logger)
}

/// The same under the lock.
pub fn prepare_under(
    lock: &'static Lock,
    mut control: Control,
    start: PusherStart,
    confined: Option<Confined>,
    logger: Logger,
) -> Result<Prepared, String> {
    let open = || Journal::open(&start.state_dir);
    let (alive, damaged) = (&FromPusher::Alive, FromPusher::Damaged);
    let mut journal = open_journal(&mut control, &logger, alive, damaged, open)?;
    journal.set_longest_delay(longest_delay_ms(&start));
    let name = start.remote.name();
    let first = start.localpath.first_copy.then(|| (&ReconcileReason::NewRemote, clock::wall_ms()));
    let supervisor = SupervisorLink::new(control);
    let unusable = |error: JournalError| {
        supervisor.report_damage(&error);
        error.to_string()
    };
    let row = journal.remote(&name, first).map_err(unusable)?;
    let filter = Filter::new(&start.localpath.filter).map_err(|errors| {
        format!("the filter: {}", errors.first().map(|e| e.text.clone()).unwrap_or_default())
    })?;
    let master = Master::new(&start, lock, logger.clone());
    let settings = settings(&start);
    let remote_state = RemoteState::new(&row);
    let link = supervisor.clone();
    let mut context =
        Context::new(start, journal, remote_state, filter, master, link, logger.clone());
    context.confined = confined;
    context.recall_window().map_err(unusable)?;
    context.recall_linked(clock::wall_ms()).map_err(unusable)?;
    let scrub = Scrub::new(&mut context, clock::boot()).map_err(unusable)?;
    let begun = begun(&mut context, &row).map_err(unusable)?;
    let returned = Returned::default();
    let reconcile = Reconcile::new(row.reconcile, row.held, row.reconciled_at_ms);
    let state = State::new(settings, reconcile, returned.clone(), logger);
    // Entries that a killed predecessor left in the fail log may be settled.
    if context.start.localpath.fail_log.is_some() {
        context.write_fail_log(None).map_err(unusable)?;
        context.supervisor.send(&FromPusher::FailLog);
    }
    let jobs = Jobs::new(scrub, clock::wall_ms());
    Ok(Prepared { context, state, jobs, returned, begun })
}

fn settings(start: &PusherStart) -> PusherSettings {
    let localpath = &start.localpath;
    // A scheduled reconcile may exclude names.
    let leaves_out = localpath.crontab.as_ref().is_some_and(|crontab| !crontab.exclude.is_empty());
    PusherSettings {
        delay: localpath.delay_ms.map_or(DELAY, Duration::from_millis),
        delay_with_standby: localpath.delay_ms.map_or(Duration::ZERO, Duration::from_millis),
        pace_percent: if localpath.delay_ms.is_none() { localpath.pace_percent } else { UNPACED },
        expires: start.remote.trash_keep_ms.is_some(),
        partial_schedule: leaves_out && !localpath.first_copy,
    }
}

/// The first event: what the start, changed settings or an unclean exit require.
fn begun(context: &mut Context, row: &RemoteRow) -> Result<Event, JournalError> {
    let changed = row.settings.as_ref().is_some_and(|old| *old != context.start.settings);
    let changed = changed.then_some(ReconcileReason::SettingsChanged);
    let reconcile = context.start.reconcile.take().or(changed);
    let requests = context.start.requests;
    // A whole push may have ended with its predecessor.
    context.journal.release_beside(&context.name)?;
    let mut leftovers = Vec::new();
    if !row.clean {
        // A receiver may still be working on its pushes (rule 2).
        context.repush_upto = context.journal.last_seq()?;
        context.sent_times = RefCell::new(SentTimes::new(clock::file_ns()));
        let now_ms = clock::wall_ms();
        context.journal.push_again_later(&context.name, now_ms)?;
        // A receiver that was killed with it may have left temporary files.
        let marks = context.journal.marks_after(context.remote_state.cursor, MARKS)?;
        // A path that is marked again before its next push is still at risk.
        let unseen = Batch::new(marks.clone(), Vec::new(), 0).unseen(&Findings::default());
        context.journal.settle(&context.name, &unseen, now_ms)?;
        let mut owed = context.journal.due(&context.name, now_ms, BATCH)?;
        let large = Lane::LARGE.len() as u32;
        owed.extend(context.journal.due_large(&context.name, now_ms, large)?);
        owed.extend(context.journal.due_bulk(&context.name, now_ms, 2 * BATCH)?);
        leftovers = Batch::new(marks, owed, 0).parents();
    }
    let new_settings = row.settings.as_ref() != Some(&context.start.settings);
    Ok(Event::Begun { clean: row.clean, reconcile, requests, leftovers, new_settings })
}

/// The longest delay of any owed row: of a failing path, or of a path that is pushed a second time.
fn longest_delay_ms(start: &PusherStart) -> i64 {
    let minutes = start.localpath.fail_log.as_ref().map_or(0, |log| log.retry_minutes);
    (i64::from(minutes) * 60_000).max(i64::from(start.remote.peer.timeout_s) * 1_000)
}

/// Takes this pusher's lock. An orphaned rsync of a dead predecessor may hold it, and is killed (rule 2). Any other
/// holder is waited for.
fn take_lock(
    start: &PusherStart,
    control: &mut Control,
    log: &Logger,
) -> Result<&'static Lock, String> {
    let mut logged = false;
    let file = start.state_dir.join(pusher_lock(&start.remote.name()));
    let lock = wait_for_lock(&file, true, || {
        let (ours, others): (Vec<_>, Vec<_>) =
            process::lock_holders(&file).into_iter().partition(|holder| holder.ours);
        ours.iter().for_each(|holder| process::kill_pid(holder.pid));
        if let Some(other) = others.first()
            && !std::mem::replace(&mut logged, true)
        {
            warn!(log, "waiting for the lock, which is held by {other}, not a process of this instance; stop that process";
                "file" => file.display().to_string());
        }
        control.send(&FromPusher::Alive, vec![]).map_err(|e| e.to_string())
    })?;
    // This fails on a full disk. An orphan is then recognized by its environment.
    let _ = lock.sign();
    remove_scratch(start);
    // Held until this process exits, and by an rsync that outlives it.
    Ok(Box::leak(Box::new(lock)))
}

/// Removes the rules files and the placeholders of a killed predecessor.
fn remove_scratch(start: &PusherStart) {
    let name = start.remote.name();
    let (rules, placeholders) = (rules_prefix(&name), placeholders_prefix(&name));
    for entry in std::fs::read_dir(&start.state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let starts = |prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        // What cannot be removed does no harm.
        if starts(&rules) {
            let _ = std::fs::remove_file(entry.path());
        } else if starts(&placeholders) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
