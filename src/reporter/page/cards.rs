//! The cards of what is wrong, first on the page. Pure.

use super::scene::Scene;
use super::text::Text;
use crate::figures;
use crate::reporter::concerns::{Concern, EndedBy, Kind};
use maud::{Markup, html};

/// All cards, in two groups; nothing if nothing is wrong.
pub fn cards(scene: &Scene<'_>, all: &[Concern]) -> Markup {
    html! {
        div.concerns data-k="concerns" {
            @for (by, title) in [
                (EndedBy::Operator, "Needs you"),
                (EndedBy::Itself, "Tried again without help"),
            ] {
                @if all.iter().any(|c| c.kind.ended_by() == by) {
                    section data-k=(title) {
                        h2 { (title) }
                        ul {
                            @for concern in all.iter().filter(|c| c.kind.ended_by() == by) {
                                (card(scene, concern))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The class of a card: its colour, and with which tile it is shown.
fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::LocalPathHeld | Kind::DeletionsHeld | Kind::Refused | Kind::PluginHeld => "held",
        Kind::LocalPathDown
        | Kind::Trouble
        | Kind::RemoteDown
        | Kind::PluginFails
        | Kind::RunnerDown => "trouble",
        Kind::Degraded | Kind::PathsFail | Kind::CallsGivenUp => "other",
    }
}

fn card(scene: &Scene<'_>, c: &Concern) -> Markup {
    let when = [
        c.since_ms.map(|ms| format!("since {} ({})", scene.clock(ms), scene.age(ms))),
        c.retry_ms.map(|ms| scene.again(ms)),
    ];
    let when: Vec<String> = when.into_iter().flatten().collect();
    html! {
        li.concern.{ (class(c.kind)) } data-k=(Text(c.key())) data-q {
            div.title {
                h3 {
                    span.badge { (c.words()) }
                    " "
                    @match (&c.name, &c.localpaths[..]) {
                        (Some(name), [one]) => { (Text(name)) " " span.dim { "of " (Text(one)) } }
                        (Some(name), _) => { (Text(name)) }
                        (None, all) => { (Text(all.join(", "))) }
                    }
                }
                @if !when.is_empty() { span.when { (when.join(" · ")) } }
            }
            @if let (Some(_), [_, _, ..]) = (&c.name, &c.localpaths[..]) {
                details data-k="places" {
                    summary { "of " (figures::count(c.localpaths.len() as u64, "localpath", "localpaths")) }
                    p.dim { (Text(c.localpaths.join(", "))) }
                }
            }
            @if let Some(why) = &c.why { p.why { (Text(why)) } }
            p.advice {
                (c.kind.advice())
                @if let Some(command) = &c.command { " " code { (Text(command)) } }
            }
            @if let Some(topic) = c.help { p.advice { "Help: " code { (topic.command()) } } }
        }
    }
}
