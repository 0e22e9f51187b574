//! Reads configuration files of any format and reports all their problems with line, column and
//! the nearest valid key.
//!
//! `problem` collects the problems, and `shape` knows the keys of a file and suggests the nearest.
//! Nothing here knows what a key means.

mod problem;
mod shape;

pub use problem::{ConfigError, Problem};
pub(crate) use problem::{LineCounter, Location, Problems, UnreliableRegions};
pub(crate) use shape::{KeyPath, Schema, Shape, nearest};
