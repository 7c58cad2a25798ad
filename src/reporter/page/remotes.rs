//! The tiles, and the localpaths with a row for each remote. Pure.

use super::scene::Scene;
use super::spark;
use super::text::Text;
use crate::figures;
use crate::language::Language;
use crate::message::{
    Class, LocalPathState, LocalPathStatus, PluginState, PluginStatus, PusherState, RemoteStatus,
    Tally,
};
use maud::{Markup, html};

/// If there are more remotes, every localpath is folded at first.
const UNFOLDED: usize = 12;

/// The name of a class in the style sheet, of its tile and in a row.
pub fn name(class: Class) -> &'static str {
    match class {
        Class::Trouble => "trouble",
        Class::Held => "held",
        Class::Working => "working",
        Class::InSync => "insync",
    }
}

/// The tiles: a filter each, and what is sent.
pub fn tiles(scene: &Scene<'_>) -> Markup {
    let tally = Tally::of_all(scene.status);
    let paths = figures::count(scene.status.localpaths.len() as u64, "localpath", "localpaths");
    let words = format!("{} in {paths}", if tally.all() == 1 { "remote" } else { "remotes" });
    let rates = scene.view.history.rates();
    html! {
        div.tiles data-k="tiles" {
            fieldset {
                legend.sr { "Show the remotes that are" }
                (tile("all", tally.all(), &words, true))
                @for class in Class::ALL {
                    (tile(name(class), tally.count(class), class.words(), false))
                }
            }
            div.tile.figure {
                b { (figures::bytes(scene.view.history.rate_of_all())) "/s" }
                span { "sent" }
                (spark::rate(&rates))
            }
        }
    }
}

fn tile(id: &str, count: usize, words: &str, checked: bool) -> Markup {
    html! {
        label.tile.{ (id) }.none[count == 0] {
            input type="radio" name="show" id={ "show-" (id) } checked[checked];
            b { (count) }
            span { (words) }
        }
    }
}

/// The list of localpaths.
pub fn list(scene: &Scene<'_>) -> Markup {
    let tally = Tally::of_all(scene.status);
    html! {
        section.remotes data-k="remotes" aria-label="Remotes" {
            div.row.head aria-hidden="true" {
                span { "remote" } span { "state" } span.n { "lag" } span.n { "to push" }
                span.n { "last push" } span.n { "sent" }
                span { "lag, last hour" br; small { (scene.scale.words()) } }
            }
            div.paths data-k="paths" {
                @for l in &scene.status.localpaths { (localpath(scene, l, tally.all())) }
            }
            @if scene.status.localpaths.is_empty() { p.empty { "No localpath is configured." } }
            @for class in Class::ALL {
                @if tally.count(class) == 0 {
                    p.empty.for.{ (name(class)) } { "No remote is " (class.words()) "." }
                }
            }
            p.empty.unfound hidden data-own { "Nothing matches the search." }
        }
    }
}

fn localpath(scene: &Scene<'_>, l: &LocalPathStatus, remotes: usize) -> Markup {
    let tally = Tally::of(l);
    let has = Class::ALL.into_iter().filter(|class| tally.count(*class) > 0).map(name);
    let classes: Vec<String> = has.map(|name| format!("has-{name}")).collect();
    let watch = l.watch.to_string();
    let history = &scene.view.history;
    let lag_ms = l.remotes.iter().map(|r| r.lag_ms).max().unwrap_or(0);
    let left: u64 = l.remotes.iter().map(|r| r.status.waiting + r.status.owed).sum();
    let last_ms = l.remotes.iter().filter_map(|r| r.status.last_success_ms).max();
    let rate = l.remotes.iter().map(|r| history.rate(l.watch.as_bytes(), &r.name)).sum();
    let all: Vec<_> = l.remotes.iter().map(|r| history.of(l.watch.as_bytes(), &r.name)).collect();
    html! {
        details.localpath.{ (classes.join(" ")) } data-k=(Text(&watch)) open[remotes <= UNFOLDED] {
            summary.row {
                h2 { (Text(&watch)) }
                (path_state(l, &tally))
                (numbers(scene, lag_ms, Some(left), last_ms, rate))
                (spark::lag(&spark::largest(&all), scene.scale, scene.view.max_lag_ms))
            }
            p.about {
                @if l.state != LocalPathState::Watching { (l.state.word()) " · " }
                (figures::count(l.watches, "directory", "directories")) " watched"
                @if let Some(open) = l.open_words(scene.status.now_ms, Language::English) {
                    " · " (open)
                    @if let Some(path) = &l.open_path { ", sent when closed: " (Text(path.to_string())) }
                }
                @if l.watcher.restarts > 0 {
                    " · watcher restarted " (times(l.watcher.restarts))
                }
            }
            ul {
                @for r in &l.remotes { (remote(scene, l, r)) }
                @for p in &l.plugins { (plugin(scene, l, p)) }
            }
        }
    }
}

/// `once`, `3 times`.
fn times(n: u64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

/// The state of a localpath: its own if that is not the normal one, else the gravest of its remotes, and how many are
/// held beside those in trouble.
fn path_state(l: &LocalPathStatus, tally: &Tally) -> Markup {
    let (class, words) = match (l.state, tally.worst()) {
        (LocalPathState::Held, _) => ("held", l.state.word().to_owned()),
        (LocalPathState::Down | LocalPathState::Degraded, _) => {
            ("trouble", l.state.word().to_owned())
        }
        (LocalPathState::Starting | LocalPathState::Scanning, None) => {
            ("working", l.state.word().to_owned())
        }
        (LocalPathState::Watching, None) => ("insync", l.state.word().to_owned()),
        (_, Some(class)) if tally.count(class) == tally.all() => {
            (name(class), format!("{} {}", tally.all(), class.words()))
        }
        (_, Some(class)) => {
            let (count, held) = (tally.count(class), tally.count(Class::Held));
            let (all, words) = (tally.all(), class.words());
            let text = match class {
                Class::Trouble if held > 0 => {
                    format!("{count} {words}, {held} {}, of {all}", Class::Held.words())
                }
                _ => format!("{count} of {all} {words}"),
            };
            (name(class), text)
        }
    };
    html! { span.state.{ (class) } { (words) } }
}

/// The cells of numbers. The style sheet has their labels, for narrow screens and for screen readers.
fn numbers(
    scene: &Scene<'_>,
    lag_ms: u64,
    left: Option<u64>,
    last_ms: Option<i64>,
    rate: u64,
) -> Markup {
    let none = lag_ms == 0 && left == Some(0);
    let cell = |label: &str, value: &str, quiet: bool| {
        html! { span.n.{ (label) }.quiet[quiet] { (value) } }
    };
    let left = left.map_or("?".to_owned(), |n| n.to_string());
    let last = last_ms.map_or("never".to_owned(), |ms| format!("{} ago", scene.age(ms)));
    html! {
        (cell("lag", &if none { "none".to_owned() } else { figures::seconds(lag_ms) }, none))
        (cell("todo", &left, left == "0"))
        (cell("last", &last, true))
        (cell("sent", &if rate == 0 { "–".to_owned() } else { format!("{}/s", figures::bytes(rate)) }, rate == 0))
    }
}

fn remote(scene: &Scene<'_>, l: &LocalPathStatus, r: &RemoteStatus) -> Markup {
    let s = &r.status;
    let class = Class::of(s.state);
    let left = s.waiting + s.owed;
    // It is not known in advance how much a reconcile will find.
    let unknown = left == 0 && s.reconcile.as_ref().is_some_and(|c| c.found == 0);
    let history = &scene.view.history;
    let rate = history.rate(l.watch.as_bytes(), &r.name);
    let points = history.of(l.watch.as_bytes(), &r.name);
    html! {
        li.row.remote.{ (name(class)) } data-k=(Text(&r.name)) data-q {
            h3 { (Text(&r.name)) }
            span.state.{ (name(class)) } { (s.state.word()) }
            (numbers(scene, r.lag_ms, (!unknown).then_some(left), s.last_success_ms, rate))
            (spark::lag(&points, scene.scale, scene.view.max_lag_ms))
            (more(scene, r))
        }
    }
}

/// What else there is to say of a remote that is not simply in sync. The cards say what is wrong and why.
fn more(scene: &Scene<'_>, r: &RemoteStatus) -> Markup {
    let s = &r.status;
    let reconcile = s.reconcile.as_ref().map(|c| c.why.to_string());
    let carded = matches!(Class::of(s.state), Class::Trouble | Class::Held);
    let said = carded || s.reason == reconcile || s.reason == s.first_failure;
    let reason = s.reason.as_ref().filter(|_| !said);
    let since = r
        .trouble_since_ms
        .map(|ms| format!("{} since {} ({})", s.state.word(), scene.clock(ms), scene.age(ms)));
    let again = s.retry_ms.map(|ms| scene.again(ms));
    let compared = r
        .next_reconcile_ms
        .filter(|_| s.state != PusherState::InSync)
        .map(|ms| format!("next reconcile in {}", scene.left(ms)));
    let restarts = (r.pusher.restarts > 0)
        .then(|| format!("pusher restarted {}", times(r.pusher.restarts)))
        .filter(|_| s.state != PusherState::InSync);
    let facts: Vec<String> = [since, again, compared, restarts].into_iter().flatten().collect();
    if reason.is_none() && s.reconcile.is_none() && facts.is_empty() && s.failing == 0 {
        return html! {};
    }
    html! {
        div.more {
            @if let Some(reason) = reason { p.why { (Text(reason)) } }
            @if let Some(c) = &s.reconcile {
                @if c.found == 0 {
                    p { "reconcile: " (Text(c.why.to_string())) }
                } @else {
                    p {
                        progress value=(c.done) max=(c.found) aria-label="reconcile" {}
                        " reconcile (" (Text(c.why.to_string())) "): " (c.done) " of " (c.found)
                        " differences pushed"
                    }
                }
            }
            @if s.failing > 0 {
                p { (figures::count(s.failing, "failing path", "failing paths")) }
            }
            @if !facts.is_empty() { p.dim { (facts.join(" · ")) } }
        }
    }
}

fn plugin(scene: &Scene<'_>, l: &LocalPathStatus, p: &PluginStatus) -> Markup {
    let down = l.plugin_runner.as_ref().is_some_and(|r| r.pid.is_none());
    let (class, word) = match p.state {
        _ if down => ("trouble", "down"),
        PluginState::Failing => ("trouble", p.state.word()),
        PluginState::Held => ("held", p.state.word()),
        PluginState::Waiting | PluginState::Calling => ("working", p.state.word()),
        PluginState::Idle => ("insync", p.state.word()),
    };
    let last = p.last_success_ms.map_or("never".to_owned(), |ms| format!("{} ago", scene.age(ms)));
    html! {
        li.row.plugin data-k={ "plugin " (Text(&p.name)) } data-q {
            h3 { "plugin " (Text(&p.name)) }
            span.state.{ (class) } { (word) }
            span.n.lag.quiet { "–" }
            span.n.todo.quiet[p.waiting == 0] { (p.waiting) }
            span.n.last.quiet { (last) }
            span.n.quiet { (figures::count(p.calls, "call", "calls")) }
            @if p.failing + p.given_up > 0 || p.reason.is_some() {
                div.more {
                    @if let Some(why) = &p.reason { p.why { (Text(why)) } }
                    @if p.failing + p.given_up > 0 {
                        p.dim { (p.failing) " failing, " (p.given_up) " given up" }
                    }
                }
            }
        }
    }
}
