//! The input and output of rsync. Pure.
//!
//! Input: [`argv`] and its forms, to a [`peer`], with the user's own [`params`] according to the table of [`options`],
//! less what a daemon has [`refused`]; over [`ssh`]; with a [`trash`] on the remote. Output: [`itemize`]d lines, the
//! [`exit_status`] with each [`complaint`] on stderr, and from both of them how two sides [`differ`] and what is
//! [`excluded`] on the remote. [`charset`] converts names.

pub mod argv;
pub mod charset;
pub mod complaint;
pub mod differ;
pub mod excluded;
pub mod exit_status;
pub mod itemize;
pub mod needs;
pub mod options;
pub mod params;
pub mod peer;
pub mod refused;
pub mod ssh;
pub mod trash;
