//! Starts calls, and records their results.

use super::prepare::TRACE;
use super::queue::{self, Fault, Outcome};
use super::run::Runner;
use super::station::{Flight, How, Landed};
use super::subject::{Decision, Subject, decide};
use crate::help_topic::HelpTopic;
use crate::journal::{CallEnd, Due, JournalError};
use crate::path::RelPath;
use crate::stat::{Kind, Stat};
use crate::sys::clock;
use crate::sys::fault_point::{Point, pass};
use crate::sys::files::{Root, is_no_directory};
use crate::sys::program::Program;
use slog::{debug, info, warn};
use std::time::Duration;

/// The number of rows of one plugin that are read per turn.
const LOOK: u32 = 256;

impl Runner {
    /// Starts the calls that may start. Returns true if there may be more.
    pub fn start_calls(&mut self, now: Duration) -> Result<bool, JournalError> {
        let mut more = false;
        for station in 0..self.stations.len() {
            more |= self.start_of(station, now)?;
        }
        Ok(more)
    }

    fn start_of(&mut self, n: usize, now: Duration) -> Result<bool, JournalError> {
        let mut room = self.stations[n].room(now);
        if room == 0 {
            return Ok(false);
        }
        let wall = clock::wall_ms();
        let probing = self.stations[n].lane.failures() > 0;
        let name = &self.stations[n].key;
        let due = match probing {
            true => self.journal.calls_least_tried(name, wall, LOOK)?,
            false => self.journal.calls_due(name, wall, LOOK)?,
        };
        let free: Vec<Due> = self.stations[n].lane.free(&due).into_iter().cloned().collect();
        if free.is_empty() {
            return Ok(false);
        }
        let root = match self.open_root()? {
            Ok(root) => root,
            Err(why) => {
                self.hold_for_root(why, now);
                return Ok(false);
            }
        };
        let mut looked = 0;
        for due in free {
            if room == 0 {
                return Ok(false);
            }
            looked += 1;
            if self.start_one(n, due, &root, now)? {
                room = self.stations[n].room(now);
            }
        }
        Ok(looked == LOOK as usize)
    }

    /// Returns true if a call was started, or failed to start.
    fn start_one(
        &mut self,
        n: usize,
        due: Due,
        root: &Root,
        now: Duration,
    ) -> Result<bool, JournalError> {
        let watch = self.start.localpath.watch.clone();
        let file_ns = clock::file_ns();
        let stat = match look(root, &due.path) {
            Ok(stat) => stat,
            Err(e) => {
                // The path is neither present nor gone. Its state is unknown now.
                let outcome = Outcome::Failed { error: e.to_string(), fault: Fault::Path };
                self.stations[n].lane.starts(&due.path);
                self.landed.push_back(Landed::new(n, due, outcome, None));
                self.write_landed(now)?;
                return Ok(true);
            }
        };
        let station = &mut self.stations[n];
        let before = self.journal.called(&station.key, &due.path)?;
        let events = station.plugin.manner.events;
        let decision = decide(&due, watch.as_path(), stat.as_ref(), file_ns, before, events);
        let (subject, called) = match decision {
            Decision::Call(subject, called) => (subject, called),
            Decision::Skip(called) => {
                let end = CallEnd::Done { counts: false, called };
                self.journal.end_call(&station.key, &due, &end, clock::wall_ms())?;
                self.said.dirty = true;
                return Ok(false);
            }
        };
        if station.line.as_ref().is_some_and(|line| !line.wants(&subject.path)) {
            let end = CallEnd::Done { counts: false, called: None };
            self.journal.end_call(&station.key, &due, &end, clock::wall_ms())?;
            return Ok(false);
        }
        debug!(self.log, "calling"; "plugin" => &station.name, "path" => due.path.to_string(),
            "present" => subject.present);
        station.lane.starts(&due.path);
        self.said.dirty = true;
        self.number += 1;
        match self.launch(n, subject, now) {
            Ok(how) => {
                pass(Point::PluginCalls);
                let number = self.number;
                self.flights.push(Flight { number, station: n, due, called, how });
            }
            Err(error) => {
                let outcome = Outcome::Failed { error, fault: Fault::Plugin };
                self.landed.push_back(Landed::new(n, due, outcome, None));
                self.write_landed(now)?;
            }
        }
        Ok(true)
    }

    fn launch(&mut self, n: usize, subject: Subject, now: Duration) -> Result<How, String> {
        let station = &mut self.stations[n];
        if let Some(line) = &station.line {
            let argv = line.argv(&subject.path);
            let trace = self.start.state_dir.join(format!("{TRACE}{}", self.number));
            let user = station.plugin.run_as().map(|run_as| run_as.name.as_str());
            let program = Program::start(&argv, &[], line.ignore_error, &trace, user)
                .map_err(|e| format!("{}: {e}", argv[0].to_string_lossy()))?;
            let until = now + Duration::from_millis(station.plugin.manner.timeout_ms);
            return Ok(How::Program { program, until, late: false });
        }
        let caller = match station.idle.pop() {
            Some(caller) => caller,
            None => self.pool.caller(&station.plugin, self.start.localpath.watch.as_bytes())?,
        };
        match caller.call(self.number, subject) {
            true => Ok(How::Thread(caller)),
            false => Err("its thread exited".into()),
        }
    }

    /// Records the calls that have ended before any other call starts. If the journal fails, the result is kept and
    /// recorded later: the call was made and is not repeated.
    pub fn land(&mut self, now: Duration) -> Result<(), JournalError> {
        for (number, outcome) in self.pool.ended() {
            if let Some(at) = self.flights.iter().position(|f| f.number == number) {
                let flight = self.flights.swap_remove(at);
                if let How::Thread(caller) = flight.how {
                    self.stations[flight.station].idle.push(caller);
                }
                self.landed.push_back(Landed::new(
                    flight.station,
                    flight.due,
                    outcome,
                    flight.called,
                ));
            }
        }
        let mut at = 0;
        while at < self.flights.len() {
            match self.program_ended(at, now) {
                Some(outcome) => {
                    let flight = self.flights.swap_remove(at);
                    self.landed.push_back(Landed::new(
                        flight.station,
                        flight.due,
                        outcome,
                        flight.called,
                    ));
                }
                None => at += 1,
            }
        }
        self.write_landed(now)
    }

    fn write_landed(&mut self, now: Duration) -> Result<(), JournalError> {
        if self.refused.is_some_and(|at| now < at) {
            return Ok(());
        }
        while let Some(landed) = self.landed.front() {
            self.settle(&landed.clone(), now)?;
            self.landed.pop_front();
        }
        Ok(())
    }

    fn program_ended(&mut self, at: usize, now: Duration) -> Option<Outcome> {
        let flight = &mut self.flights[at];
        let How::Program { program, until, late } = &mut flight.how else { return None };
        program.drain();
        let line = self.stations[flight.station].line.as_ref()?;
        match program.ended() {
            Ok(Some((exited, output))) => Some(line.outcome(exited, &output, *late)),
            Ok(None) => {
                if now >= *until && !std::mem::replace(late, true) {
                    program.kill();
                }
                None
            }
            Err(e) => Some(Outcome::Failed { error: e.to_string(), fault: Fault::Path }),
        }
    }

    /// Records how a call ended, then logs it.
    fn settle(&mut self, landed: &Landed, now: Duration) -> Result<(), JournalError> {
        let Landed { station: n, due, outcome, called } = landed;
        let wall = clock::wall_ms();
        let station = &mut self.stations[*n];
        let manner = &station.plugin.manner;
        let end = queue::end(due, outcome, *called, manner, wall);
        pass(Point::PluginCalled);
        self.journal.end_call(&station.key, due, &end, wall)?;
        pass(Point::PluginRecorded);
        station.lane.ends(&due.path, outcome, manner, now);
        self.said.dirty = true;
        let Outcome::Failed { error, .. } = outcome else {
            if station.said.take().is_some() {
                info!(self.log, "succeeds again"; "plugin" => &station.name);
            }
            return Ok(());
        };
        station.last = Some(format!("{}: {error}", due.path));
        self.said.failed = true;
        if let CallEnd::GivenUp { attempts, .. } = end {
            warn!(self.log, "given up"; "plugin" => &station.name, "path" => due.path.to_string(),
                "tries" => attempts, "why" => error, "help" => HelpTopic::PluginFailing.command());
        } else if station.said.as_ref() != Some(error) {
            // Logged once per kind of trouble: a plugin that is down must not fill the log.
            warn!(self.log, "a call failed; trying again"; "plugin" => &station.name,
                "path" => due.path.to_string(), "why" => error,
                "help" => HelpTopic::PluginFailing.command());
            station.said = Some(error.clone());
        }
        Ok(())
    }
}

/// Runs lstat. `None` if the path is certainly gone: nothing is there, or something above it is no directory. A symlink
/// is none, whatever it leads to.
fn look(root: &Root, path: &RelPath) -> std::io::Result<Option<Stat>> {
    let seen = |path: &RelPath| match root.lstat(path) {
        Ok(stat) => Ok(Some(stat)),
        Err(e) if is_no_directory(&e) => Ok(None),
        Err(e) => Err(e),
    };
    for above in path.parent().iter().flat_map(RelPath::prefixes) {
        if seen(&above)?.is_none_or(|stat| stat.kind != Kind::Dir) {
            return Ok(None);
        }
    }
    seen(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_is_below_a_file_or_a_symlink() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        std::fs::write(dir.path().join("dir/x"), "").unwrap();
        symlink("dir", dir.path().join("link")).unwrap();
        symlink("nowhere", dir.path().join("broken")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        for (path, there) in [
            ("dir/x", true),
            ("link", true),
            ("broken", true),
            ("dir/y", false),
            ("dir/x/y", false),
            ("link/x", false),
            ("broken/x", false),
        ] {
            let stat = look(&root, &RelPath::new(path).unwrap());
            assert_eq!(stat.unwrap().is_some(), there, "{path}");
        }
    }
}
