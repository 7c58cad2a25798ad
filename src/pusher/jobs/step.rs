//! The steps of a push: the rsyncs that a plan needs, and how each is started.

use super::new_names::NewNames;
use crate::path::RelPath;
use crate::pusher::context::{Context, Sent};
use crate::pusher::job_error::JobError;
use crate::pusher::plan::{BULKY, Plan};
use crate::pusher::standby::Needs;
use crate::pusher::whole::{self, Along};
use crate::rsync::argv::{self, Check, Form, Options};
use crate::rsync::params::{self, OwnFilters};
use crate::stat::Kind;
use crate::sys::files::Root;
use crate::sys::rsync::Rsync;
use std::collections::{BTreeSet, VecDeque};
use tempfile::NamedTempFile;

/// The most bytes that are compared by content with others, so that one rsync is enough.
const READ_MOST: u64 = 1 << 20;
/// The most of these files.
const READ_FILES_MOST: usize = 100;

/// One rsync of a push.
pub enum Step {
    /// Gives what was moved its new names on the remote, so that it is not sent again. It proves nothing, and its failure
    /// means nothing: the next steps make the remote equal.
    Rename(NewNames),
    /// Lists what the remote has below absent directories: names there that the filter excludes must stay.
    Below {
        /// The absent names.
        names: Vec<RelPath>,
        /// Puts them at risk in the dry run.
        rules: NamedTempFile,
    },
    /// The same if the user's parameters contain filter rules: lists what rsync would delete in the parents.
    Extraneous {
        /// The absent names.
        names: Vec<RelPath>,
    },
    /// Deletes by form B.
    Delete {
        /// The names, each with everything below it.
        names: Vec<RelPath>,
        /// The existing local directories that are listed to reach them.
        from: Vec<RelPath>,
        /// Puts the names at risk.
        rules: NamedTempFile,
    },
    /// The same for names that may contain excluded ones, which the rules keep. If they keep anything, [`Step::Below`]
    /// follows.
    DeleteExcept {
        /// The names.
        names: Vec<RelPath>,
        /// The existing local directories that are listed to reach them.
        from: Vec<RelPath>,
        /// Puts the names at risk, but not what is excluded, or nothing below them.
        rules: NamedTempFile,
    },
    /// Deletes listed names with everything below them, if rules cannot be used.
    DeleteNamed {
        /// The names.
        names: Vec<RelPath>,
        /// The existing local directories whose times the deletions change.
        from: Vec<RelPath>,
    },
    /// Lists the directories on the remote that these names would replace, because they may contain excluded names.
    Way {
        /// The existing names that are not directories.
        names: Vec<RelPath>,
    },
    /// Sends present names and, in form A, deletes absent ones.
    Entries {
        /// The names.
        paths: Vec<RelPath>,
        /// Form A or the sending half of form B.
        form: Form,
        /// What shows that a file need not be sent.
        check: Check,
        /// A directory on the remote may be deleted with its contents.
        force: bool,
        /// Directories of many of these names, with [`Form::SendWhole`]. rsync reads them itself.
        directories: BTreeSet<RelPath>,
    },
    /// Sends directories with everything below them.
    Trees {
        /// The directories.
        paths: Vec<RelPath>,
        /// What leaves out excluded names.
        form: Form,
        /// A directory on the remote may be deleted with its contents.
        force: bool,
    },
    /// Checks whether files that were just pushed have the right times on the remote.
    Times {
        /// The files.
        files: BTreeSet<RelPath>,
        /// Times that differ by at most this number of seconds are equal.
        window: i32,
    },
    /// Mode, owner and times of the root itself.
    Root,
}

impl Step {
    /// The names that this step is responsible for.
    pub fn names(&self) -> Vec<RelPath> {
        match self {
            Step::Below { names, .. }
            | Step::Extraneous { names }
            | Step::Way { names }
            | Step::DeleteNamed { names, .. }
            | Step::DeleteExcept { names, .. }
            | Step::Delete { names, .. } => names.clone(),
            Step::Entries { paths, .. } | Step::Trees { paths, .. } => paths.clone(),
            // Its result is no failure of these files.
            Step::Times { .. } | Step::Rename(_) => Vec::new(),
            Step::Root => vec![RelPath::root()],
        }
    }

    /// The directories that rsync reads.
    pub fn read(&self) -> impl Iterator<Item = &RelPath> {
        let directories = match self {
            Step::Entries { directories, .. } => Some(directories),
            _ => None,
        };
        directories.into_iter().flatten()
    }

    /// The same step name by name, if rsync reads directories itself. It may then have failed because of a name that is
    /// not in the list.
    pub fn by_name(&mut self) -> Option<Step> {
        let Step::Entries { paths, check, force, directories, .. } = self else { return None };
        let read = !directories.is_empty();
        read.then(|| send(std::mem::take(paths), *check, *force)).flatten()
    }

    /// True if it replaces every file.
    pub fn replaces(&self) -> bool {
        matches!(self, Step::Entries { check: Check::Nothing, .. })
    }

    /// True if it keeps a directory with content that the remote has in the place of a file that is gone. What is
    /// below it is then listed, and what is not excluded deleted.
    pub fn keeps_directories(&self) -> bool {
        matches!(self, Step::Entries { force: false, .. })
    }

    /// True if it is a dry run.
    pub fn is_dry_run(&self) -> bool {
        match self {
            Step::Below { .. } | Step::Extraneous { .. } | Step::Way { .. } => true,
            Step::Times { .. } => true,
            Step::Rename(_) | Step::Delete { .. } | Step::DeleteNamed { .. } => false,
            Step::DeleteExcept { .. } => false,
            Step::Entries { .. } | Step::Trees { .. } | Step::Root => false,
        }
    }

    /// What shows that a file need not be sent. In a dry run, it shows that a file could be pushed: if comparisons treat
    /// different times as equal, only the content does.
    fn check(&self, context: &Context, dry: bool) -> Check {
        let Step::Entries { check, .. } = self else { return Check::Quick };
        match check {
            Check::Quick if dry && context.treats_times_as_equal() => Check::Content,
            Check::Nothing if dry => Check::Content,
            Check::Quick | Check::Content | Check::Nothing => *check,
        }
    }

    /// Bytes that the remote reads to compare by content.
    pub fn bytes_by_content(&self, context: &Context, root: &Root, dry: bool) -> u64 {
        let Step::Entries { paths, .. } = self else { return 0 };
        if self.check(context, dry) != Check::Content {
            return 0;
        }
        paths.iter().filter_map(|path| root.lstat(path).ok()).map(|stat| stat.size).sum()
    }

    /// The step that sets the times of the directories above after names were deleted by name: in the list of those, a
    /// directory that vanishes before rsync reads it would be deleted with everything in it, excluded names too.
    pub fn times_above(&self) -> Option<Step> {
        let Step::DeleteNamed { from, .. } = self else { return None };
        send(from.iter().filter(|path| !path.is_root()).cloned().collect(), Check::Quick, false)
    }

    /// Starts its rsync. With `dry` it changes nothing.
    pub fn start(&self, context: &Context, root: &Root, dry: bool) -> Result<Rsync, JobError> {
        let options = Options {
            check: Check::Quick,
            dry: dry || self.is_dry_run(),
            delete: context.delete(),
            force: true,
            stats: true,
            unchanged: false,
        };
        match self {
            Step::Rename(names) => context.rename(names.directory(), options, &names.list()),
            Step::Below { names, rules } => {
                let form = Form::DeleteB { rules: rules.path().to_owned() };
                context.rsync(root, &form, options, &argv::list_directories(&parents(names)))
            }
            Step::Extraneous { names } => context.rsync(
                root,
                &Form::Children,
                options,
                &argv::list_directories(&parents(names)),
            ),
            Step::Delete { from, rules, .. } | Step::DeleteExcept { from, rules, .. } => {
                let form = Form::DeleteB { rules: rules.path().to_owned() };
                context.rsync(root, &form, options, &argv::list_directories(from))
            }
            Step::DeleteNamed { names, .. } => {
                context.rsync(root, &Form::DeleteNamed, options, &argv::list(names))
            }
            Step::Way { names } => context.rsync(root, &Form::Send, options, &argv::list(names)),
            Step::Entries { paths, form, force, directories, .. } => {
                let check = self.check(context, dry);
                let options = Options { check, force: *force, ..options };
                let list = argv::list_whole(paths, directories);
                context.send(root, form, options, &list, Sent::These(paths))
            }
            Step::Trees { paths, form, force } => {
                let options = Options { force: *force, ..options };
                context.send(root, form, options, &argv::list(paths), Sent::Any)
            }
            Step::Times { files, window } => {
                context.check_times(root, options, &argv::list(files), *window)
            }
            Step::Root => context.rsync(root, &Form::Root, options, b""),
        }
    }
}

/// The steps that make the remote equal to what the plan found locally. They may send more `along`.
pub fn steps(
    context: &Context,
    root: &Root,
    plan: &Plan,
    along: Along,
) -> Result<VecDeque<Step>, JobError> {
    let mut steps = VecDeque::new();
    // Before the old names go.
    steps.extend(NewNames::of(context, root, &plan.renamed).map(Step::Rename));
    // If names are converted, rules are not. So the remote's names are listed, and deleted by name.
    let rules = context.has_rules();
    // Names may be excluded, so what is below a name is listed before it is deleted.
    let careful = context.is_careful();
    let unsure = |may_be_dir: bool| rules || (may_be_dir && careful);
    let absent = |listed: bool| {
        let some = plan.absent.iter().filter(move |absent| unsure(absent.may_be_dir) == listed);
        some.map(|absent| absent.path.clone()).collect::<Vec<_>>()
    };
    let (listed, sure) = (absent(true), absent(false));
    if !listed.is_empty() && rules {
        steps.push_back(Step::Extraneous { names: listed });
    } else {
        let expressed = context.filter.is_expressible();
        let ruled = |path: &RelPath| expressed && !argv::too_long_for_a_rule(path);
        let (ruled, looked): (Vec<_>, Vec<_>) = listed.into_iter().partition(ruled);
        steps.extend(delete_except(context, ruled)?);
        steps.extend(look_below(context, looked)?);
    }
    let in_the_way = |path: &&RelPath| careful && plan.in_the_way.contains(*path);
    let dirs = plan.tree.iter().chain(&plan.children).filter(|path| !path.is_root());
    let present = plan.present.iter().chain(dirs).filter(|path| !in_the_way(path));
    let present: BTreeSet<RelPath> = present.cloned().collect();
    let by_content: Vec<RelPath> =
        plan.checksum.iter().filter(|path| !in_the_way(path)).cloned().collect();
    let mut present: Vec<RelPath> = present.into_iter().collect();
    // Another rsync costs more than reading a few small files.
    let few = plan.present_bytes <= READ_MOST && present.len() <= READ_FILES_MOST;
    let needs = Needs { deletes: !sure.is_empty(), by_content: !by_content.is_empty() };
    let does = if few { context.suit_standby(needs) } else { needs };
    let together = few && does.by_content;
    if together {
        present.extend(by_content.iter().cloned());
        present.sort_unstable();
    }
    let does = Needs { by_content: together, ..does };
    // A name that is gone when rsync looks would be deleted there, if deletions are in the same list. After an unmount
    // everything below looks gone (rule 6).
    let mounts = if does.deletes { context.journal.mounts()? } else { Default::default() };
    let at_a_mount = |path: &RelPath| mounts.iter().any(|m| path.is_within(m) || m.is_within(path));
    let (apart, present): (Vec<_>, Vec<_>) = present.into_iter().partition(at_a_mount);
    steps.extend(entries(context, root, sure, (present, along), does, !careful)?);
    steps.extend(send_whole(context, root, (apart, along), Check::by_content(together), !careful));
    if !plan.whole.is_empty() {
        let options = context.filter.as_rsync_options().unwrap_or_default();
        let paths = plan.whole.clone();
        let form = match paths.iter().any(RelPath::is_root) {
            true => Form::SendEverything { options },
            false => Form::SendTrees { options },
        };
        steps.push_back(Step::Trees { paths, form, force: !careful });
    }
    steps.extend(send(plan.replace.clone(), Check::Nothing, !careful));
    if !together {
        steps.extend(send_whole(context, root, (by_content, along), Check::Content, !careful));
    }
    let way = plan.present.iter().chain(&plan.checksum).filter(in_the_way);
    let way: Vec<RelPath> = way.cloned().collect();
    if !way.is_empty() {
        steps.push_back(Step::Way { names: way });
    }
    if plan.root {
        steps.push_back(Step::Root);
    }
    Ok(steps)
}

/// Deletes `absent` names and sends `present` ones: one rsync in form A, two in form B. It may do more than it needs.
fn entries(
    context: &Context,
    root: &Root,
    absent: Vec<RelPath>,
    (present, along): (Vec<RelPath>, Along),
    does: Needs,
    force: bool,
) -> Result<Vec<Step>, JobError> {
    let check = Check::by_content(does.by_content);
    if absent.is_empty() && present.is_empty() {
        return Ok(Vec::new());
    }
    if !context.form_b() && does.deletes {
        let form = Form::Batch { delete: true };
        let directories = BTreeSet::new();
        let batch = |paths| Step::Entries { paths, form, check, force, directories };
        // The two processes of a receiver create directories in the trash independently: one deletes, the other
        // overwrites, and the second one to create a directory fails.
        if context.start.remote.trash_keep_ms.is_some() {
            let send = send_whole(context, root, (present, along), check, force);
            return Ok([batch(absent)].into_iter().chain(send).collect());
        }
        return Ok(vec![batch(absent.into_iter().chain(present).collect())]);
    }
    let mut steps = Vec::new();
    if !absent.is_empty() {
        let from = parents(&absent);
        if force {
            let delete = delete(context, absent, from)?;
            let times = delete.times_above();
            steps.push(delete);
            steps.extend(times);
        } else {
            // The remote may have a directory in the place of a file, and excluded names in it.
            let rules = context.rules_file(&argv::risk_rules(&[], &absent))?;
            steps.push(Step::DeleteExcept { names: absent, from, rules });
        }
    }
    steps.extend(send_whole(context, root, (present, along), check, force));
    Ok(steps)
}

/// A step that sends existing names. None if there are no names. Where many names of a directory are among them, rsync
/// reads the directory. It must then exclude the same names as the filter, because a new name may appear before that.
///
/// What it sends along is small. If that changes, it is marked, and pushed again after this push.
fn send_whole(
    context: &Context,
    root: &Root,
    (paths, along): (Vec<RelPath>, Along),
    check: Check,
    force: bool,
) -> Option<Step> {
    let own = params::own_filters(&context.start.remote.peer.params);
    // What rsync reads by itself may have two names there.
    let single = own != OwnFilters::None || !context.linked.is_empty();
    let options = context.filter.as_rsync_options().filter(|_| !single);
    let Some(options) = options else { return send(paths, check, force) };
    let names = |directory: &RelPath, most: usize| {
        context.supervisor.beat();
        let names = root.subdir(directory).ok()?.some_names(most).ok()?;
        Some(names.into_iter().map(|name| (name.name, name.kind)).collect())
    };
    let most = BULKY.min(context.start.localpath.large_file_bytes);
    let small = |path: &RelPath| {
        root.lstat(path).is_ok_and(|s| s.kind == Kind::File && s.size < most && !s.sparse)
    };
    let along = match along {
        Along::SmallFiles => check == Check::Quick && !context.hard_links(),
        Along::Nothing => false,
    };
    let directories = whole::directories(&paths, names, |path| along && small(path));
    if directories.is_empty() {
        return send(paths, check, force);
    }
    Some(Step::Entries { paths, form: Form::SendWhole { options }, check, force, directories })
}

/// The same name by name.
pub fn send(paths: Vec<RelPath>, check: Check, force: bool) -> Option<Step> {
    let (form, directories) = (Form::Send, BTreeSet::new());
    (!paths.is_empty()).then_some(Step::Entries { paths, form, check, force, directories })
}

/// A step that deletes `names` with everything below them, except what is excluded. None if there are no names.
fn delete_except(context: &Context, names: Vec<RelPath>) -> Result<Option<Step>, JobError> {
    if names.is_empty() {
        return Ok(None);
    }
    let (patterns, files) = (&context.filter.patterns().exact, context.filter.file_patterns());
    let rules = context.rules_file(&argv::risk_rules_except(&names, patterns, files))?;
    Ok(Some(Step::DeleteExcept { from: parents(&names), names, rules }))
}

/// A step that lists what the remote has below `names`. None if there are no names.
pub fn look_below(context: &Context, names: Vec<RelPath>) -> Result<Option<Step>, JobError> {
    if names.is_empty() {
        return Ok(None);
    }
    let rules = context.rules_file(&argv::risk_rules(&names, &[]))?;
    Ok(Some(Step::Below { names, rules }))
}

/// A step that deletes `names` with everything below them by form B. `from` are the existing directories that contain
/// them.
pub fn delete(
    context: &Context,
    names: Vec<RelPath>,
    from: Vec<RelPath>,
) -> Result<Step, JobError> {
    if context.converts() && !context.remote_state.form_b {
        return Ok(Step::DeleteNamed { names, from });
    }
    let rules = context.rules_file(&context.risk_rules(&names).unwrap_or_default())?;
    Ok(Step::Delete { names, from, rules })
}

/// The names below absent names that may be deleted: everything except what `keep` selects, and the directories above
/// that. If nothing below a name stays, only the topmost name is returned.
pub fn deletable(found: &[(RelPath, bool)], keep: impl Fn(&RelPath, bool) -> bool) -> Vec<RelPath> {
    let mut stays = BTreeSet::new();
    for (path, is_dir) in found {
        if keep(path, *is_dir) {
            stays.extend(path.prefixes());
        }
    }
    let goes: BTreeSet<&RelPath> =
        found.iter().map(|(path, _)| path).filter(|p| !stays.contains(*p)).collect();
    let covered = |path: &RelPath| path.parent().is_some_and(|parent| goes.contains(&parent));
    goes.iter().filter(|path| !covered(path)).map(|&path| path.clone()).collect()
}

/// The parents of the names, each once.
pub fn parents<'a>(names: impl IntoIterator<Item = &'a RelPath>) -> Vec<RelPath> {
    let all: BTreeSet<RelPath> = names.into_iter().filter_map(RelPath::parent).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excluded_names_and_directories_above_them_stay() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let found: Vec<_> = [
            ("d/a", false),
            ("d/e/x", false),
            ("d/e/keep", false),
            ("d/e", true),
            ("d/f/y", false),
        ]
        .into_iter()
        .chain([("d/f", true), ("d", true), ("g", false)])
        .map(|(p, dir)| (path(p), dir))
        .collect();
        let goes = deletable(&found, |p, _| p.name() == "keep");
        assert_eq!(goes, ["d/a", "d/e/x", "d/f", "g"].map(path));
        assert_eq!(deletable(&found, |_, _| false), ["d", "g"].map(path));
    }
}
