//! The configuration, whole: what its file says, and what that leaves to the environment.

use std::{collections::HashMap, path::Path};

use crate::{
    config::{self, Config},
    poll::Shard,
    wickr::region_of_chain,
};

/// Loads the configuration, with a region for each network.
///
/// # Errors
///
/// Every problem, a line each.
pub async fn load(file: &Path) -> Result<Config, String> {
    // A large file takes its time, and one on a network file system may take any.
    let path = file.to_owned();
    let loaded = tokio::task::spawn_blocking(move || config::load(&path)).await;
    let config = loaded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    completed(config, Regions::Instance).await.map_err(|problems| {
        let lines: Vec<_> =
            problems.iter().map(|problem| format!("{}: {problem}", file.display())).collect();
        lines.join("\n")
    })
}

/// How far to look for a region that the configuration does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regions {
    /// The environment and the profile.
    Local,
    /// The instance's metadata too, over the network.
    Instance,
}

/// The configuration with all that its file leaves to the environment: a region for every network,
/// by the SDK's own chain where none is named, and the shard.
///
/// # Errors
///
/// A sentence for each thing that cannot be found.
pub async fn completed(mut config: Config, regions: Regions) -> Result<Config, Vec<String>> {
    let mut found: HashMap<Option<String>, Option<String>> = HashMap::new();
    let mut problems = Vec::new();
    for (index, network) in config.networks.iter_mut().enumerate() {
        if network.aws.region.is_some() {
            continue;
        }
        let profile = network.aws.profile.clone();
        if !found.contains_key(&profile) {
            // Someone who switches the instance's metadata off wants nobody to ask for it.
            let off = std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(|off| off == "true");
            let instance = regions == Regions::Instance && !off;
            let region = region_of_chain(profile.as_deref(), instance).await;
            found.insert(profile.clone(), region);
        }
        let key = format!("network[{}].aws.region", index + 1);
        match found.get(&profile).cloned().flatten() {
            Some(region) if config::is_region(&region) => network.aws.region = Some(region),
            Some(region) => problems.push(format!(
                "{key}: {region:?}, from AWS_REGION or the profile, is no region's name"
            )),
            None => problems.push(format!(
                "{key}: is missing, and neither AWS_REGION nor the profile names one; \
                 write region = \"us-east-1\", for example, under [aws]"
            )),
        }
    }
    match shard(&config, |name| std::env::var(name).ok()) {
        Ok(Shard { index, total }) => config.shard = config::Shard::Of { index, total },
        Err(problem) => problems.push(problem),
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// This process's shard, by the configuration or, for `auto`, by what a StatefulSet tells it: the
/// ordinal at the end of its host name, and `WICKR_EXPORTER_SHARD_TOTAL`.
///
/// # Errors
///
/// A sentence, when `auto` finds nothing to go by.
fn shard(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Shard, String> {
    let (index, total) = match config.shard {
        config::Shard::Of { index, total } => return Ok(Shard { index, total }),
        config::Shard::Auto => {
            let host = variable("HOSTNAME").unwrap_or_default();
            let ordinal = host.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok());
            let total = variable("WICKR_EXPORTER_SHARD_TOTAL").and_then(|total| total.parse().ok());
            (ordinal, total)
        }
    };
    match (index, total) {
        (None, _) => {
            Err("shard.index: is \"auto\", but HOSTNAME does not end in an ordinal, as in \
                          wickr-exporter-0"
                .into())
        }
        (_, None | Some(0)) => {
            Err("shard.total: is \"auto\", but WICKR_EXPORTER_SHARD_TOTAL does \
                                    not hold a number above 0"
                .into())
        }
        (Some(index), Some(total)) if index >= total => Err(format!(
            "shard.index: is \"auto\", and HOSTNAME's ordinal {index} is not below \
             WICKR_EXPORTER_SHARD_TOTAL, {total}"
        )),
        (Some(index), Some(total)) => Ok(Shard { index, total }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stateful_set_tells_its_shards() {
        let config = config::parse(
            "[shard]\nindex = \"auto\"\ntotal = \"auto\"\n[[network]]\nid = \"12345678\"\nusers = [\"1\"]\n",
            "test",
        )
        .unwrap();
        let told = |host: &'static str, total: &'static str| {
            shard(&config, move |name| {
                let value = if name == "HOSTNAME" { host } else { total };
                (!value.is_empty()).then(|| value.to_owned())
            })
        };
        assert_eq!(told("wickr-exporter-2", "3"), Ok(Shard { index: 2, total: 3 }));
        for (host, total, key) in [
            ("laptop", "3", "shard.index"),
            ("", "3", "shard.index"),
            ("x-0", "", "shard.total"),
            ("x-0", "0", "shard.total"),
            ("x-3", "3", "shard.index"),
        ] {
            assert!(told(host, total).unwrap_err().starts_with(key), "{host} {total}");
        }
    }
}
