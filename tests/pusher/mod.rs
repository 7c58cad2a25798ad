//! A real pusher between a journal that the test writes and a real rsync daemon.

mod bench;
mod guard;
mod marks;
mod trouble;
