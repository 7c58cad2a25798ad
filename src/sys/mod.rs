//! The system: the only module that uses nix, rustix, signal-hook and inotify.

pub mod begin;
pub mod channel;
pub mod clock;
pub mod descriptors;
pub mod family;
pub mod files;
pub mod inotify;
pub mod lock;
pub mod log;
pub mod mounts;
pub mod output;
pub mod own;
pub mod poll;
pub mod port;
pub mod process;
pub mod procfs;
pub mod program;
pub mod script;
pub mod session;
pub mod signals;
pub mod ssh;
pub mod sysctl;
pub mod terminal;
pub mod umask;
pub mod wake;
