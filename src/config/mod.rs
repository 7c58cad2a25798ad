//! Configuration: bytes of a `confxml.xml` or a YAML file -> validated [`model`], all errors at once.

pub mod confxml;
mod confxml_plugin;
pub mod diagnostic;
mod lint;
pub mod model;
mod params;
mod values;
mod xml;
