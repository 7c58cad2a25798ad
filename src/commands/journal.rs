//! `syncsup journal`: what could not be pushed, what sersync left, and the journals of localpaths that are no longer
//! configured.

pub mod failures;
pub mod import;
pub mod prune;
