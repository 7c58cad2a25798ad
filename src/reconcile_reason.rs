//! Why a remote is reconciled. The journal stores it as text. Pure.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A reason for a reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ReconcileReason {
    /// sersync's `crontab`. `crontabfilter` applies, so a reconcile for any other reason compares more.
    Schedule,
    /// The remote is new.
    NewRemote,
    /// `-r`.
    AtStart,
    /// `syncsup sync`.
    Sync,
    /// `syncsup journal import`.
    Import,
    /// The filter, the toggles or the parameters changed.
    SettingsChanged,
    /// The journal was damaged and quarantined.
    JournalSetAside,
    /// `syncsup release LOCALPATH`.
    RootReleased,
    /// A receiver was killed during a large push: its leftovers may be anywhere.
    Leftovers,
    /// A finding, as text for users.
    Found(String),
}

/// The reasons with a fixed text.
const FIXED: [(ReconcileReason, &str); 9] = [
    (ReconcileReason::Schedule, "schedule"),
    (ReconcileReason::NewRemote, "the remote is new"),
    (ReconcileReason::AtStart, "-r"),
    (ReconcileReason::Sync, "`syncsup sync` was run"),
    (ReconcileReason::Import, "`syncsup journal import` was run"),
    (ReconcileReason::SettingsChanged, "the filter or the parameters changed"),
    (ReconcileReason::JournalSetAside, "the journal was set aside"),
    (ReconcileReason::RootReleased, "the root was replaced and released"),
    (ReconcileReason::Leftovers, "a receiver was killed during a large push"),
];

/// What journals contain that were written before a text changed.
const EARLIER: [(ReconcileReason, &str); 3] = [
    (ReconcileReason::NewRemote, "a new remote"),
    (ReconcileReason::Sync, "syncsup sync"),
    (ReconcileReason::Import, "syncsup journal import"),
];

impl ReconcileReason {
    /// True if an operator asks for it now.
    pub fn is_asked(&self) -> bool {
        match self {
            ReconcileReason::AtStart | ReconcileReason::Sync | ReconcileReason::RootReleased => {
                true
            }
            ReconcileReason::Schedule
            | ReconcileReason::NewRemote
            | ReconcileReason::Import
            | ReconcileReason::SettingsChanged
            | ReconcileReason::JournalSetAside
            | ReconcileReason::Leftovers
            | ReconcileReason::Found(_) => false,
        }
    }
}

impl fmt::Display for ReconcileReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = FIXED.iter().find(|(reason, _)| reason == self).map(|(_, text)| *text);
        match (fixed, self) {
            (Some(text), _) => f.write_str(text),
            (None, ReconcileReason::Found(text)) => f.write_str(text),
            // The table contains each of the others, as the test ensures.
            (None, _) => Ok(()),
        }
    }
}

impl From<String> for ReconcileReason {
    fn from(text: String) -> Self {
        let fixed = FIXED.iter().chain(&EARLIER).find(|(_, fixed)| *fixed == text);
        fixed.map_or(ReconcileReason::Found(text), |(reason, _)| reason.clone())
    }
}

impl From<ReconcileReason> for String {
    fn from(reason: ReconcileReason) -> String {
        reason.to_string()
    }
}

impl Default for ReconcileReason {
    fn default() -> Self {
        ReconcileReason::Found(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_parses_from_its_text() {
        for (reason, text) in FIXED {
            assert_eq!(
                (reason.to_string(), ReconcileReason::from(text.to_owned())),
                (text.into(), reason)
            );
        }
        for (reason, text) in EARLIER {
            assert_eq!(ReconcileReason::from(text.to_owned()), reason);
        }
        let found = ReconcileReason::Found("a was missing".into());
        assert_eq!(ReconcileReason::from(found.to_string()), found);
        let json = serde_json::to_string(&ReconcileReason::Schedule).unwrap();
        assert_eq!(json, "\"schedule\"");
        assert_eq!(
            serde_json::from_str::<ReconcileReason>(&json).unwrap(),
            ReconcileReason::Schedule
        );
    }
}
