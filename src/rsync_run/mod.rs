//! One rsync at work: [`run`] is it under its [`watchdog`], with the [`patience`] that its peer is due; [`dry_run`] is
//! one that compares two sides and changes nothing.

pub(crate) mod dry_run;
pub(crate) mod patience;
pub(crate) mod run;
pub(crate) mod watchdog;
