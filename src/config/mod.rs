//! The configuration: a TOML file in, a [`Config`] out, or every mistake in it at once.
//!
//! Text becomes a [`Config`] in three steps, and each adds to one pile of problems instead of
//! stopping at the first:
//!
//! 1. `syntax`: the text to a tree of tables that know their places.
//! 2. `written`: the tree to values, key by key (`reader`), by the list of all keys (`shape`) and
//!    what each value must look like (`values`, `listen`, `filter`).
//! 3. `resolve`: networks, the shared tables and the defaults to what is `used`, and what
//!    contradicts what (`conflicts`).
//!
//! `problem` holds the pile and puts it into words. Nothing here reads the environment, the
//! command line or the network, and no message repeats what could be a secret: external ids,
//! endpoint addresses, and the values of keys that are unknown.

mod conflicts;
pub(crate) mod file;
mod filter;
mod listen;
mod problem;
mod reader;
mod resolve;
mod shape;
mod syntax;
mod used;
mod values;
mod written;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use filter::{BadPattern, BadStatus, FilterConfig, UserStatus, UsernamePattern};
pub use listen::{BadListenAddress, ListenAddress};
pub use problem::{ConfigError, Problem};
pub use used::{
    Aws, BadDetail, Config, Detail, Discovery, ExternalId, Metrics, Network, NetworkChoice, Poll,
    Shard, Shared, SsoMaxIdle, UserChoice, Web,
};
pub use values::is_region;

/// A million users fit in it; what is larger is not a configuration.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the configuration file at `path`.
///
/// # Errors
///
/// When it cannot be read, is no UTF-8 or larger than 16 MiB, and as [`parse`] does.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let name = path.display().to_string();
    let bytes = file::read(path, MAX_BYTES)
        .map_err(|error| ConfigError::of_file(&name, file::unreadable(&error)))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ConfigError::of_file(&name, "is larger than 16 MiB"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text, &name),
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let (line, column) = problem::Places::of(&good).of_offset(good.len());
            Err(ConfigError::at(&name, line, column, "not valid TOML: not encoded in UTF-8"))
        }
    }
}

/// Reads a configuration from `text`, which messages call `name`.
///
/// # Errors
///
/// Every problem there is, in the order of the text, the first hundred in words and the rest
/// counted. After a syntax error, what may only follow from it is left out.
pub fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text); // or line 1 would be off by one
    let (tree, problems) = syntax::parse(text);
    let config = resolve::resolve(written::read(&tree, &problems), &problems);
    problems.finish(text, name)?;
    Ok(config)
}
