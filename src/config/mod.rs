//! The configuration.

mod listen;

pub use listen::{BadListenAddress, ListenAddress};
