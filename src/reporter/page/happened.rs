//! The list of events. Pure.

use super::scene::Scene;
use super::text::Text;
use crate::reporter::events::{Event, MOST, Subject, What};
use maud::{Markup, html};

/// The last events, the newest first.
pub fn list(scene: &Scene<'_>) -> Markup {
    let events = &scene.view.events;
    html! {
        section.events data-k="events" aria-labelledby="events" {
            h2 id="events" { "Events" }
            ol tabindex="0" aria-labelledby="events" {
                @for event in events.newest_first() { (line(scene, event)) }
                li.since data-k="since" {
                    @if let Some(ms) = events.since_ms {
                        @if events.newest_first().len() < MOST { "Nothing before " } @else { "The last " (MOST) ", since " }
                        time datetime=(crate::figures::utc(ms)) { (scene.clock(ms)) }
                        @if events.newest_first().len() < MOST { ", when the reporter started; see the log." } @else { "; see the log for more." }
                    }
                }
            }
        }
    }
}

fn class(what: &What) -> &'static str {
    match what {
        What::Trouble | What::Down | What::Fails(_) | What::GivenUp(_) => "trouble",
        What::Held | What::Degraded => "held",
        What::Back(_) | What::Reconciled | What::FailsNoMore => "insync",
        What::Added | What::Removed | What::Restarted => "working",
    }
}

fn line(scene: &Scene<'_>, e: &Event) -> Markup {
    let subject = match &e.subject {
        Subject::LocalPath => None,
        Subject::Remote(name) => Some(name.clone()),
        Subject::Plugin(name) => Some(format!("plugin {name}")),
        Subject::Watcher => Some("the watcher".to_owned()),
        Subject::Pusher(name) => Some(format!("the pusher of {name}")),
        Subject::PluginRunner => Some("the plugin runner".to_owned()),
    };
    let first = e.localpaths.first().map_or("", String::as_str);
    let place = match e.localpaths.len() {
        0 | 1 => first.to_owned(),
        n => format!("{first} and {} more", n - 1),
    };
    html! {
        li.event.{ (class(&e.what)) } data-k=(e.number) data-q {
            time datetime=(crate::figures::utc(e.at_ms)) title=(scene.time(e.at_ms)) { (scene.clock(e.at_ms)) }
            div {
                @match &subject {
                    Some(subject) => { b { (Text(subject)) } " " span.dim { "of " (Text(place)) } }
                    None => { b { (Text(place)) } }
                }
                " " (e.what.words(&e.subject))
                @if let Some(why) = &e.why { p.why { (Text(why)) } }
            }
        }
    }
}
