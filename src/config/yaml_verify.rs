//! `verify_schedule` of a YAML configuration.

use super::cron;
use super::diagnostic::Notes;
use super::model::{VERIFY_RATE, VerifySchedule, VerifyWhen};
use super::node::{Fields, Node};
use super::notation::{duration_ms, size};
use super::yaml_values::set;
use crate::language::say;

/// Reads the given value over the inherited one; `null` removes that.
pub(super) fn read(place: &mut Option<VerifySchedule>, node: &Node, notes: &mut Notes) {
    if node.is_null() {
        *place = None;
        return;
    }
    const KNOWN: &[&str] = &["every", "cron", "rate", "checksum"];
    let Some(fields) = Fields::of(node, "verify_schedule", KNOWN, notes) else { return };
    let (every, cron) = (fields.get("every"), fields.get("cron"));
    if let (Some(_), Some(cron)) = (every, cron) {
        notes.error(
            cron.line,
            say!("verify_schedule has both `every` and `cron`; write one of them"),
        );
    }
    let inherited = place.take();
    let mut when = inherited.as_ref().map(|v| v.when.clone());
    set(&mut when, every, "verify_schedule every", notes, |n| {
        seconds(n.text()?).map(|s| Some(VerifyWhen::Every(s)))
    });
    set(&mut when, cron, "verify_schedule cron", notes, |n| {
        let text = n.text()?.trim();
        cron::parse(text).map(|_| Some(VerifyWhen::Cron(text.to_owned())))
    });
    let mut rate = inherited.as_ref().map_or(Some(VERIFY_RATE), |v| v.rate);
    set(&mut rate, fields.get("rate"), "verify_schedule rate", notes, |n| {
        bytes_a_second(n.text()?)
    });
    let mut checksum = inherited.as_ref().is_none_or(|v| v.checksum);
    let node_of = fields.get("checksum");
    set(&mut checksum, node_of, "verify_schedule checksum", notes, Node::boolean);
    match when {
        Some(when) => *place = Some(VerifySchedule { when, rate, checksum }),
        None if fields.lack("every") && fields.lack("cron") => notes.error(
            node.line,
            say!("verify_schedule has no time; add `every: 24h`, or `cron: '30 2 * * *'`"),
        ),
        // Already reported.
        None => {}
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    match duration_ms(text, None)? {
        ms if ms > 0 && ms % 1000 == 0 => Ok(ms / 1000),
        _ => Err(say!("`{}` is not a whole number of seconds; write at least 1s", text)),
    }
}

/// `20MiB/s`, also without `/s`; `unlimited` means no limit.
fn bytes_a_second(text: &str) -> Result<Option<u64>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    match size(text.strip_suffix("/s").unwrap_or(text)) {
        Ok(bytes) if bytes > 0 => Ok(Some(bytes)),
        _ => Err(say!(
            "`{}` is not a rate; write bytes per second or a unit, such as 20MiB/s, or unlimited",
            text
        )),
    }
}
