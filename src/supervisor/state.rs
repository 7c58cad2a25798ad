//! The supervisor's state: its options, its localpaths, its current tasks.

use super::InstanceOptions;
use super::active::Active;
use super::control::ClientId;
use super::localpath::{SharedState, SupervisedLocalPath};
use super::reporter::SupervisedReporter;
use super::sd_notify::SdNotify;
use super::slots::{SlotPool, default_limit};
use super::waiters::Waiter;
use crate::config::model::Config;
use crate::error::Result;
use crate::filter::own_files;
use crate::instance::directories::{self, instance};
use crate::instance::localpaths::{self, ConfiguredLocalPath};
use crate::message::Ticket;
use crate::reconcile_reason::ReconcileReason;
use crate::sys::session::monotonic;
use crate::sys::{clock, log};
use slog::info;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// The running supervisor.
pub(super) struct Supervisor {
    pub(super) options: InstanceOptions,
    pub(super) config: Config,
    pub(super) localpaths: Vec<SupervisedLocalPath>,
    pub(super) shared: SharedState,
    pub(super) reporter: SupervisedReporter,
    pub(super) systemd: SdNotify,
    /// The clients that requested the stop. They are answered when it is complete.
    pub(super) last_answers: Vec<ClientId>,
    pub(super) stopping: bool,
    /// The clients of `syncsup wait`.
    pub(super) waiters: Vec<Waiter>,
    pub(super) last_ticket: Ticket,
    /// The wall-clock time of its start, in milliseconds.
    pub(super) since_ms: i64,
    /// Every localpath is watched, or is not for a reason that was reported.
    pub(super) started: bool,
    /// The time of the next progress report of `-r`.
    pub(super) follow_at: Option<Duration>,
    pub(super) next_alive: Option<Duration>,
    pub(super) next_reap: Duration,
    pub(super) next_summary: Duration,
    /// Fail logs that could not be written.
    pub(super) unwritten: BTreeMap<PathBuf, log::Seldom>,
}

impl Supervisor {
    /// Opens every localpath. Starts no child.
    pub(super) fn new(options: InstanceOptions, config: Config, log: slog::Logger) -> Result<Self> {
        let now = monotonic();
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let limit = options.slots.unwrap_or_else(|| default_limit(cores));
        let slots = SlotPool::new(limit);
        let mut shared = SharedState {
            log,
            slots,
            granted: vec![],
            active: Active::default(),
            short: vec![],
            next_key: 1,
            fail_logs: BTreeSet::new(),
            run_dir: options.directories.run.clone(),
            instance: instance(&options.files),
            files: options.files.clone(),
            module: options.module.clone(),
        };
        let reconcile = options.reconcile.then_some(&ReconcileReason::AtStart);
        let state = &options.directories.state;
        let localpaths = Self::configured(&options, &config)
            .into_iter()
            .map(|w| SupervisedLocalPath::open(w, state, reconcile, &mut shared, now))
            .collect::<Result<Vec<SupervisedLocalPath>>>()?;
        let (systemd, last_answers) = (SdNotify::from_env(), vec![]);
        let reporter = SupervisedReporter::new(config.http.clone(), options.debug, &shared.log);
        let next_alive = systemd.watchdog().map(|_| now);
        info!(shared.log, "starting"; "pid" => std::process::id(), "localpaths" => localpaths.len(), "slots" => limit);
        Ok(Self {
            options,
            config,
            localpaths,
            shared,
            reporter,
            systemd,
            last_answers,
            stopping: false,
            waiters: Vec::new(),
            last_ticket: 0,
            since_ms: clock::wall_ms(),
            started: false,
            follow_at: None,
            next_alive,
            next_reap: now,
            next_summary: now,
            unwritten: BTreeMap::new(),
        })
    }

    /// The children that `config` requires.
    pub(super) fn configured(
        options: &InstanceOptions,
        config: &Config,
    ) -> Vec<ConfiguredLocalPath> {
        let mut configured = localpaths::configured(config);
        for w in &mut configured {
            w.debug |= options.debug;
            if let Some(kind) = &options.module {
                // It may run beside an instance that replicates the same directory.
                w.id = directories::with_module(&w.id, kind);
            }
            let l = &mut w.localpath;
            let fail_log = l.fail_log.iter().map(|f| f.path.as_path());
            let own = [options.directories.state.as_path(), options.directories.run.as_path()];
            l.filter.inside = own_files(l.watch.as_path(), own.into_iter().chain(fail_log));
        }
        configured
    }

    /// An unused ticket. Another supervisor may have issued any small number.
    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.last_ticket = (self.last_ticket + 1).max(clock::wall_ns().unsigned_abs());
        self.last_ticket
    }
}
