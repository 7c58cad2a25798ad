//! A running rsync: [`run`] runs it under its [`watchdog`], sees whether it is [`network_bound`], with the [`patience`] that its peer needs; [`dry_run`]
//! compares two sides and changes nothing.

pub(crate) mod dry_run;
pub(crate) mod network_bound;
pub(crate) mod patience;
pub(crate) mod run;
pub(crate) mod watchdog;
