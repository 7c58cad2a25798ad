//! The processes in the output of `status`. Pure.

use super::layout::{Cell, EMPTY, Paint};
use super::one_line;
use super::view::{View, number, span_of};
use crate::commands::invocation::Processes;
use crate::language::words;
use crate::message::{ChildStatus, InstanceStatus, RemoteStatus, StandbyStatus};

/// More processes are only shown on request.
const FEW: usize = 10;

/// The columns that are left out first where the lines are narrow: for how long it runs, and its restarts.
const LESS: [usize; 3] = [2, 3, 4];

/// The processes of an instance; or, if there are many, how many.
pub fn shown(instance: &InstanceStatus, view: &View) -> String {
    let all = processes(instance, view);
    if view.processes == Processes::Few && all.len() > FEW {
        let down = all.iter().filter(|(_, child)| child.pid.is_none()).count();
        let count = view.language.count(all.len() as u64, words::PROCESSES);
        let values = [&count, &down.to_string(), "`syncsup status --processes`"];
        return view.line(Paint::Plain, &view.language.say(words::PROCESSES_NOT_SHOWN, &values));
    }
    let head = [words::PROCESS, words::PID, words::RUNS_FOR, words::RESTARTS, words::LAST_EXIT];
    let head = head.map(|text| Cell::painted(view.language.pick(text).to_owned(), Paint::Bold));
    let rows = all.iter().map(|(name, child)| row(name, child, view));
    let rows: Vec<Vec<Cell>> = std::iter::once(head.to_vec()).chain(rows).collect();
    view.screen.table(&rows, &LESS).concat()
}

fn processes(instance: &InstanceStatus, view: &View) -> Vec<(String, ChildStatus)> {
    let supervisor = ChildStatus {
        pid: Some(instance.pid),
        since_ms: instance.since_ms,
        ..ChildStatus::default()
    };
    let mut all = vec![("supervisor".to_owned(), supervisor)];
    for l in &instance.localpaths {
        all.push((format!("  watcher {}", l.watch), l.watcher.clone()));
        all.extend(l.remotes.iter().map(|r| (pusher(r, view), r.pusher.clone())));
        let runner = l.plugin_runner.iter();
        all.extend(runner.map(|child| ("    plugin runner".to_owned(), child.clone())));
    }
    let reporter = instance.reporter.iter();
    all.extend(reporter.map(|r| (format!("  reporter {}", r.listen), r.process.clone())));
    all
}

fn pusher(remote: &RemoteStatus, view: &View) -> String {
    let name = format!("    pusher {}", remote.name);
    match remote.status.standby {
        StandbyStatus::Ready => view.language.say(words::WITH_STANDBY, &[&name]),
        StandbyStatus::None | StandbyStatus::ShortOfConnections => name,
    }
}

fn row(name: &str, child: &ChildStatus, view: &View) -> Vec<Cell> {
    let since = child.since_ms.map(|ms| span_of(ms, view.now_ms, view.language));
    let down = view.loud(words::DOWN);
    let (pid, runs, paint) = match (child.pid, since) {
        (Some(pid), since) => (pid.to_string(), since.unwrap_or(EMPTY.into()), Paint::Plain),
        (None, Some(since)) => (EMPTY.into(), format!("{down} {since}"), Paint::Red),
        (None, None) => (EMPTY.into(), down, Paint::Red),
    };
    let last = child.last_exit.as_ref().map_or(EMPTY.into(), |e| one_line(e));
    vec![
        name.to_owned().into(),
        pid.into(),
        Cell::painted(runs, paint),
        number(child.restarts).into(),
        last.into(),
    ]
}
