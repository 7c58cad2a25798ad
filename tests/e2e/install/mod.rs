//! Installed: by make, by a package, under systemd, by an init script, for a user without root.

mod machine;
mod notify;
mod package;
mod script;
mod systemd;
mod user;
