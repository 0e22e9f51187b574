//! What is held true of anything that may come from outside. The fuzzer in `fuzz/` looks for bytes
//! for which it is not; `corpora` replays what was kept of them.
//!
//! Each target takes any bytes at all, and panics if something is wrong. Where it can, it asks
//! somebody who does not know the code: serde_json's own tree, jiff's own reading of a time, a
//! second and slower way, or the same thing said in another way.
//!
//! - `service`: what the Wickr API answers
//! - `files`: the configurations and the state file
//! - `clients`: what clients of the web server send
//! - `output`: what is made of it for others to read

mod clients;
mod files;
mod output;
mod service;

pub use clients::{authorization, certificates, negotiation, queries, requests};
pub use files::{config, state, web_config};
pub use output::{exposition, listing};
pub use service::{devices, directory, errors, timestamps};

/// Something that is held true of any bytes.
pub type Target = fn(&[u8]);

/// All of them, by the names of the programs in `fuzz/` and the folders in `tests/corpora`.
pub const TARGETS: [(&str, Target); 14] = [
    ("authorization", authorization),
    ("certificates", certificates),
    ("config", config),
    ("devices", devices),
    ("directory", directory),
    ("errors", errors),
    ("exposition", exposition),
    ("listing", listing),
    ("negotiation", negotiation),
    ("queries", queries),
    ("requests", requests),
    ("state", state),
    ("timestamps", timestamps),
    ("web_config", web_config),
];
