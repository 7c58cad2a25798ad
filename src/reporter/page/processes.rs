//! The table of processes. Pure.

use super::scene::Scene;
use super::text::Text;
use crate::message::{ChildStatus, StandbyStatus};
use maud::{Markup, html};

/// The number of processes.
pub fn count(scene: &Scene<'_>) -> usize {
    let of = |l: &crate::message::LocalPathStatus| {
        1 + l.remotes.len() + usize::from(l.plugin_runner.is_some())
    };
    1 + scene.status.localpaths.iter().map(of).sum::<usize>()
        + usize::from(scene.status.reporter.is_some())
}

/// The table.
pub fn table(scene: &Scene<'_>) -> Markup {
    let status = scene.status;
    let supervisor =
        ChildStatus { pid: Some(status.pid), since_ms: status.since_ms, ..ChildStatus::default() };
    html! {
        section.processes data-k="processes" {
            h2 id="processes" { "Processes" }
            div.scroll tabindex="0" role="region" aria-labelledby="processes" {
                table {
                    thead { tr {
                        th scope="col" { "process" } th.n scope="col" { "pid" } th.n scope="col" { "runs for" }
                        th.n scope="col" { "restarts" } th scope="col" { "last exit" }
                    } }
                    tbody data-k="supervisor" {
                        (row(scene, "supervisor", "", &supervisor))
                        @if let Some(r) = &status.reporter {
                            (row(scene, "reporter", &format!("{} {}", r.listen, r.state.word()), &r.process))
                        }
                    }
                    @for l in &status.localpaths {
                        tbody data-k=(Text(l.watch.to_string())) {
                            (row(scene, "watcher", &l.watch.to_string(), &l.watcher))
                            @for r in &l.remotes {
                                (row(scene, "pusher", &standby(&r.name, r.status.standby), &r.pusher))
                            }
                            @if let Some(runner) = &l.plugin_runner {
                                (row(scene, "plugin runner", "", runner))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn standby(name: &str, standby: StandbyStatus) -> String {
    match standby {
        StandbyStatus::Ready => format!("{name}, with a standby"),
        StandbyStatus::ShortOfConnections => {
            format!("{name}, without a standby: the remote refuses more connections")
        }
        StandbyStatus::None => name.to_owned(),
    }
}

fn row(scene: &Scene<'_>, role: &str, name: &str, child: &ChildStatus) -> Markup {
    let age = child.since_ms.map(|ms| scene.age(ms)).unwrap_or_default();
    html! {
        tr.down[child.pid.is_none()] data-q {
            th scope="row" { (role) " " (Text(name)) }
            @match child.pid {
                Some(pid) => { td.n { (pid) } td.n { (age) } }
                None => { td.n { "–" } td.n { "down " (age) } }
            }
            td.n.quiet[child.restarts == 0] { (child.restarts) }
            td { @if let Some(exit) = &child.last_exit { (Text(exit)) } @else { "–" } }
        }
    }
}
