//! Properties of the parsers of outside input, for the fuzzer in `fuzz/` and for `corpora`.
//!
//! Each target accepts any bytes and panics if a property does not hold. It compares with an
//! independent implementation where possible: serde_json, jiff, a slower one, or equivalent input.
//!
//! - `service`, `lenient`: responses of the Wickr API
//! - `files`: configurations and the state file
//! - `clients`: requests to the web server
//! - `output`: expositions and lists

mod clients;
mod files;
mod lenient;
mod output;
mod service;

pub use clients::{authorization, certificates, negotiation, queries, requests};
pub use files::{config, state, web_config};
pub use lenient::collectors;
pub use output::{exposition, listing};
pub use service::{devices, directory, errors, timestamps};

pub type Target = fn(&[u8]);

/// Named like the programs in `fuzz/` and the folders in `tests/corpora`.
pub const TARGETS: [(&str, Target); 15] = [
    ("authorization", authorization),
    ("certificates", certificates),
    ("collectors", collectors),
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
