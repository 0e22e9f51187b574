//! The configuration: reads a TOML file into a [`Config`], or reports all problems in it.
//!
//! 1. `diagnostics` parses the text into a tree.
//! 2. `raw` reads the tree key by key, with the list of keys (`shape`) and the value parsers
//!    (`values`, `listen`, `filter`).
//! 3. `resolve` applies network overrides and defaults, which gives `resolved`, and checks keys
//!    against each other (`conflicts`).
//!
//! Nothing here reads the environment, the command line or the network. Messages never contain
//! external ids, endpoint addresses or the values of unknown keys, which could be secret.

mod conflicts;
mod filter;
mod listen;
mod raw;
mod resolve;
mod resolved;
mod shape;
mod values;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use filter::{FilterConfig, UserStatus, UsernamePattern};
pub use listen::ListenAddress;
pub use resolved::{
    Aws, CollectorsConfig, Config, Detail, DiscoveryConfig, ExternalId, MetricsConfig,
    NetworkConfig, NetworkSelector, Poll, RequestLimits, ShardConfig, SsoMaxIdle, UsersConfig, Web,
};
pub use values::is_region;

pub use crate::diagnostics::{ConfigError, Problem};
use crate::{
    diagnostics::{decode, toml},
    files,
};

/// Enough for a million users.
const MAX_MIB: u64 = 16;

/// Reads the configuration file at `path`.
///
/// # Errors
///
/// The file cannot be read, is larger than 16 MiB or is not UTF-8; or an error of [`parse`].
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let name = path.display().to_string();
    let bytes = files::read(path, MAX_MIB).map_err(|error| ConfigError::for_file(&name, error))?;
    parse(decode(&bytes, &name, "TOML")?, &name)
}

/// Parses a configuration from `text`. Messages call it `name`.
///
/// # Errors
///
/// All problems in the order of the text. After a syntax error, problems that it may have caused
/// are left out.
pub fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text); // it would shift the columns of line 1
    let (tree, problems) = toml::parse(text);
    let config = resolve::resolve(raw::read(&tree, &problems), &problems);
    problems.into_result(text, name)?;
    Ok(config)
}
