//! Threads for calls over the network. Each thread has its own connection and makes one call at a time.

use crate::config::model::{Call, Plugin};
use crate::plugin::queue::Outcome;
use crate::plugin::subject::Subject;
use crate::plugin::{cdn, http, socket};
use crate::sys::wake;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// What a thread calls.
enum Client {
    Socket(socket::Client),
    Http { client: http::Client, watch: Vec<u8> },
    Cdn(cdn::Client),
}

impl Client {
    /// `None` for a command, which is a process. It is an error if the file of certificates is invalid.
    fn new(plugin: &Plugin, watch: &[u8]) -> Result<Option<Self>, String> {
        let timeout = Duration::from_millis(plugin.manner.timeout_ms);
        Ok(Some(match &plugin.call {
            Call::Command { .. } => return Ok(None),
            Call::Socket { host, port, framing } => {
                Client::Socket(socket::Client::new(host, *port, *framing, timeout))
            }
            Call::Http { url, ca_file } => {
                let pem = ca_file.as_ref().map(|file| {
                    std::fs::read(file.as_path()).map_err(|e| format!("ca_file {file}: {e}"))
                });
                let client = http::Client::new(url, pem.transpose()?.as_deref(), timeout).map_err(
                    |why| match ca_file {
                        Some(file) => format!("ca_file {file}: {why}"),
                        None => why,
                    },
                )?;
                Client::Http { client, watch: watch.to_vec() }
            }
            Call::RefreshCdn { host, port, user, password, base_url, url_match } => {
                let (at, who) = ((host.as_str(), *port), (user.as_str(), password.0.as_str()));
                Client::Cdn(cdn::Client::new(at, who, base_url, url_match.as_deref(), timeout)?)
            }
        }))
    }

    fn call(&mut self, subject: &Subject) -> Outcome {
        match self {
            Client::Socket(client) => client.send(&subject.path),
            Client::Http { client, watch } => client.post(&http::form(watch, subject)),
            Client::Cdn(client) => client.ask(subject),
        }
    }
}

/// The threads of all plugins, and the channel for their results.
pub struct Pool {
    results: Receiver<(u64, Outcome)>,
    done: Sender<(u64, Outcome)>,
    wake: (OwnedFd, OwnedFd),
}

/// One thread. It ends when this is dropped and its call has ended.
pub struct Caller {
    calls: Sender<(u64, Subject)>,
}

impl Pool {
    /// A pool without threads.
    pub fn new() -> io::Result<Self> {
        let (done, results) = channel();
        Ok(Self { results, done, wake: wake::pipe()? })
    }

    /// Readable when a call has ended.
    pub fn ready(&self) -> &OwnedFd {
        &self.wake.0
    }

    /// The calls that have ended, with their numbers.
    pub fn ended(&self) -> Vec<(u64, Outcome)> {
        wake::drain(&self.wake.0);
        self.results.try_iter().collect()
    }

    /// Starts one more thread for `plugin`. Errors are for people.
    pub fn caller(&self, plugin: &Plugin, watch: &[u8]) -> Result<Caller, String> {
        let mut client =
            Client::new(plugin, watch)?.ok_or("a command needs no thread".to_owned())?;
        let (calls, todo) = channel::<(u64, Subject)>();
        let (done, waker) =
            (self.done.clone(), self.wake.1.try_clone().map_err(|e| e.to_string())?);
        let body = move || {
            while let Ok((number, subject)) = todo.recv() {
                let outcome = client.call(&subject);
                // If the receiver is gone, the process is ending.
                let _ = done.send((number, outcome));
                wake::wake(&waker);
            }
        };
        std::thread::Builder::new()
            .name(plugin.call.kind().into())
            .spawn(body)
            .map_err(|e| e.to_string())?;
        Ok(Caller { calls })
    }
}

impl Caller {
    /// Starts a call. Returns false if the thread is gone.
    pub fn call(&self, number: u64, subject: Subject) -> bool {
        self.calls.send((number, subject)).is_ok()
    }
}
