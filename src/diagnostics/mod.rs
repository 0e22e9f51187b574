//! Reads configuration files and reports all their problems, with line, column and nearest key.
//!
//! 1. `toml` and `yaml` parse text into one `tree` of values with offsets.
//! 2. `table` reads the tree key by key, with the list of keys in `shape`, which suggests the
//!    nearest key for an unknown one.
//! 3. `problem` collects the problems and converts offsets to lines and columns.
//!
//! Nothing here knows what a key means.

mod problem;
mod shape;
mod table;
pub(crate) mod toml;
mod tree;
pub(crate) mod yaml;

pub use problem::{ConfigError, Problem};
pub(crate) use problem::{Location, Problems, decode};
#[cfg(test)]
pub(crate) use shape::KeyPath;
pub(crate) use shape::{Schema, Shape, nearest, schema};
pub(crate) use table::{Field, Parsed, Table};
pub(crate) use tree::{Node, Value, quoted};
