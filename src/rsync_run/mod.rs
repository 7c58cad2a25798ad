//! One rsync at work: [`run`] is it under its [`watchdog`], with the [`patience`] that its peer is due; [`dry_run`] is
//! one that compares two sides and changes nothing.

pub mod dry_run;
pub mod patience;
pub mod run;
pub mod watchdog;
