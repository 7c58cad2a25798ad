//! A real pusher between a journal that the test writes and a real rsync daemon.

#[path = "../rsync_forms/rig.rs"]
mod rig;

mod bench;
mod guard;
mod jobs;
mod marks;
mod trouble;
