//! Adds values from the environment to the configuration: regions and the shard.

use std::{collections::HashMap, path::Path};

use crate::{
    config::{self, Aws, Config},
    poll::Shard,
    wickr::{Setting, Settings},
};

/// Loads the configuration, with a region for each network.
///
/// # Errors
///
/// All problems, one per line.
pub async fn load(file: &Path) -> Result<Config, String> {
    // Reading can block, for example on a network file system.
    let path = file.to_owned();
    let loaded = tokio::task::spawn_blocking(move || config::load(&path)).await;
    let config = loaded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    resolve_environment(config, RegionLookup::Instance).await.map_err(|problems| {
        let lines: Vec<_> =
            problems.iter().map(|problem| format!("{}: {problem}", file.display())).collect();
        lines.join("\n")
    })
}

/// Where to look for a region that the configuration does not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionLookup {
    /// The environment and the profile.
    Local,
    /// Also the instance metadata, over the network.
    Instance,
}

/// Resolves the settings of each network from the environment and the profile, and the shard.
///
/// # Errors
///
/// A message for each value that cannot be determined.
pub async fn resolve_environment(
    mut config: Config,
    lookup: RegionLookup,
) -> Result<Config, Vec<String>> {
    let mut resolved: HashMap<Aws, Result<Settings, Vec<String>>> = HashMap::new();
    let mut problems = Vec::new();
    for (index, network) in config.networks.iter_mut().enumerate() {
        let key = network.aws.clone();
        if !resolved.contains_key(&key) {
            let instance = lookup == RegionLookup::Instance;
            let settings = Settings::resolve(&network.aws.configured(), instance).await;
            resolved.insert(key.clone(), settings);
        }
        let settings = match resolved.get(&key) {
            Some(Ok(settings)) => settings.clone(),
            Some(Err(errors)) => {
                for error in errors {
                    if !problems.contains(error) {
                        problems.push(error.clone());
                    }
                }
                continue;
            }
            None => continue,
        };
        let key = format!("network[{}].aws.region", index + 1);
        match &settings.region {
            Some(region) if config::is_region(&region.value) => {
                network.aws.region = Some(region.value.clone());
            }
            Some(Setting { value, source }) => {
                problems.push(format!("{key}: {value:?}, from {source}, is not a valid region"));
            }
            None => problems.push(format!(
                "{key}: is missing, and neither AWS_REGION nor the profile sets it; \
                 set it under [aws], for example region = \"us-east-1\""
            )),
        }
        network.aws.settings = Some(settings);
    }
    match shard(&config, |name| std::env::var(name).ok()) {
        Ok(Shard { index, total }) => config.shard = config::ShardConfig::Of { index, total },
        Err(problem) => problems.push(problem),
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// The shard of this process: from the configuration, or for `auto` from the ordinal at the end of
/// `HOSTNAME`, as in a StatefulSet, and from `WICKR_EXPORTER_SHARD_TOTAL`.
fn shard(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Shard, String> {
    let (index, total) = match config.shard {
        config::ShardConfig::Of { index, total } => return Ok(Shard { index, total }),
        config::ShardConfig::Auto => {
            let host = variable("HOSTNAME").unwrap_or_default();
            let ordinal = host.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok());
            let total = variable("WICKR_EXPORTER_SHARD_TOTAL").and_then(|total| total.parse().ok());
            (ordinal, total)
        }
    };
    match (index, total) {
        (None, _) => {
            Err("shard.index: is \"auto\", but HOSTNAME does not end with an ordinal, as in \
                          wickr-exporter-0"
                .into())
        }
        (_, None | Some(0)) => {
            Err("shard.total: is \"auto\", but WICKR_EXPORTER_SHARD_TOTAL is not a \
                                    number above 0"
                .into())
        }
        (Some(index), Some(total)) if index >= total => Err(format!(
            "shard.index: is \"auto\", but the ordinal {index} of HOSTNAME is not below \
             WICKR_EXPORTER_SHARD_TOTAL, {total}"
        )),
        (Some(index), Some(total)) => Ok(Shard { index, total }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_shard_is_read_from_the_environment() {
        let config = config::parse(
            "[shard]\nindex = \"auto\"\ntotal = \"auto\"\n[[network]]\nid = \"12345678\"\nusers = [\"1\"]\n",
            "test",
        )
        .unwrap();
        let resolved = |host: &'static str, total: &'static str| {
            shard(&config, move |name| {
                let value = if name == "HOSTNAME" { host } else { total };
                (!value.is_empty()).then(|| value.to_owned())
            })
        };
        assert_eq!(resolved("wickr-exporter-2", "3"), Ok(Shard { index: 2, total: 3 }));
        for (host, total, key) in [
            ("laptop", "3", "shard.index"),
            ("", "3", "shard.index"),
            ("x-0", "", "shard.total"),
            ("x-0", "0", "shard.total"),
            ("x-3", "3", "shard.index"),
        ] {
            assert!(resolved(host, total).unwrap_err().starts_with(key), "{host} {total}");
        }
    }
}
