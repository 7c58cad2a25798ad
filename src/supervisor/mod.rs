//! The supervisor.

pub mod child;
pub mod control;
pub mod names;
pub mod notify;
pub mod schedule;
pub mod slots;
#[cfg(test)]
mod testing;
pub mod topology;
