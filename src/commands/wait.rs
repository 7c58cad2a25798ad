//! `syncsup wait`: returns when all earlier changes are settled on the remotes.

use super::client::{self, RunningInstance};
use super::invocation::{Invocation, On, Wait};
use super::{print, resolve, status};
use crate::error::{Error, Exit, Result};
use crate::help_topic::HelpTopic;
use crate::language::{Language, counted, listed, say, words};
use crate::message::{
    Answer, InstanceStatus, LocalPathState, PusherState, RemoteStatus, Request, Ticket, WaitFor,
    Waited,
};
use crate::path::{OsBytes, RelPath, printable};
use crate::sys::output::complain;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The first pause between two requests. It grows with the time waited.
const FIRST: Duration = Duration::from_millis(10);
/// How long a repair may take to settle.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest pause between two requests.
const LONGEST: Duration = Duration::from_millis(200);

/// One instance that receives the request.
struct AskedInstance {
    instance: RunningInstance,
    what: Vec<WaitFor>,
    ticket: Option<Ticket>,
    answer: Vec<Waited>,
    /// Why it does not answer.
    no_answer: Option<Error>,
}

/// Exit status 0 if it is settled on all requested remotes, 1 if not in time.
pub fn run(invocation: &Invocation, wait: &Wait) -> Result<Exit> {
    until_settled(choose(invocation, wait)?, &wait.on, wait.timeout)
}

/// Waits until the changes made so far at or below a path are settled on one remote, and prints the result.
pub(super) fn one(
    instance: &RunningInstance,
    watch: &OsBytes,
    below: RelPath,
    remote: &str,
) -> Result<Exit> {
    let below = if below.is_root() { vec![] } else { vec![below] };
    let what = vec![WaitFor { watch: watch.clone(), below }];
    let asked = AskedInstance {
        instance: instance.clone(),
        what,
        ticket: None,
        answer: Vec::new(),
        no_answer: None,
    };
    until_settled(vec![asked], &On::Remotes(vec![remote.to_owned()]), TIMEOUT)
}

fn until_settled(mut asked: Vec<AskedInstance>, on: &On, timeout: Duration) -> Result<Exit> {
    let end = Instant::now().checked_add(timeout);
    let mut pause = FIRST;
    let mut said = BTreeSet::new();
    loop {
        let mut left = false;
        for one in &mut asked {
            one.ask()?;
            left |= !one.is_settled(on);
        }
        for held in asked.iter().flat_map(|one| &one.answer).flat_map(|waited| held(waited, on)) {
            if said.insert(held.clone()) {
                complain(&held);
            }
        }
        let now = Instant::now();
        if !left || end.is_some_and(|end| now >= end) {
            break;
        }
        std::thread::sleep(end.map_or(pause, |end| pause.min(end - now)));
        pause = (pause * 5 / 4).min(LONGEST);
    }
    let settled = asked.iter().all(|one| one.is_settled(on));
    for one in &asked {
        one.answer.iter().for_each(|w| print(&show(w, on)));
    }
    if settled {
        return Ok(Exit::Ok);
    }
    // An instance that is no longer running is reported first.
    let gone = asked.into_iter().find_map(|one| one.no_answer);
    gone.map_or(Ok(Exit::No), |error| {
        Err(Error { exit: error.exit, text: say!("{}; not settled", error) })
    })
}

/// Selects the instances and what each is asked for.
fn choose(invocation: &Invocation, wait: &Wait) -> Result<Vec<AskedInstance>> {
    let mut running = Vec::new();
    for instance in client::running(invocation)? {
        let status = instance.status()?;
        running.push((instance, status));
    }
    if running.is_empty() {
        return Err(client::none(invocation));
    }
    let watch =
        |i: &InstanceStatus| i.localpaths.iter().map(|l| l.watch.clone()).collect::<Vec<_>>();
    let all: Vec<OsBytes> = running.iter().flat_map(|(_, status)| watch(status)).collect();
    let mut meant: BTreeMap<OsBytes, Vec<_>> = BTreeMap::new();
    for path in &wait.paths {
        for (watch, below) in resolve::within(path, &all)? {
            meant.entry(watch).or_default().push(below);
        }
    }
    let chosen = |w: &OsBytes| wait.paths.is_empty() || meant.contains_key(w);
    let localpaths = running.iter().flat_map(|(_, s)| &s.localpaths).filter(|l| chosen(&l.watch));
    check(
        &wait.on,
        &localpaths.map(|l| (l.watch.to_string(), &l.remotes[..])).collect::<Vec<_>>(),
    )?;
    let asked = running.into_iter().map(|(instance, status)| {
        let of = |watch: OsBytes| {
            let below = meant.get(&watch).cloned().unwrap_or_default();
            WaitFor { watch, below }
        };
        let what = watch(&status).into_iter().filter(chosen).map(of).collect();
        AskedInstance { instance, what, ticket: None, answer: Vec::new(), no_answer: None }
    });
    Ok(asked.filter(|a| !a.what.is_empty()).collect())
}

/// A request that can never be settled is an error.
fn check(on: &On, localpaths: &[(String, &[RemoteStatus])]) -> Result<()> {
    match on {
        On::All => Ok(()),
        On::Quorum(n) => match localpaths.iter().find(|(_, remotes)| remotes.len() < *n) {
            Some((watch, remotes)) => Err(Error::usage(say!(
                "--quorum {}: {} has only {}",
                n,
                watch,
                counted(remotes.len() as u64, words::REMOTES)
            ))),
            None => Ok(()),
        },
        On::Remotes(names) => {
            let all = || localpaths.iter().flat_map(|(_, remotes)| remotes.iter());
            match names.iter().find(|name| !all().any(|r| r.name == **name)) {
                Some(name) => {
                    let known: Vec<&str> = all().map(|r| r.name.as_str()).collect();
                    Err(Error::usage(say!(
                        "--remote {}: not a remote of the chosen localpaths; there are: {}",
                        printable(name.as_bytes()),
                        listed(&known)
                    )))
                }
                None => Ok(()),
            }
        }
    }
}

impl AskedInstance {
    /// Requests the progress. If the supervisor is gone, it may return, and is asked again.
    fn ask(&mut self) -> Result<()> {
        match self.try_ask() {
            Ok(()) => self.no_answer = None,
            Err(error) if error.exit == Exit::Usage => return Err(error),
            Err(error) => {
                self.ticket = None;
                self.answer.clear();
                self.no_answer = Some(error);
            }
        }
        Ok(())
    }

    fn try_ask(&mut self) -> Result<()> {
        let ticket = match self.ticket {
            Some(ticket) => ticket,
            None => match self.instance.ask(&Request::Wait(self.what.clone()), client::PATIENCE)? {
                Answer::Ticket(ticket) => ticket,
                _ => return Err(client::unexpected()),
            },
        };
        match self.instance.ask(&Request::Waited(ticket), client::PATIENCE)? {
            Answer::Waited(Some(answer)) => {
                (self.ticket, self.answer) = (Some(ticket), answer);
                Ok(())
            }
            // The supervisor or its configuration is another one.
            Answer::Waited(None) => {
                self.ticket = None;
                self.answer.clear();
                Ok(())
            }
            _ => Err(client::unexpected()),
        }
    }

    fn is_settled(&self, on: &On) -> bool {
        self.answer.len() == self.what.len() && self.answer.iter().all(|w| settled(w, on))
    }
}

/// The remotes of a localpath that the command waits for, and whether each has settled.
fn meant<'a>(waited: &'a Waited, on: &'a On) -> impl Iterator<Item = (&'a RemoteStatus, bool)> {
    let named = move |r: &&RemoteStatus| match on {
        On::Remotes(names) => names.contains(&r.name),
        On::All | On::Quorum(_) => true,
    };
    let has = |r: &RemoteStatus| waited.settled.contains(&r.name);
    waited.status.remotes.iter().filter(named).map(move |r| (r, has(r)))
}

fn settled(waited: &Waited, on: &On) -> bool {
    let has = meant(waited, on).filter(|(_, has)| *has).count();
    let wanted = match on {
        On::All | On::Remotes(_) => meant(waited, on).count(),
        On::Quorum(n) => *n,
    };
    waited.reached && has >= wanted
}

/// One line if it is settled, otherwise one line per remote that has not settled.
fn show(waited: &Waited, on: &On) -> String {
    let watch = &waited.status.watch;
    let has = meant(waited, on).filter(|(_, has)| *has).count();
    let count =
        say!("settled on {} of {}", has, counted(meant(waited, on).count() as u64, words::REMOTES));
    if settled(waited, on) {
        return format!("{watch}: {count}\n");
    }
    let mut out = say!("{}: not settled: {}\n", watch, count);
    if !waited.reached {
        let language = Language::current();
        let why = waited.status.reason.as_deref().map(status::one_line);
        let why = why.map(|why| format!("{}{why}", language.pick(words::COLON)));
        out += &say!(
            "  some changes are not read yet: {}{}\n",
            language.pick(waited.status.state.text()),
            why.unwrap_or_default()
        );
        return out + &help(waited.status.help);
    }
    for (remote, _) in meant(waited, on).filter(|(_, has)| !has) {
        out += &format!("  {}: {}\n{}", remote.name, why(remote), help(remote.status.help));
    }
    out
}

/// What the command waits for although an operator must look first.
fn held(waited: &Waited, on: &On) -> Vec<String> {
    let local = &waited.status;
    let line = |name: &str, reason: Option<&str>, topic| {
        let (word, reason) = (status::word(PusherState::Held), reason.map(status::one_line));
        let line =
            say!("waiting for {}: {}: {}\n{}", name, word, reason.unwrap_or_default(), help(topic));
        line.trim_end().to_owned()
    };
    if settled(waited, on) {
        return Vec::new();
    }
    if local.state == LocalPathState::Held {
        return vec![line(&local.watch.to_string(), local.reason.as_deref(), local.help)];
    }
    let left = meant(waited, on).filter(|(_, has)| !has).map(|(remote, _)| remote);
    let held = left.filter(|remote| remote.status.state == PusherState::Held);
    held.map(|r| line(&r.name, r.status.reason.as_deref(), r.status.help)).collect()
}

/// The line that names the help, if there is one.
fn help(topic: Option<HelpTopic>) -> String {
    topic.map(|topic| format!("    {}\n", status::help(topic))).unwrap_or_default()
}

fn why(remote: &RemoteStatus) -> String {
    let s = &remote.status;
    let word = match s.state {
        // The remote is in sync except for changes that its pusher has not reported yet.
        PusherState::InSync => say!("not yet"),
        state => status::word(state).to_owned(),
    };
    let left = match s.waiting + s.owed {
        0 => String::new(),
        n => say!(", {} to push", n),
    };
    let failing = match s.failing {
        0 => String::new(),
        n => format!("{}{}", Language::current().pick(words::COMMA), counted(n, words::PATHS_FAIL)),
    };
    let reason = s.reason.as_deref().map(|r| format!(": {}", status::one_line(r)));
    format!("{word}{left}{failing}{}", reason.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{LocalPathStatus, PusherStatus};

    fn remote(name: &str, status: PusherStatus) -> RemoteStatus {
        RemoteStatus { name: name.into(), status, ..RemoteStatus::default() }
    }

    fn waited(reached: bool, settled: &[&str]) -> Waited {
        let down = PusherStatus {
            state: PusherState::Backoff,
            reason: Some("connection refused\nrsync error".into()),
            help: Some(HelpTopic::Unreachable),
            waiting: 3,
            failing: 1,
            owed: 1,
            ..Default::default()
        };
        let remotes = vec![remote("a::m", PusherStatus::default()), remote("b::m", down)];
        let status = LocalPathStatus {
            watch: "/data".into(),
            state: LocalPathState::Scanning,
            remotes,
            ..Default::default()
        };
        Waited { reached, settled: settled.iter().map(|s| s.to_string()).collect(), status }
    }

    #[test]
    fn only_settled_remotes_count() {
        let half = waited(true, &["a::m"]);
        assert!(!settled(&half, &On::All) && settled(&half, &On::Quorum(1)));
        assert!(!settled(&half, &On::Quorum(2)));
        assert!(settled(&half, &On::Remotes(vec!["a::m".into()])));
        assert!(!settled(&half, &On::Remotes(vec!["b::m".into()])));
        assert!(settled(&waited(true, &["a::m", "b::m"]), &On::All));
        assert!(!settled(&waited(false, &["a::m", "b::m"]), &On::All));
    }

    #[test]
    fn waiting_remotes_are_shown_with_the_reason() {
        assert_eq!(
            show(&waited(true, &["a::m", "b::m"]), &On::All),
            "/data: settled on 2 of 2 remotes\n"
        );
        assert_eq!(
            show(&waited(true, &["a::m"]), &On::All),
            "/data: not settled: settled on 1 of 2 remotes\n  \
             b::m: in trouble, 4 to push, 1 path fails: connection refused; rsync error\n    \
             help: syncsup help unreachable\n"
        );
        assert_eq!(
            show(&waited(false, &[]), &On::All),
            "/data: not settled: settled on 0 of 2 remotes\n  some changes are not read yet: scanning\n"
        );
    }

    #[test]
    fn what_an_operator_must_look_at_is_said_while_the_command_waits() {
        let mut half = waited(true, &["a::m"]);
        assert!(held(&half, &On::All).is_empty());
        half.status.remotes[1].status.state = PusherState::Held;
        assert_eq!(
            held(&half, &On::All),
            [
                "waiting for b::m: HELD: connection refused; rsync error\n    help: syncsup help unreachable"
            ]
        );
        assert!(held(&half, &On::Quorum(1)).is_empty());
        assert!(held(&half, &On::Remotes(vec!["a::m".into()])).is_empty());
        half.status.state = LocalPathState::Held;
        half.status.reason = Some("it is gone".into());
        assert_eq!(held(&half, &On::All), ["waiting for /data: HELD: it is gone"]);
    }

    #[test]
    fn an_impossible_wait_is_a_usage_error() {
        let remotes = [remote("a::m", PusherStatus::default())];
        let all = [("/data".to_owned(), &remotes[..])];
        assert!(
            check(&On::Quorum(1), &all).is_ok()
                && check(&On::Remotes(vec!["a::m".into()]), &all).is_ok()
        );
        for on in [On::Quorum(2), On::Remotes(vec!["x".into()])] {
            let error = check(&on, &all).unwrap_err();
            assert!(error.exit == Exit::Usage && error.text.lines().count() == 1, "{error}");
        }
    }
}
