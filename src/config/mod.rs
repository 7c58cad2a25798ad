//! Configuration: bytes of a `confxml.xml` or a YAML file -> validated [`model`], all errors at once.

pub mod model;
