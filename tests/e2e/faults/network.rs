//! A slave as a host of its own, in a network namespace, and what happens to its network; the same through a proxy, which
//! also does what a network cannot.

use super::scene::{HOST, PROXIED, Scene};
use super::{Fault, Faults};
use crate::common::proxy::{FAST, Proxy};
use crate::common::rsyncd::Options;
use fastrand::Rng;
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;

/// A namespace, joined to this thread's by a pair of interfaces. It goes with the last process in it and with this value.
pub struct Host {
    namespace: File,
    number: u8,
    /// Whether this kernel can delay and lose packets.
    netem: bool,
}

impl Host {
    /// Gives this thread, and what it starts from now on, a network namespace of its own, and makes another one for the
    /// host. The error says why that is impossible.
    pub fn new(number: u8) -> Result<Host, String> {
        leave()?;
        let namespace = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| format!("unshare: {e}"))?;
            File::open("/proc/thread-self/ns/net").map_err(|e| format!("/proc: {e}"))
        });
        let namespace = namespace.join().expect("no panic")?;
        let mut host = Host { namespace, number, netem: false };
        let (near, far, path) = (host.near(), host.far(), host.path());
        let pair = ["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &path];
        run("ip", &pair)?;
        host.here("ip", &["addr", "add", &format!("10.77.{number}.1/24"), "dev", &near])?;
        host.here("ip", &["link", "set", &near, "up"])?;
        host.there("ip", &["addr", "add", &format!("{}/24", host.address()), "dev", &far])?;
        host.there("ip", &["link", "set", &far, "up"])?;
        host.there("ip", &["link", "set", "lo", "up"])?;
        let probe = ["qdisc", "add", "dev", &near, "root", "netem", "delay", "1ms"];
        host.netem = host.here("tc", &probe).is_ok();
        if host.netem {
            host.here("tc", &["qdisc", "del", "dev", &near, "root"])?;
        } else {
            println!("this kernel has no netem: a narrow tbf delays and loses packets");
        }
        Ok(host)
    }

    /// A daemon on this host.
    pub fn daemon(&self) -> Options {
        let launcher = vec!["nsenter".into(), format!("--net={}", self.path()).into()];
        Options { address: self.address(), launcher, ..Options::default() }
    }

    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 2)
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd())
    }

    fn near(&self) -> String {
        format!("near{}", self.number)
    }

    fn far(&self) -> String {
        format!("far{}", self.number)
    }

    fn here(&self, program: &str, args: &[&str]) -> Result<(), String> {
        run(program, args)
    }

    fn there(&self, program: &str, args: &[&str]) -> Result<(), String> {
        let net = format!("--net={}", self.path());
        run("nsenter", &[&[net.as_str(), program], args].concat())
    }
}

/// Gives this thread, and what it starts from now on, a network namespace of its own. The error says why that is
/// impossible.
pub fn leave() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| format!("unshare: {e}"))?;
    run("ip", &["link", "set", "lo", "up"])
}

/// Runs a program. The error is what it says.
pub fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    match Command::new(program).args(args).env("PATH", path).output() {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
            Err(format!("{program} {}: {said}", args.join(" ")))
        }
        Err(e) => Err(format!("{program}: {e}")),
    }
}

/// What happens to a host.
#[derive(Clone, Copy, Debug)]
enum OnHost {
    /// The master's interface is down.
    CutHere,
    /// The slave's interface is down.
    CutThere,
    /// Packets arrive at the slave; its answers go nowhere.
    Deaf,
    /// Every connection is reset, at this end or the other.
    Reset,
    /// Large packets are lost on the way there.
    SmallMtuThere,
    /// This end sends smaller packets.
    SmallMtuHere,
    /// Delay, and loss when much is sent.
    Slow,
    /// Heavy loss.
    Lossy,
}

struct HostFault(OnHost);

impl Fault for HostFault {
    fn name(&self) -> String {
        format!("network {:?}", self.0)
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        let host = scene.host.as_ref()?;
        let (near, far, address) = (host.near(), host.far(), host.address().to_string());
        let queue = |how: &[&str]| {
            let both = [&["qdisc", "replace", "dev", &near, "root"], how].concat();
            host.here("tc", &both)?;
            host.there("tc", &[&["qdisc", "replace", "dev", &far, "root"], how].concat())
        };
        let done = match (self.0, host.netem) {
            (OnHost::CutHere, _) => host.here("ip", &["link", "set", &near, "down"]),
            (OnHost::CutThere, _) => host.there("ip", &["link", "set", &far, "down"]),
            (OnHost::Deaf, _) => {
                let master = format!("10.77.{}.1/32", host.number);
                host.there("ip", &["route", "add", "blackhole", &master])
            }
            (OnHost::Reset, _) if rng.bool() => host.here("ss", &["-K", "dst", &address]),
            (OnHost::Reset, _) => host.there("ss", &["-K", "src", &address]),
            (OnHost::SmallMtuThere, _) => host.there("ip", &["link", "set", &far, "mtu", "750"]),
            (OnHost::SmallMtuHere, _) => host.here("ip", &["link", "set", &near, "mtu", "750"]),
            (OnHost::Slow, true) => queue(&["netem", "delay", "150ms", "50ms", "rate", "2mbit"]),
            (OnHost::Lossy, true) => queue(&["netem", "loss", "20%", "delay", "5ms"]),
            (OnHost::Slow, false) => {
                queue(&["tbf", "rate", "1mbit", "burst", "4kb", "latency", "300ms"])
            }
            (OnHost::Lossy, false) => {
                queue(&["tbf", "rate", "1mbit", "burst", "2kb", "limit", "3000"])
            }
        };
        done.unwrap_or_else(|why| panic!("{}: {why}", self.name()));
        Some("begun".to_owned())
    }

    fn end(&mut self, scene: &mut Scene) {
        let Some(host) = scene.host.as_ref() else { return };
        let (near, far) = (host.near(), host.far());
        let done = match self.0 {
            OnHost::CutHere => host.here("ip", &["link", "set", &near, "up"]),
            OnHost::CutThere => host.there("ip", &["link", "set", &far, "up"]),
            OnHost::Deaf => {
                let master = format!("10.77.{}.1/32", host.number);
                host.there("ip", &["route", "del", "blackhole", &master])
            }
            OnHost::Reset => Ok(()),
            OnHost::SmallMtuThere => host.there("ip", &["link", "set", &far, "mtu", "1500"]),
            OnHost::SmallMtuHere => host.here("ip", &["link", "set", &near, "mtu", "1500"]),
            // Both may be there: the second one to end finds nothing any more.
            OnHost::Slow | OnHost::Lossy => {
                let _ = host.here("tc", &["qdisc", "del", "dev", &near, "root"]);
                let _ = host.there("tc", &["qdisc", "del", "dev", &far, "root"]);
                Ok(())
            }
        };
        done.unwrap_or_else(|why| panic!("the end of {}: {why}", self.name()));
    }
}

/// What happens behind a proxy.
#[derive(Clone, Copy, Debug)]
enum OnProxy {
    /// Nothing moves, connections stay open.
    Stalled,
    /// A few bytes a second.
    Drips,
    /// Connections are accepted and never answered.
    Silent,
    /// Every connection breaks off.
    BrokenOff,
}

struct ProxyFault(usize, OnProxy);

impl ProxyFault {
    fn proxy<'s>(&self, scene: &'s Scene) -> &'s Proxy {
        scene.world.remotes[self.0].proxy()
    }
}

impl Fault for ProxyFault {
    fn name(&self) -> String {
        format!("proxy {:?} before slave {}", self.1, self.0)
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        let proxy = self.proxy(scene);
        match self.1 {
            OnProxy::Stalled => proxy.rate(0),
            OnProxy::Drips => proxy.rate(rng.u64(10..20_000)),
            OnProxy::Silent => {
                proxy.silent(true);
                proxy.break_off();
            }
            OnProxy::BrokenOff => proxy.break_off(),
        }
        Some("begun".to_owned())
    }

    fn end(&mut self, scene: &mut Scene) {
        let proxy = self.proxy(scene);
        match self.1 {
            OnProxy::Stalled | OnProxy::Drips => proxy.rate(FAST),
            OnProxy::Silent => {
                proxy.silent(false);
                proxy.break_off();
            }
            OnProxy::BrokenOff => {}
        }
    }
}

/// Those that are possible here.
pub fn faults(scene: &Scene) -> Faults {
    use OnHost::*;
    let mut all: Faults = Vec::new();
    let mut proxied = vec![PROXIED];
    if scene.host.is_some() {
        let on_host = [CutHere, CutThere, Deaf, Reset, SmallMtuThere, SmallMtuHere, Slow, Lossy];
        on_host.into_iter().for_each(|what| all.push(Box::new(HostFault(what))));
    } else {
        proxied.push(HOST);
    }
    for slave in proxied {
        for what in [OnProxy::Stalled, OnProxy::Drips, OnProxy::Silent, OnProxy::BrokenOff] {
            all.push(Box::new(ProxyFault(slave, what)));
        }
    }
    all
}
