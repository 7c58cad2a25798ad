//! YAML as text. This is the only file that uses the crate that writes it. serde_yaml is archived upstream; it is not
//! used for reading.

use crate::error::{Error, Result};
use crate::language::say;
use serde_yaml::Value;

pub use serde_yaml::{Mapping, Value as YamlValue};

/// Adds a key at the end of a mapping.
pub fn insert(map: &mut Mapping, key: &str, value: impl Into<Value>) {
    map.insert(Value::from(key), value.into());
}

/// The text of a mapping, its keys in their order.
pub fn write(map: &Mapping) -> Result<String> {
    serde_yaml::to_string(map)
        .map_err(|e| Error::usage(say!("the configuration cannot be written as YAML: {}", e)))
}
