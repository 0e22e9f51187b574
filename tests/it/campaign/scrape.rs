//! An independent parser of scrapes.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::expected::{Ms, UserKey};

/// Prefixes of the metrics that are compared with the expected state. Only bounds are
/// checked for the others.
const CHECKED: [&str; 7] = [
    "wickr_up",
    "wickr_network_",
    "wickr_security_group_",
    "wickr_user_",
    "wickr_device_",
    "wickr_exporter_user_failures",
    "wickr_exporter_invalid_timestamps",
];

pub type Labels = BTreeMap<String, String>;

/// The samples of a scrape in the text format.
#[derive(Default, Clone)]
pub struct Scrape {
    families: BTreeMap<String, Vec<(Labels, f64)>>,
    /// The times before and after the request.
    pub from: Ms,
    pub to: Ms,
}

/// The samples of one user.
#[derive(Default)]
pub struct ExposedUser {
    pub up: Option<f64>,
    pub read_at: Option<Ms>,
    pub limit: Option<Ms>,
    pub status: Option<String>,
    /// Whether the account is suspended.
    pub account_suspended: Option<f64>,
    pub admin: Option<f64>,
    pub expiry: Option<Ms>,
    pub devices: BTreeMap<String, f64>,
    pub suspended: BTreeMap<String, f64>,
    pub last_login: Option<Ms>,
    pub idle: Option<Ms>,
    /// By `app_id`.
    pub device_samples: BTreeMap<String, ExposedDevice>,
}

/// The samples of one device.
#[derive(Default, Debug)]
pub struct ExposedDevice {
    pub device_type: String,
    pub status: Option<String>,
    pub suspended: Option<f64>,
    pub created: Option<Ms>,
    pub last_login: Option<Ms>,
    pub idle: Option<Ms>,
}

impl Scrape {
    /// Parses the text format.
    pub fn parse(text: &str, from: Ms, to: Ms) -> Result<Scrape, String> {
        let mut scrape = Scrape { from, to, ..Scrape::default() };
        if !text.ends_with('\n') {
            return Err("the last line has no line feed".to_owned());
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, labels, value) =
                parse_sample(line).ok_or_else(|| format!("invalid sample: {line:?}"))?;
            let family = scrape.families.entry(name.to_owned()).or_default();
            family.push((labels, value));
        }
        for (name, samples) in &scrape.families {
            let mut labels: Vec<_> = samples.iter().map(|(labels, _)| labels).collect();
            labels.sort();
            if let Some(pair) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("duplicate: {name} {:?}", pair[0]));
            }
        }
        Ok(scrape)
    }

    /// A copy in which one random sample is missing or wrong, and a description of the change. Uses
    /// only networks that `may_change` accepts.
    pub fn corrupted(
        &self,
        rng: &mut Rng,
        may_change: impl Fn(&str) -> bool,
    ) -> Option<(Scrape, String)> {
        let mut corrupted = self.clone();
        let is_checked = |name: &str| CHECKED.iter().any(|checked| name.starts_with(checked));
        let mut candidates = Vec::new();
        for (name, samples) in
            self.families.iter().filter(|(name, _)| is_checked(name) && !name.ends_with("_total"))
        {
            for (index, (labels, _)) in samples.iter().enumerate() {
                if may_change(&labels["network_id"]) {
                    candidates.push((name, index));
                }
            }
        }
        let (name, index) = rng.choice(candidates)?;
        let samples = corrupted.families.entry(name.clone()).or_default();
        let sample = format!("{name}{:?} {}", samples[index].0, samples[index].1);
        if rng.bool() {
            samples.remove(index);
            return Some((corrupted, format!("missing {sample}")));
        }
        samples[index].1 += 1000.0;
        Some((corrupted, format!("{sample} increased by 1000")))
    }

    /// A copy without one user.
    pub fn without(&self, (network, user): &UserKey) -> Scrape {
        let mut without = self.clone();
        for samples in without.families.values_mut() {
            samples.retain(|(labels, _)| {
                labels.get("network_id") != Some(network) || labels.get("user_id") != Some(user)
            });
        }
        without
    }

    pub fn samples(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        self.families.get(name).into_iter().flatten().map(|(labels, value)| (labels, *value))
    }

    pub fn of_network(&self, name: &str, network: &str) -> impl Iterator<Item = (&Labels, f64)> {
        self.samples(name).filter(move |(labels, _)| labels["network_id"] == network)
    }

    /// The value of a family with one sample for each network.
    pub fn network(&self, name: &str, network: &str) -> Option<f64> {
        self.of_network(name, network).next().map(|(_, value)| value)
    }

    pub fn total(&self, name: &str) -> f64 {
        self.samples(name).map(|(_, value)| value).sum()
    }

    /// The values of a network by another label.
    pub fn by(&self, name: &str, network: &str, label: &str) -> BTreeMap<String, f64> {
        let samples = self.of_network(name, network);
        samples.map(|(labels, value)| (labels[label].clone(), value)).collect()
    }

    pub fn families(&self) -> impl Iterator<Item = &String> {
        self.families.keys()
    }

    pub fn get(&self, name: &str, labels: &Labels) -> Option<f64> {
        self.samples(name).find(|(found, _)| *found == labels).map(|(_, value)| value)
    }

    /// All samples with a user id, by user.
    pub fn users(&self) -> BTreeMap<UserKey, ExposedUser> {
        let mut users = BTreeMap::<UserKey, ExposedUser>::new();
        let all = self.families.iter().flat_map(|(name, samples)| {
            samples.iter().map(move |(labels, value)| (name.as_str(), labels, *value))
        });
        for (name, labels, value) in all {
            let Some(user) = labels.get("user_id") else { continue };
            let user = users.entry((labels["network_id"].clone(), user.clone())).or_default();
            let device_type = || labels["device_type"].clone();
            match name {
                "wickr_user_up" => user.up = Some(value),
                "wickr_user_last_poll_timestamp_seconds" => user.read_at = Some(millis(value)),
                "wickr_user_sso_max_idle_seconds" => user.limit = Some(millis(value)),
                "wickr_user_info" => user.status = Some(labels["status"].clone()),
                "wickr_user_suspended" => user.account_suspended = Some(value),
                "wickr_user_admin" => user.admin = Some(value),
                "wickr_user_sso_expiry_timestamp_seconds" => user.expiry = Some(millis(value)),
                "wickr_user_devices" => drop(user.devices.insert(device_type(), value)),
                "wickr_user_devices_suspended" => drop(user.suspended.insert(device_type(), value)),
                "wickr_user_last_login_timestamp_seconds" => user.last_login = Some(millis(value)),
                "wickr_user_idle_seconds" => user.idle = Some(millis(value)),
                _ => {
                    let device = user.device_samples.entry(labels["app_id"].clone()).or_default();
                    device.device_type = device_type();
                    match name {
                        "wickr_device_info" => device.status = Some(labels["status"].clone()),
                        "wickr_device_suspended" => device.suspended = Some(value),
                        "wickr_device_created_timestamp_seconds" => {
                            device.created = Some(millis(value));
                        }
                        "wickr_device_last_login_timestamp_seconds" => {
                            device.last_login = Some(millis(value));
                        }
                        "wickr_device_idle_seconds" => device.idle = Some(millis(value)),
                        other => panic!("unknown metric {other}"),
                    }
                }
            }
        }
        users
    }
}

pub fn millis(seconds: f64) -> Ms {
    (seconds * 1e3).round() as Ms
}

/// `name{label="value",…} 1.5`
fn parse_sample(line: &str) -> Option<(&str, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, text) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut chars = text.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next()?.1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (_, c) => value.push(c),
                }
            };
            rest = text[end + 1..].trim_start_matches(',');
            labels.insert(label.to_owned(), value);
        }
        rest = &rest[1..];
    }
    Some((name, labels, rest.strip_prefix(' ')?.parse().ok()?))
}
