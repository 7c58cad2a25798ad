//! Every form of a push against real rsync daemons: the installed one, and one whose `--delete-missing-args` is broken.

mod deletions;
mod rig;
mod rsync_forms;
