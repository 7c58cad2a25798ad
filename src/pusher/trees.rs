//! Which directories are pushed whole: by rsync's own recursion instead of name by name, which costs a third.

use super::context::Context;
use super::walk;
use crate::path::RelPath;
use crate::rsync::params::{self, OwnFilters};
use crate::stat::Kind;
use crate::sys::files::Root;

/// The most names of a directory that is pushed whole: a change of one of them waits for the end of that push.
pub const NAMES_MOST: usize = 10_000;

/// What is below a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The names.
    pub names: usize,
    /// The bytes of the files. 0 if they were not examined.
    pub bytes: u64,
}

/// Whether [`size`] examines the files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// They are only counted.
    Counted,
    /// They are examined, and none may need a push of its own.
    Examined,
}

/// True if the remote can be sent whole directories: rsync then leaves out what the filter excludes, and nothing needs
/// to be known about single names.
pub fn can_be_sent(context: &Context) -> bool {
    let start = &context.start;
    !context.hard_links()
        && !context.converts()
        && start.remote.trash_keep_ms.is_none()
        && params::own_filters(&start.remote.peer.params) == OwnFilters::None
        && context.filter.is_expressible()
}

/// The size of a directory that can be pushed whole. `None` if it is too large for that, or contains what cannot be
/// pushed so: another file system, one of the `silent` ones that do not answer, a large or sparse file, something
/// unreadable.
pub fn size(
    context: &Context,
    root: &Root,
    directory: &RelPath,
    silent: &[RelPath],
    files: Files,
) -> Option<Size> {
    if directory.is_root() || walk::meets(silent, directory) {
        return None;
    }
    let device = root.subdir(directory).ok()?.stat.dev;
    let (mut found, mut left) = (Size::default(), vec![directory.clone()]);
    while let Some(directory) = left.pop() {
        context.supervisor.beat();
        let open = root.subdir(&directory).ok().filter(|open| open.stat.dev == device)?;
        let names = open.some_names(NAMES_MOST + 1 - found.names).ok()?;
        found.names += names.len();
        if found.names > NAMES_MOST {
            return None;
        }
        for name in names {
            let path = directory.join(&name.name);
            match walk::kind(root, &path, &name)? {
                Kind::Dir if !context.filter.excludes(&path, true) => left.push(path),
                Kind::File if files == Files::Examined => {
                    let stat = root.lstat(&path).ok()?;
                    if stat.size >= context.start.localpath.large_file_bytes || stat.sparse {
                        return None;
                    }
                    found.bytes += stat.size;
                }
                _ => {}
            }
        }
    }
    Some(found)
}
