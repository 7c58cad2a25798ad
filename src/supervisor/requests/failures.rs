//! `syncsup journal list`, `retry` and `drop` for a localpath that this supervisor runs.

use crate::instance::failures::{change, in_journal, list, party};
use crate::language::say;
use crate::message::{Answer, ToPlugin, ToPusher, Whose};
use crate::path::{OsBytes, RelPath};
use crate::supervisor::state::Supervisor;
use std::path::PathBuf;
use std::time::Duration;

impl Supervisor {
    /// The state directory of a localpath with this remote or plugin, and its name in the journal; an error if the
    /// journal must be quarantined.
    fn journal_of(&self, watch: &OsBytes, whose: &Whose) -> Result<(PathBuf, Whose), Answer> {
        let mut localpaths =
            self.localpaths.iter().filter(|l| l.is_configured() && l.watch() == watch);
        let found = localpaths.find_map(|localpath| {
            let known = match whose {
                Whose::Remote(name) => {
                    localpath.pushers.iter().any(|p| p.name == *name && !p.removed)
                }
                Whose::Plugin(_) => true,
            };
            let whose =
                in_journal(whose, &localpath.configured.localpath.plugins).filter(|_| known)?;
            Some((localpath, whose))
        });
        match found {
            None => Err(Answer::Refused(match whose {
                Whose::Remote(name) => say!("{} is not a remote of {}", name, watch),
                Whose::Plugin(name) => say!("{} is not a plugin of {}", name, watch),
            })),
            Some((localpath, _)) if localpath.damaged() => Err(Answer::Refused(say!(
                "the journal of {} is damaged and is being set aside",
                watch
            ))),
            Some((localpath, whose)) => Ok((localpath.dir().to_owned(), whose)),
        }
    }

    pub(in crate::supervisor) fn failing(
        &self,
        watch: &OsBytes,
        whose: &Whose,
        after: Option<&RelPath>,
    ) -> Answer {
        match self.journal_of(watch, whose) {
            Err(refused) => refused,
            Ok((dir, whose)) => list(&dir, party(&whose), after).map_or_else(
                |e| Answer::Refused(say!("the journal of {}: {}", watch, e)),
                Answer::Failing,
            ),
        }
    }

    pub(in crate::supervisor) fn change_failures(
        &mut self,
        watch: &OsBytes,
        whose: &Whose,
        below: &[RelPath],
        forget: bool,
        now: Duration,
    ) -> Answer {
        let (dir, of) = match self.journal_of(watch, whose) {
            Ok(found) => found,
            Err(refused) => return refused,
        };
        let changed = change(&dir, party(&of), below, forget);
        for localpath in self.localpaths.iter_mut().filter(|l| l.watch() == watch) {
            match whose {
                Whose::Remote(name) => {
                    for pusher in localpath.pushers.iter_mut().filter(|p| p.name == *name) {
                        // A push in flight may owe the path again, so its pusher forgets it, too.
                        let message = match forget {
                            true => ToPusher::FailuresForgotten(below.to_vec()),
                            false => ToPusher::FailuresDue,
                        };
                        pusher.process.send(&message, vec![], now);
                    }
                }
                Whose::Plugin(_) => {
                    if let Some(runner) = &mut localpath.runner {
                        runner.process.send(&ToPlugin::FailuresChanged, vec![], now);
                    }
                }
            }
        }
        match changed {
            Ok(count) => Answer::Count(count),
            Err(e) => Answer::Refused(say!("the journal of {}: {}; try again", watch, e)),
        }
    }
}
