//! Notifies systemd of the state: sd_notify(3), without its library.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The target of messages; none outside systemd.
pub struct SdNotify {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    last_status: String,
}

impl SdNotify {
    /// From the values of `NOTIFY_SOCKET` (a path, or `@name` in the abstract name space), `WATCHDOG_USEC` and
    /// `WATCHDOG_PID`.
    pub fn new(socket: Option<OsString>, usec: Option<String>, pid: Option<String>) -> Self {
        let to = socket.and_then(|name| {
            let address = match name.as_bytes() {
                [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest).ok()?,
                path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)).ok()?,
            };
            let datagram = UnixDatagram::unbound().ok()?;
            datagram.set_nonblocking(true).ok()?;
            Some((datagram, address))
        });
        let ours = pid.is_none_or(|p| p.parse() == Ok(std::process::id()));
        let usec = usec.filter(|_| ours).and_then(|u| u.parse::<u64>().ok()).filter(|u| *u > 0);
        // At half of systemd's timeout, as sd_watchdog_enabled(3) advises.
        let watchdog = usec.filter(|_| to.is_some()).map(|u| Duration::from_micros(u / 2));
        Self { to, watchdog, last_status: String::new() }
    }

    /// From the environment.
    pub fn from_env() -> Self {
        let text = |name| std::env::var(name).ok();
        Self::new(std::env::var_os("NOTIFY_SOCKET"), text("WATCHDOG_USEC"), text("WATCHDOG_PID"))
    }

    /// The interval at which [`SdNotify::alive`] must be called.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Everything is watched.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The configuration is being reloaded; [`SdNotify::ready`] reports the end. `monotonic` is CLOCK_MONOTONIC.
    pub fn reloading(&self, monotonic: Duration) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic.as_micros()));
    }

    /// The supervisor is stopping.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The loop is running.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// True if a service manager listens.
    pub fn listens(&self) -> bool {
        self.to.is_some()
    }

    /// One line for `systemctl status`. Sent only if it has changed.
    pub fn status(&mut self, line: String) {
        if self.to.is_some() && line != self.last_status {
            self.send(&format!("STATUS={line}"));
            self.last_status = line;
        }
    }

    fn send(&self, text: &str) {
        if let Some((datagram, address)) = &self.to {
            // A service manager that does not read its messages does not affect the supervisor.
            let _ = datagram.send_to_addr(text.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    #[test]
    fn notifications_reach_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let me = std::process::id().to_string();
        let mut notify = SdNotify::new(Some(path.into()), Some("3000000".into()), Some(me));
        assert_eq!(notify.watchdog(), Some(Duration::from_millis(1_500)));
        notify.ready();
        notify.reloading(Duration::from_secs(2));
        notify.status("one".into());
        notify.status("one".into());
        notify.stopping();
        assert_eq!(receive(&socket), "READY=1");
        assert_eq!(receive(&socket), "RELOADING=1\nMONOTONIC_USEC=2000000");
        assert_eq!(receive(&socket), "STATUS=one");
        assert_eq!(receive(&socket), "STOPPING=1");
    }

    #[test]
    fn notifications_reach_an_abstract_name() {
        let name = format!("syncsup-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        SdNotify::new(Some(format!("@{name}").into()), None, None).alive();
        assert_eq!(receive(&socket), "WATCHDOG=1");
    }

    #[test]
    fn no_notification_outside_systemd_or_for_another_process() {
        let notify = SdNotify::new(None, Some("1000".into()), None);
        assert_eq!(notify.watchdog(), None);
        notify.ready();
        let other = SdNotify::new(Some("@x".into()), Some("1000".into()), Some("1".into()));
        assert_eq!(other.watchdog(), None);
    }
}
