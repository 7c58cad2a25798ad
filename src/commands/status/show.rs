//! The text of `status`: a sentence, then every localpath with its remotes, then the processes. What needs a look comes
//! first. Pure: the time is given.

use super::layout::{Cell, EMPTY, Paint};
use super::view::{View, number, span_of};
use super::{help_in, one_line, processes, word_in};
use crate::commands::invocation::{Processes, StatusPart};
use crate::commands::progress;
use crate::figures;
use crate::help_topic::HelpTopic;
use crate::language::{Language, words};
use crate::message::{
    Class, InstanceStatus, LocalPathState, LocalPathStatus, PluginState, PluginStatus, PusherState,
    RemoteStatus, ReporterState, ReporterStatus, StandbyStatus, Summary, VerifyProgress,
};
use crate::path::printable;
use chrono::Local;
use std::collections::BTreeSet;

/// What was explained above.
#[derive(Default)]
struct Said {
    /// Sections of the help.
    topics: BTreeSet<HelpTopic>,
    /// The remote, and the reason.
    reasons: BTreeSet<(String, String)>,
}

/// One row of the table, then the lines below it. A row without cells is only lines.
struct TableRow {
    cells: Vec<Cell>,
    below: Vec<String>,
    help: Option<HelpTopic>,
}

/// The columns of a remote that are left out first where the lines are narrow: the next reconcile, what was sent, the
/// failing paths, which have a line of their own, the last push, what is to be pushed, and the lag.
const LESS: [usize; 6] = [7, 6, 4, 5, 3, 2];

/// All instances.
pub fn report(instances: &[InstanceStatus], view: &View) -> String {
    if instances.is_empty() {
        return String::new();
    }
    let all = Summary::of(instances.iter().flat_map(|i| &i.localpaths));
    let words = all.words(view.language, Class::IN_SYNC_FIRST);
    let mut out = view.line(paint(all.worst), &words);
    let mut said = Said::default();
    for instance in instances {
        let text = self::instance(instance, view, &mut said);
        out.extend((!text.is_empty()).then(|| format!("\n{text}")));
    }
    out
}

fn paint(class: Class) -> Paint {
    match class {
        Class::Trouble => Paint::Red,
        Class::Held => Paint::Yellow,
        Class::Working => Paint::Plain,
        Class::InSync => Paint::Green,
    }
}

/// One instance: its localpaths with their remotes, then its processes. Empty if there is nothing to show.
fn instance(i: &InstanceStatus, view: &View, said: &mut Said) -> String {
    let (rows, reporter) = (rows(i, view, said), i.reporter.as_ref());
    let reporter = reporter.filter(|r| view.part == StatusPart::All || is_loud(r));
    let processes = match (view.part, view.processes) {
        (StatusPart::Problems, Processes::Few) => None,
        (_, _) => Some(processes::shown(i, view)),
    };
    if rows.is_empty() && reporter.is_none() && processes.is_none() {
        return String::new();
    }
    let files: Vec<String> =
        i.files.iter().map(|f| printable(f.as_os_str().as_encoded_bytes())).collect();
    let title = format!("{} (syncsup {})", files.join(", "), i.version);
    let mut out = view.line(Paint::Bold, &title);
    if !rows.is_empty() {
        let cells: Vec<Vec<Cell>> =
            std::iter::once(head(view)).chain(rows.iter().map(|row| row.cells.clone())).collect();
        let mut table = view.screen.table(&cells, &LESS).into_iter();
        out.extend(table.next());
        for (line, row) in table.zip(&rows) {
            out.extend((!row.cells.is_empty()).then_some(line));
            out.extend(row.below.iter().map(|below| view.line(Paint::Plain, below)));
            let topic = row.help.filter(|topic| said.topics.insert(*topic));
            out.extend(topic.map(|topic| help_line(topic, view)));
        }
    }
    out.extend(reporter.map(|r| reporter_lines(r, view)));
    out.extend(processes.map(|text| format!("\n{text}")));
    out
}

fn head(view: &View) -> Vec<Cell> {
    let head = [
        words::REMOTE,
        words::STATE,
        words::LAG,
        words::TO_PUSH,
        words::FAILING,
        words::LAST_PUSH,
        words::SENT,
        words::NEXT_RECONCILE,
    ];
    let mut cells = head.map(|t| Cell::painted(view.language.pick(t).to_owned(), Paint::Bold));
    cells[0].text.insert_str(0, "  ");
    cells.to_vec()
}

/// First what needs a look, the gravest first, then everything else in the order of the configuration.
fn rows(instance: &InstanceStatus, view: &View, said: &mut Said) -> Vec<TableRow> {
    let mut troubled: Vec<&LocalPathStatus> =
        instance.localpaths.iter().filter(|l| has_problem(l)).collect();
    // Stable.
    troubled.sort_by_key(|l| gravest(l));
    let mut rows = Vec::new();
    let mut last: Option<&LocalPathStatus> = None;
    for l in troubled {
        rows.push(title(l, view, Explained::Here));
        rows.extend(of_localpath(l, view, StatusPart::Problems, said));
        last = Some(l);
    }
    for l in instance.localpaths.iter().filter(|_| view.part == StatusPart::All) {
        let others = of_localpath(l, view, StatusPart::All, said);
        let explained = if has_problem(l) { Explained::Above } else { Explained::Here };
        if explained == Explained::Above && others.is_empty() {
            continue;
        }
        // The title of the last one with a problem is just above.
        if !last.take().is_some_and(|last| std::ptr::eq(last, l)) {
            rows.push(title(l, view, explained));
        }
        rows.extend(others);
    }
    rows
}

fn has_problem(l: &LocalPathStatus) -> bool {
    l.needs_a_look()
        || l.remotes.iter().any(RemoteStatus::needs_a_look)
        || l.plugins.iter().any(|p| l.plugin_needs_a_look(p))
}

fn gravest(l: &LocalPathStatus) -> Class {
    let remotes = l.remotes.iter().filter(|r| r.needs_a_look()).map(|r| Class::of(r.status.state));
    remotes.chain([Class::of_localpath(l.state)]).min().unwrap_or(Class::InSync)
}

/// The rows of the remotes and plugins of a localpath: of those that need a look, or of the others.
fn of_localpath(
    l: &LocalPathStatus,
    view: &View,
    part: StatusPart,
    said: &mut Said,
) -> Vec<TableRow> {
    let is_of = |problem: bool| problem == (part == StatusPart::Problems);
    let mut remotes: Vec<&RemoteStatus> =
        l.remotes.iter().filter(|r| is_of(r.needs_a_look())).collect();
    remotes.sort_by_key(|r| Class::of(r.status.state));
    let open = l.open_words(view.now_ms, view.language);
    let remotes = remotes.into_iter().map(|r| remote_row(r, open.as_deref(), view, said));
    let plugins = l.plugins.iter().filter(|p| is_of(l.plugin_needs_a_look(p)));
    remotes.chain(plugins.map(|p| plugin_row(p, l, view))).collect()
}

/// Where the reason for a localpath's state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Explained {
    Here,
    Above,
}

fn title(l: &LocalPathStatus, view: &View, explained: Explained) -> TableRow {
    use LocalPathState::{Degraded, Down, Held, Scanning, Starting, Watching};
    let state = match l.state {
        loud @ (Held | Down | Degraded) => view.loud(loud.text()),
        quiet @ (Starting | Scanning | Watching) => view.language.pick(quiet.text()).to_owned(),
    };
    let watched = view.language.count(l.watches, words::DIRECTORIES);
    let watch = l.watch.to_string();
    let values = [watch.as_str(), &state, &watched];
    let mut below = vec![view.language.say(words::LOCALPATH_LINE, &values)];
    if explained == Explained::Above {
        return TableRow { cells: vec![], below, help: None };
    }
    below.extend(l.reason.as_ref().map(|reason| format!("    {}", one_line(reason))));
    if let Some(path) = l.open_path.as_ref().filter(|_| l.open_files > 0) {
        let path = path.to_string();
        below.push(format!("    {}", view.language.say(words::SENT_WHEN_CLOSED, &[&path])));
    }
    TableRow { cells: vec![], below, help: l.help }
}

fn remote_row(remote: &RemoteStatus, open: Option<&str>, view: &View, said: &mut Said) -> TableRow {
    let (s, language) = (&remote.status, view.language);
    let left = s.waiting + s.owed;
    let lag = match (left, remote.lag_ms) {
        (0, 0) => EMPTY.to_owned(),
        (_, ms) => language.seconds(ms),
    };
    // It is not known in advance how much a reconcile will find.
    let unknown = left == 0 && s.reconcile.as_ref().is_some_and(|r| r.found == 0);
    let to_push = if unknown { "?".to_owned() } else { number(left) };
    let files = language.count(s.pushed_files, words::FILES);
    let sent = format!("{files}{}{}", language.pick(words::COMMA), figures::bytes(s.pushed_bytes));
    let word = word_in(s.state, language);
    let state = match open.filter(|_| s.state == PusherState::InSync) {
        Some(open) => format!("{word}{}{open}", language.pick(words::COMMA)),
        None => word.to_owned(),
    };
    let cells = vec![
        format!("  {}", remote.name).into(),
        Cell::painted(state, paint(Class::of(s.state))),
        lag.into(),
        to_push.into(),
        failing(s.failing),
        last_push(s.last_success_ms, view).into(),
        sent.into(),
        remote.next_reconcile_ms.map_or(EMPTY.into(), |ms| until(ms, view.now_ms, language)).into(),
    ];
    let mut below = Vec::new();
    let (when, reason) = when_and_why(remote, view.now_ms, language, view.time);
    let reason = reason.map(|reason| match said.reason(remote, &reason, view) {
        Explained::Here => reason,
        Explained::Above => language.pick(words::AS_ABOVE).to_owned(),
    });
    below.extend(joined(when, reason, language));
    let now = matches!(s.state, PusherState::Reconciling | PusherState::Pushing);
    below.extend(s.reconcile.as_ref().map(|r| {
        let why = r.why.to_string();
        match r.found {
            0 if now => language.say(words::RECONCILE_RUNS, &[&why]),
            0 => language.say(words::RECONCILE_DUE, &[&why]),
            found => {
                let values = [why, r.done.to_string(), found.to_string()];
                let pushes = values.each_ref().map(String::as_str);
                language.say(words::RECONCILE_PUSHES, &pushes)
                    + &progress::bytes(r, language)
                    + &progress::rate(r, language)
            }
        }
    }));
    below.extend(s.verify.as_ref().and_then(|v| verification(v, view)));
    if s.standby == StandbyStatus::ShortOfConnections {
        below.push(language.pick(words::NO_STANDBY).to_owned());
    }
    if let Some(first) = s.first_failure.as_ref().filter(|_| s.failing > 0) {
        let paths = language.count(s.failing, words::PATHS_FAIL);
        below.push(format!("{paths}{}{}", language.pick(words::COLON), one_line(first)));
    }
    let below = below.iter().map(|line| format!("    {line}")).collect();
    TableRow { cells, below, help: s.help }
}

/// The progress of the rolling comparison.
fn verification(verify: &VerifyProgress, view: &View) -> Option<String> {
    let language = view.language;
    let Some(run) = &verify.run else {
        let next = verify.next_ms.map(|next| until(next, view.now_ms, language));
        return next.map(|next| language.say(words::NEXT_SCRUB, &[&next]));
    };
    let after = match &run.at {
        Some(path) if !path.is_root() => language.say(words::SCRUB_AFTER, &[&path.to_string()]),
        _ => String::new(),
    };
    Some(language.say(words::SCRUB, &[&after, &run.repaired.to_string()]))
}

impl Said {
    /// Where the reason is explained. A slave that is dead for many localpaths has the same reason in all of them. Where
    /// lines have no limit it is always there, for grep.
    fn reason(&mut self, remote: &RemoteStatus, reason: &str, view: &View) -> Explained {
        let is_new = self.reasons.insert((remote.name.clone(), reason.to_owned()));
        match is_new || view.screen.columns.is_none() {
            true => Explained::Here,
            false => Explained::Above,
        }
    }
}

/// Since when the remote is in trouble, when it is retried, and why.
pub fn trouble(
    remote: &RemoteStatus,
    now_ms: i64,
    language: Language,
    time: fn(i64) -> String,
) -> Option<String> {
    let (when, reason) = when_and_why(remote, now_ms, language, time);
    joined(when, reason, language)
}

fn joined(when: Option<String>, reason: Option<String>, language: Language) -> Option<String> {
    let parts: Vec<String> = when.into_iter().chain(reason).collect();
    (!parts.is_empty()).then(|| parts.join(language.pick(words::COLON)))
}

/// Since when the remote is in trouble and when it is retried; and why.
fn when_and_why(
    remote: &RemoteStatus,
    now_ms: i64,
    language: Language,
    time: fn(i64) -> String,
) -> (Option<String>, Option<String>) {
    let s = &remote.status;
    let reason = s.reason.as_ref().map(|r| one_line(r));
    if !matches!(s.state, PusherState::Backoff | PusherState::Held | PusherState::Down) {
        // Failures are shown anyway.
        let why = s.reconcile.as_ref().map(|r| r.why.to_string());
        return (None, reason.filter(|_| s.reason != s.first_failure && s.reason != why));
    }
    let since = remote
        .trouble_since_ms
        .map(|ms| language.say(words::SINCE, &[&time(ms), &span_of(ms, now_ms, language)]));
    let again = s.retry_ms.map(|ms| match ms > now_ms {
        true => language.say(words::NEXT_TRY, &[&until(ms, now_ms, language)]),
        false => language.pick(words::RETRYING).to_owned(),
    });
    let when: Vec<String> = since.into_iter().chain(again).collect();
    ((!when.is_empty()).then(|| when.join(language.pick(words::COMMA))), reason)
}

fn plugin_row(plugin: &PluginStatus, l: &LocalPathStatus, view: &View) -> TableRow {
    let language = view.language;
    let runner = l.plugin_runner.clone().unwrap_or_default();
    let (state, reason) = match runner.pid {
        Some(_) => (language.pick(plugin.state.text()).to_owned(), plugin.reason.clone()),
        None => {
            let exit = runner.last_exit.map(|e| language.say(words::RUNNER_EXITED, &[&e]));
            (view.loud(words::DOWN), exit)
        }
    };
    let paint = match (runner.pid, plugin.state) {
        (None, _) | (_, PluginState::Failing) => Paint::Red,
        (_, PluginState::Held) => Paint::Yellow,
        (_, PluginState::Idle) => Paint::Green,
        (_, PluginState::Waiting | PluginState::Calling) => Paint::Plain,
    };
    let given_up = language.say(words::GIVEN_UP, &[&plugin.given_up.to_string()]);
    let given_up = (plugin.given_up > 0).then_some(given_up);
    let why: Vec<String> = given_up.into_iter().chain(reason.map(|r| one_line(&r))).collect();
    let cells = vec![
        format!("  {}", language.say(words::PLUGIN, &[&plugin.name])).into(),
        Cell::painted(state, paint),
        EMPTY.to_owned().into(),
        number(plugin.waiting).into(),
        failing(plugin.failing),
        last_push(plugin.last_success_ms, view).into(),
        language.count(plugin.calls, words::CALLS).into(),
        EMPTY.to_owned().into(),
    ];
    let why = why.join(language.pick(words::SEMICOLON));
    let below = (!why.is_empty()).then(|| format!("    {why}")).into_iter().collect();
    TableRow { cells, below, help: plugin.help }
}

fn is_loud(reporter: &ReporterStatus) -> bool {
    matches!(reporter.state, ReporterState::Refused | ReporterState::Down)
}

fn reporter_lines(reporter: &ReporterStatus, view: &View) -> String {
    let (state, paint) = match is_loud(reporter) {
        true => (view.loud(reporter.state.text()), Paint::Red),
        false => (view.language.pick(reporter.state.text()).to_owned(), Paint::Plain),
    };
    let colon = view.language.pick(words::COLON);
    let why = reporter.reason.as_ref().map(|why| format!("{colon}{}", one_line(why)));
    let text = format!("http://{}/ {state}{}", reporter.listen, why.unwrap_or_default());
    let help = reporter.help.map(|topic| help_line(topic, view));
    view.line(paint, &text) + &help.unwrap_or_default()
}

fn help_line(topic: HelpTopic, view: &View) -> String {
    view.line(Paint::Plain, &format!("    {}", help_in(topic, view.language)))
}

fn failing(n: u64) -> Cell {
    Cell::painted(number(n), if n == 0 { Paint::Plain } else { Paint::Red })
}

fn last_push(ms: Option<i64>, view: &View) -> String {
    let ago = |ms| view.language.say(words::AGO, &[&span_of(ms, view.now_ms, view.language)]);
    ms.map_or(view.language.pick(words::NEVER).to_owned(), ago)
}

fn until(ms: i64, now_ms: i64, language: Language) -> String {
    language.say(words::IN, &[&span_of(now_ms, ms, language)])
}

/// Local time, to the second.
pub fn at(ms: i64) -> String {
    figures::time(ms, &Local)
}

#[cfg(test)]
#[path = "show_tests.rs"]
pub mod tests;
