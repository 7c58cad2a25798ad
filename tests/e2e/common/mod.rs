//! What the tests share: real daemons, trees, churn, the real program, and waiting.

pub mod churn;
pub mod disk;
pub mod fuse;
pub mod hostile;
pub mod instance;
pub mod namespace;
#[cfg(debug_assertions)]
pub mod orders;
pub mod procs;
pub mod proxy;
pub mod pty;
pub mod rsyncd;
pub mod script;
pub mod sshd;
pub mod sshworld;
pub mod tree;
pub mod wait;
pub mod world;
