//! How real rsyncs behave, as the pusher calls them: the installed one, and one whose `--delete-missing-args` is broken.

mod deletions;
mod exit_status;
mod forms;
mod options;
pub mod rig;
mod trash;
