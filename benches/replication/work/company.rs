//! Remotes that must not hold up the others.

use crate::proxy::Proxy;
use crate::rig::{Remote, Rig, free_port};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

/// What a stream has beside its own remotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Nothing.
    None,
    /// A remote that refuses connections, and one that accepts them and never answers.
    DeadAndHung,
    /// Another localpath, whose remotes take 800 kB a second each. They take one file when the stream begins.
    Slow { remotes: usize, mib: usize },
}

/// What makes it so.
#[derive(Default)]
pub struct Held {
    /// Nothing accepts its connections but the kernel.
    _hung: Option<TcpListener>,
    _proxies: Vec<Proxy>,
    /// The copies of the file at the slow remotes.
    copies: Vec<PathBuf>,
}

impl Company {
    /// The end of the name of a stream beside it.
    pub fn name(self) -> String {
        match self {
            Company::None => String::new(),
            Company::DeadAndHung => ", beside a dead and a hung one".to_owned(),
            Company::Slow { remotes, mib } => {
                format!(", beside {remotes} slow ones that take {mib} MiB each")
            }
        }
    }

    /// The slaves of each localpath, for a stream with this number of them.
    pub fn slaves(self, remotes: usize) -> Vec<usize> {
        match self {
            Company::None | Company::DeadAndHung => vec![remotes],
            Company::Slow { remotes: slow, .. } => vec![remotes, slow],
        }
    }

    /// Joins a rig that nothing has been started over.
    pub fn join(self, rig: &mut Rig) -> Result<Held, String> {
        match self {
            Company::None => Ok(Held::default()),
            Company::DeadAndHung => {
                let hung =
                    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
                let ports = [free_port()?, hung.local_addr().map_err(|e| e.to_string())?.port()];
                let remote = |port| Remote { port, module: "m".to_owned(), slave: None };
                rig.localpaths[0].remotes.splice(0..0, ports.map(remote));
                Ok(Held { _hung: Some(hung), ..Held::default() })
            }
            Company::Slow { .. } => {
                let mut held = Held::default();
                for remote in rig.localpaths.iter_mut().skip(1).flat_map(|l| &mut l.remotes) {
                    let proxy = Proxy::start(remote.port);
                    proxy.rate(800_000);
                    remote.port = proxy.port;
                    held._proxies.push(proxy);
                    held.copies.extend(remote.slave.iter().map(|slave| slave.join("large")));
                }
                Ok(held)
            }
        }
    }

    /// Begins with the stream.
    pub fn begin(self, rig: &Rig) -> Result<(), String> {
        let Company::Slow { mib, .. } = self else { return Ok(()) };
        let mut content = vec![0; mib << 20];
        fastrand::Rng::with_seed(11).fill(&mut content);
        for localpath in rig.localpaths.iter().skip(1) {
            fs::write(localpath.source.join("large"), &content).map_err(|e| e.to_string())?;
        }
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }
}

impl Held {
    /// True when the slow remotes have their file.
    pub fn done(&self) -> bool {
        self.copies.iter().all(|copy| copy.exists())
    }
}
