//! The reporter's token file. A process of its own reads it, since a read of a network mount that is gone never returns.

use crate::config::http::token_error;
use crate::config::probe::{Machine, Probe};
use crate::message::Role;
use crate::path::OsBytes;
use crate::sys::channel::{Channel, Received, pair_for};
use crate::sys::log::Seldom;
use crate::sys::own;
use crate::sys::poll::Interest;
use crate::sys::process::{GroupChild, start_reader};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// The interval of reads.
const EVERY: Duration = Duration::from_secs(5);
/// A read that takes longer is given up. The next one starts when its process is gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest token file, in bytes.
const BYTES_MAX: u64 = 4 << 10;

/// The token, or why the file cannot be used.
pub type Token = Result<Vec<u8>, String>;

/// A token file, and what is known of it.
pub struct TokenFile {
    file: OsBytes,
    state: State,
    token: Option<Token>,
    /// The reporter has been told `token`.
    told: bool,
    unanswered: Seldom,
}

enum State {
    /// The next read starts at this time, if the process of the last one has exited. One that was killed is a process until
    /// its file system answers.
    Rests(Duration, Option<Reader>),
    /// A process reads since this time.
    Reads(Reader, Duration),
}

/// The process that reads. When this is dropped it is killed, and not waited for.
struct Reader {
    child: GroupChild,
    channel: Channel<(), Token>,
}

impl Reader {
    fn start(file: &Path) -> io::Result<Self> {
        let (ours, theirs) = pair_for(Role::Token)?;
        Ok(Self { child: start_reader(file, theirs)?, channel: Channel::new(ours) })
    }

    /// Its answer, or that it gave none. `None` while it reads.
    fn answer(&mut self) -> Option<Token> {
        match self.channel.receive() {
            Ok(Received::Message(token, _)) => Some(token),
            Ok(Received::Nothing) => None,
            Ok(Received::Closed) => Some(Err("the process that reads it exited".into())),
            Err(e) => Some(Err(e.to_string())),
        }
    }

    fn has_ended(&self) -> bool {
        self.child.ended().unwrap_or(true)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.child.kill();
        self.child.forget();
    }
}

impl TokenFile {
    /// The first [`TokenFile::tick`] reads it.
    pub fn new(file: OsBytes, now: Duration) -> Self {
        Self {
            file,
            state: State::Rests(now, None),
            token: None,
            told: false,
            unanswered: Seldom::default(),
        }
    }

    /// The descriptor to poll while it is read.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        match &self.state {
            State::Reads(reader, _) => Some((reader.channel.as_fd(), Interest::Read)),
            State::Rests(..) => None,
        }
    }

    /// The next time at which [`TokenFile::tick`] has an effect.
    pub fn next_at(&self) -> Duration {
        match &self.state {
            State::Rests(next, _) => *next,
            State::Reads(_, since) => *since + PATIENCE,
        }
    }

    /// True once there is something to tell.
    pub fn is_known(&self) -> bool {
        self.token.is_some()
    }

    /// The reporter has been started: it is told again.
    pub fn tell_again(&mut self) {
        self.told = false;
    }

    /// Starts a read that is due, and takes its answer. Returns what to log.
    pub fn tick(&mut self, now: Duration) -> Option<String> {
        match &mut self.state {
            State::Rests(next, last) if now >= *next => {
                if last.as_ref().is_some_and(|reader| !reader.has_ended()) {
                    *next = now + EVERY;
                    return None;
                }
                self.state = match Reader::start(self.file.as_path()) {
                    Ok(reader) => State::Reads(reader, now),
                    Err(e) => {
                        self.found(Err(format!("cannot start a process that reads it: {e}")));
                        State::Rests(now + EVERY, None)
                    }
                };
                None
            }
            State::Reads(reader, since) => {
                if let Some(found) = reader.answer() {
                    let next = *since + EVERY;
                    self.rest(next);
                    self.unanswered.over();
                    self.found(found);
                } else if now >= *since + PATIENCE {
                    reader.child.kill();
                    self.rest(now + EVERY);
                    return self.gave_no_answer(now);
                }
                None
            }
            State::Rests(..) => None,
        }
    }

    fn rest(&mut self, next: Duration) {
        if let State::Reads(reader, _) =
            std::mem::replace(&mut self.state, State::Rests(next, None))
        {
            self.state = State::Rests(next, Some(reader));
        }
    }

    /// What the reporter must be told, once.
    pub fn news(&mut self) -> Option<Token> {
        match std::mem::replace(&mut self.told, self.token.is_some()) {
            true => None,
            false => self.token.clone(),
        }
    }

    fn found(&mut self, token: Token) {
        if self.token.as_ref() != Some(&token) {
            self.token = Some(token);
            self.told = false;
        }
    }

    /// A token that is known stays in force. Without one, every client is refused.
    fn gave_no_answer(&mut self, now: Duration) -> Option<String> {
        let what = match &self.token {
            Some(Ok(_)) => "the last token stays in force",
            Some(Err(_)) | None => {
                self.found(Err("no answer; the server of its file system may be down".into()));
                "every client is refused"
            }
        };
        let worth_logging = self.unanswered.worth_logging(now);
        worth_logging
            .then(|| format!("token file {}: no answer; {what} until it can be read", self.file))
    }
}

/// In that process: reads the file and sends what it found. Returns its exit status.
pub fn read_and_tell(channel: OwnedFd, file: &Path) -> i32 {
    let name = file.display().to_string();
    let found: Token = match token_error(&name, &Machine.password_file(file)) {
        Some(why) => Err(why),
        None => own::glance(file, BYTES_MAX).map_err(|e| e.to_string()),
    };
    let mut channel: Channel<Token, ()> = Channel::new(channel);
    i32::from(channel.send(&found, vec![]).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    /// A file whose reader never answers: in a unit test its process is another program that says nothing.
    fn silent() -> (TokenFile, Channel<Token, ()>) {
        let (ours, theirs) = crate::sys::channel::pair().unwrap();
        let child = start_reader(Path::new("/none"), theirs.try_clone().unwrap()).unwrap();
        let mut file = TokenFile::new("/t".into(), S(0));
        file.state = State::Reads(Reader { child, channel: Channel::new(ours) }, S(0));
        (file, Channel::new(theirs))
    }

    #[test]
    fn a_read_without_an_answer_leaves_the_last_token_in_force() {
        let (mut file, _peer) = silent();
        file.token = Some(Ok(b"last".to_vec()));
        assert_eq!(file.tick(S(4)), None);
        assert_eq!(file.next_at(), PATIENCE);
        let said = file.tick(PATIENCE).unwrap();
        assert!(said.contains("/t: no answer; the last token stays"), "{said}");
        assert_eq!((file.news(), file.news()), (Some(Ok(b"last".to_vec())), None));
        assert_eq!(file.next_at(), PATIENCE + EVERY, "it does not keep the loop awake");
        // Without one, every client is refused; it is logged seldom.
        let (mut file, _peer) = silent();
        assert!(!file.is_known());
        assert!(file.tick(PATIENCE).unwrap().contains("every client is refused"));
        assert!(file.news().unwrap().unwrap_err().contains("no answer"));
        file.state = silent().0.state;
        assert_eq!(file.tick(S(20)), None);
    }

    #[test]
    fn an_answer_is_told_once_and_again_to_a_new_reporter() {
        let (mut file, mut peer) = silent();
        let token: Token = Ok(b"token".to_vec());
        peer.send(&token, vec![]).unwrap();
        assert_eq!(file.tick(S(1)), None);
        assert_eq!((file.news(), file.news()), (Some(token.clone()), None));
        file.tell_again();
        assert_eq!(file.news(), Some(token));
        assert_eq!(file.next_at(), EVERY);
        // A reader that dies.
        let (mut file, peer) = silent();
        drop(peer);
        while !file.is_known() {
            file.tick(S(1));
        }
        assert!(file.news().unwrap().unwrap_err().contains("exited"));
    }
}
