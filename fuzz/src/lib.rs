//! The targets of `tests/it/targets`, for the programs beside this, each of which runs one.

#[path = "../../tests/it/targets/mod.rs"]
mod targets;

pub use targets::*;
