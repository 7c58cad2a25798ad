//! The status page: one answer that contains everything. Pure.
//!
//! Templates escape what they insert; text from outside goes through [`text::Text`] besides, which shows what cannot be
//! seen. Without JavaScript the page asks for itself again, and filters and folds work; with it only what has changed is
//! replaced, so that nothing jumps.

mod cards;
mod happened;
mod processes;
mod remotes;
mod scene;
mod spark;
mod text;

use super::View;
use super::concerns::concerns;
use crate::language::Language;
use crate::message::{Class, Summary};
use crate::path::printable;
use chrono::{DateTime, FixedOffset, Local, TimeZone};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use scene::{Scene, Zone};
use std::time::Duration;
use text::Text;

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Localpaths with their remotes, what is wrong, and what happened.
    Remotes,
    /// The processes.
    Processes,
}

/// A page. `nonce` allows its style sheet and its script.
pub fn page(part: Part, view: &View, nonce: &str, now: Duration) -> String {
    document(part, view, nonce, now, local).into_string()
}

fn local(ms: i64) -> Option<DateTime<FixedOffset>> {
    Local.timestamp_millis_opt(ms).single().map(|time| time.fixed_offset())
}

fn document(part: Part, view: &View, nonce: &str, now: Duration, zone: Zone) -> Markup {
    let scene = view.fresh(now).map(|status| Scene::new(view, status, zone));
    let (class, words) = match &scene {
        Some(scene) => {
            let all = Summary::of(&scene.status.localpaths);
            (all.worst, all.words(Language::English, Class::ALL))
        }
        None => (Class::Trouble, "The supervisor sends no status.".to_owned()),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                noscript { meta http-equiv="refresh" content="5"; }
                title { "syncsup: " (Text(&words)) }
                style nonce=(Text(nonce)) { (PreEscaped(STYLE)) }
            }
            body data-version=(VERSION) {
                header id="head" {
                    h1 { "syncsup" }
                    p.verdict.{ (remotes::name(class)) } role="status" { (Text(&words)) }
                    @if let Some(scene) = &scene { p.dim { (about(scene)) } }
                }
                main id="main" { @if let Some(scene) = &scene { (body(part, scene)) } }
                script nonce=(Text(nonce)) { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn about(scene: &Scene<'_>) -> Markup {
    let status = scene.status;
    let files: Vec<String> =
        status.files.iter().map(|f| printable(f.as_os_str().as_encoded_bytes())).collect();
    html! {
        (Text(files.join(", "))) " · pid " (status.pid) " · version " (VERSION)
        @if let Some(ms) = status.since_ms { " · runs for " (scene.age(ms)) }
        " · " (scene.time(status.now_ms))
    }
}

fn body(part: Part, scene: &Scene<'_>) -> Markup {
    let events = scene.view.events.newest_first().len();
    let processes = processes::count(scene);
    html! {
        @match part {
            Part::Remotes => {
                (remotes::tiles(scene))
                (bar(html! {
                    fieldset.views {
                        legend.sr { "View" }
                        label { input type="radio" name="view" id="view-remotes" checked; span { "Remotes" } }
                        label { input type="radio" name="view" id="view-events"; span { "Events " small { (events) } } }
                        a href="processes" { "Processes " small { (processes) } }
                    }
                }, true))
                div.both data-k="both" {
                    div.left data-k="left" {
                        (cards::cards(scene, &concerns(scene.status)))
                        (remotes::list(scene))
                    }
                    (happened::list(scene))
                }
            }
            Part::Processes => {
                (bar(html! {
                    nav.views aria-label="View" {
                        a href="./" { "Remotes" }
                        a href="processes" aria-current="page" { "Processes " small { (processes) } }
                    }
                }, false))
                (processes::table(scene))
            }
        }
    }
}

/// The views, and what needs JavaScript.
fn bar(views: Markup, folds: bool) -> Markup {
    html! {
        div.bar data-k="bar" {
            (views)
            div.tools data-own hidden {
                output id="live" {}
                label.sr for="search" { "Search" }
                input id="search" type="search" placeholder="Search  /" autocomplete="off" spellcheck="false";
                @if folds { button id="fold" type="button" { "Fold all" } }
                button id="pause" type="button" aria-pressed="false" { "Pause" }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
