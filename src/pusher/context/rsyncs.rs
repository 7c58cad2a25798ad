//! How the jobs start their rsyncs: the command line, its rules, and the standby that may do the work.

use super::{Context, Purpose};
use crate::figures;
use crate::path::RelPath;
use crate::pusher::job_error::JobError;
use crate::rsync::argv::{self, Form, Options, rules_prefix};
use crate::rsync::excluded::Shown;
use crate::rsync::params;
use crate::rsync::trash;
use crate::rsync_run::dry_run::DryRun;
use crate::sys::clock;
use crate::sys::fault_point::{Point, pass};
use crate::sys::files::Root;
use crate::sys::rsync::{Launch, Rsync};
use slog::debug;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// The largest number of excluded directories that a comparison gets as rules.
const EXCLUDED_MOST: usize = 10_000;

/// What a command line gets in addition to its form.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Extra<'r> {
    /// Rules that exclude names.
    pub(super) rules: &'r [u8],
    /// The purpose of the rsync.
    purpose: Purpose,
    /// Times that differ by at most this number of seconds are equal.
    window: Option<i32>,
}

/// The files that an rsync sends.
pub enum Sent<'a> {
    /// These names, as far as they are files.
    These(&'a [RelPath]),
    /// Whatever is there.
    Any,
}

impl Context {
    /// Starts one rsync in the open root.
    pub fn rsync(
        &self,
        root: &Root,
        form: &Form,
        options: Options,
        list: &[u8],
    ) -> Result<Rsync, JobError> {
        // A dry run below absent names must see excluded names on the remote. So only those that the remote cannot
        // enter are excluded.
        let known = self.excluded.borrow();
        let rules = argv::leave_out_rules(&[], [], known.shown(Shown::Complained), self.charsets);
        drop(known);
        let rules = if *form == Form::Root { Vec::new() } else { rules };
        self.start_rsync(
            root,
            form,
            options,
            list,
            Extra { rules: &rules, ..self.extra(form, options) },
        )
    }

    /// Starts an rsync that sends files in the open root. Sparse files stay sparse, if the remote allows it.
    pub fn send(
        &self,
        root: &Root,
        form: &Form,
        options: Options,
        list: &[u8],
        files: Sent<'_>,
    ) -> Result<Rsync, JobError> {
        let sparse = self.may_keep_sparse(options)
            && match files {
                Sent::These(paths) => {
                    paths.iter().any(|path| root.lstat(path).is_ok_and(|stat| stat.sparse))
                }
                Sent::Any => true,
            };
        let purpose = if sparse { Purpose::Sparse } else { Purpose::Plain };
        self.start_rsync(root, form, options, list, Extra { purpose, ..self.extra(form, options) })
    }

    fn may_keep_sparse(&self, options: Options) -> bool {
        !options.dry
            && !self.refuses_sparse.get()
            && params::leaves_sparse_open(&self.start.remote.peer.params)
    }

    /// Starts an rsync over placeholders, which gives files on the remote new names.
    pub fn rename(
        &self,
        placeholders: &Path,
        options: Options,
        list: &[u8],
    ) -> Result<Rsync, JobError> {
        let options = Options { delete: false, force: false, ..options };
        let extra = Extra { window: self.window, ..Extra::default() };
        let argv = self.command(&Form::Rename, options, &extra, None);
        debug!(self.log, "rsync"; "command" => format!("{argv:?}"), "list_bytes" => list.len());
        let launched = self.launch(&argv, placeholders).start_unprivileged(list);
        pass(Point::PusherRenames);
        launched.map_err(|e| self.cannot_start(&e))
    }

    /// Starts that check.
    pub fn check_times(
        &self,
        root: &Root,
        options: Options,
        list: &[u8],
        window: i32,
    ) -> Result<Rsync, JobError> {
        let extra = Extra { window: Some(window), ..Extra::default() };
        self.start_rsync(root, &Form::Send, options, list, extra)
    }

    /// Starts a dry run that compares directories, in the open root. It enters no excluded directory on either side.
    /// Also returns the local names that it leaves out because they cannot be converted.
    pub fn compare(
        &self,
        root: &Root,
        form: &Form,
        options: Options,
        list: &[u8],
    ) -> Result<(Rsync, Vec<RelPath>), JobError> {
        if let Some(why) = self.cannot_compare(&argv::listed(form, list))? {
            return Err(JobError::System(why));
        }
        let patterns = self.filter.patterns().with(self.converts());
        let here = match patterns.others {
            true => root.excluded_below(
                argv::listed(form, list),
                *form != Form::Children,
                EXCLUDED_MOST,
                |path| self.filter.excludes(path, true),
                || self.supervisor.beat(),
            ),
            false => Vec::new(),
        };
        let known = self.excluded.borrow();
        let there = known.shown(Shown::Listed);
        let unconvertible = match self.converts() {
            true => root.names_below(
                argv::listed(form, list),
                *form != Form::Children,
                |path| !self.can_convert(path) && !self.filter.excludes(path, true),
                |path| !self.filter.excludes(path, true),
                || self.supervisor.beat(),
            ),
            false => Vec::new(),
        };
        let left_out = there.chain(&unconvertible);
        let rules = argv::leave_out_rules(&patterns.exact, &here, left_out, self.charsets);
        drop(known);
        let extra = Extra { rules: &rules, purpose: Purpose::Compare, ..self.extra(form, options) };
        Ok((self.start_rsync(root, form, options, list, extra)?, unconvertible))
    }

    /// Why no rsync may read these directories now: it would read a mount point whose file system does not answer, even
    /// an excluded one.
    pub fn cannot_compare(&self, directories: &[RelPath]) -> Result<Option<String>, JobError> {
        let silent = self.journal.silent_mounts()?;
        let reads = |m: &&RelPath| directories.iter().any(|dir| m.is_within(dir));
        Ok(silent.iter().find(reads).map(|m| format!("{m}: the file system there does not answer")))
    }

    /// A comparison that was just started in `root`.
    pub fn dry_run(&self, rsync: Rsync, root: Root, now: Duration) -> DryRun {
        DryRun::new(rsync, root, self.start.remote.peer.timeout_s, self.patience, now)
    }

    /// What every rsync of this form gets in addition to its arguments.
    fn extra(&self, form: &Form, options: Options) -> Extra<'static> {
        let set = params::modify_window(&self.start.remote.peer.params).is_some();
        let window = self.window.filter(|_| argv::is_dry(form, options) && !set);
        Extra { window, ..Extra::default() }
    }

    /// A file with rules for an rsync.
    pub fn rules_file(&self, rules: &[u8]) -> Result<NamedTempFile, JobError> {
        let directory = &self.start.state_dir;
        let write = || {
            let mut file = NamedTempFile::with_prefix_in(rules_prefix(&self.name), directory)?;
            file.write_all(rules)?;
            Ok(file)
        };
        write().map_err(|e: io::Error| {
            JobError::System(format!("{}: cannot write a rules file: {e}", directory.display()))
        })
    }

    /// A name for a trash directory that no other rsync of this process has used: two versions of a file must not go
    /// into the same directory.
    fn stamp(&self) -> String {
        let us = (clock::wall_ns() / 1_000).max(self.stamped_us.get() + 1);
        self.stamped_us.set(us);
        trash::stamp(&figures::utc(us.div_euclid(1_000)), us)
    }

    fn cannot_start(&self, error: &io::Error) -> JobError {
        JobError::System(format!("{}: {error}", self.start.remote.peer.rsync_program))
    }

    /// How an rsync with this command line is started.
    pub fn launch<'a>(&'a self, argv: &'a [OsString], directory: &'a Path) -> Launch<'a> {
        let (envs, unset) = (argv::ENV, argv::ENV_REMOVE);
        let (scratch, confined) = (&*self.start.state_dir, self.confined.as_ref());
        Launch { argv, envs, unset, directory, scratch, confined }
    }

    fn start_rsync(
        &self,
        root: &Root,
        form: &Form,
        options: Options,
        list: &[u8],
        extra: Extra<'_>,
    ) -> Result<Rsync, JobError> {
        let rules = match extra.rules {
            [] => None,
            rules => Some(self.rules_file(rules)?),
        };
        let argv = self.command(form, options, &extra, rules.as_ref().map(NamedTempFile::path));
        let mut standby = self.standby.borrow_mut();
        if rules.is_none() && extra == Extra::default() && argv::can_wait(form, options) {
            standby.needed(form, options, &argv);
        }
        let fed = standby.feed(&argv, root, list);
        drop(standby);
        debug!(self.log, "rsync"; "command" => format!("{argv:?}"), "list_bytes" => list.len(),
            "standby" => fed.is_some());
        if let Some(rsync) = fed {
            pass(Point::PusherFed);
            return Ok(rsync);
        }
        let launched = self.launch(&argv, &root.proc_path()).start(list);
        launched.map(|rsync| rsync.reading(rules)).map_err(|e| self.cannot_start(&e))
    }

    /// The command line of an rsync that reads `rules`.
    pub(super) fn command(
        &self,
        form: &Form,
        options: Options,
        extra: &Extra<'_>,
        rules: Option<&Path>,
    ) -> Vec<OsString> {
        let mut argv = argv::argv(self.peer(), form, options);
        if self.start.remote.trash_keep_ms.is_some() && trash::is_needed(form, options) {
            trash::keep(&mut argv, &self.stamp());
        }
        if let Some(rules) = rules {
            argv::leave_out(&mut argv, rules);
        }
        if extra.purpose == Purpose::Sparse {
            argv::sparse(&mut argv);
        }
        if let Some(window) = extra.window {
            argv::within(&mut argv, window);
        }
        self.leave_out_refused(&mut argv, extra.purpose);
        argv
    }
}
