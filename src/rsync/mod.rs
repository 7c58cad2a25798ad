//! What rsync is told and what it answers. Pure.
//!
//! Told: [`argv`] and its forms, to a [`peer`], with the user's own [`params`] out of the table of [`options`], less what
//! a daemon has [`refused`]; over [`ssh`]; with a [`trash`] there. Answered: [`itemize`]d lines, the [`exit_status`] with
//! each [`complaint`] on stderr, and with both of them where two sides [`differ`] and what is [`excluded`] there.
//! [`charset`] is for what converts names.

pub mod argv;
pub mod charset;
pub mod complaint;
pub mod differ;
pub mod excluded;
pub mod exit_status;
pub mod itemize;
pub mod options;
pub mod params;
pub mod peer;
pub mod refused;
pub mod ssh;
pub mod trash;
