//! Configurations: what they mean, what they refuse, and where they say the error is.

mod characters;
mod common;
mod load;
mod xml;
mod yaml;
