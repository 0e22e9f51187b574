//! The targets of `tests/it/targets`, for the programs in `fuzz_targets`.

#[path = "../../tests/it/targets/mod.rs"]
mod targets;

pub use targets::*;
