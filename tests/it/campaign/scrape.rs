//! What a scrape says, read without any help of the program's.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::truth::{Ms, Who};

/// What is held against the truth, number by number. The rest is what the exporter tells of its own
/// doings, of which others can only know bounds.
const JUDGED: [&str; 7] = [
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
    /// Between these times it was made.
    pub from: Ms,
    pub to: Ms,
}

/// All that is told of one user.
#[derive(Default)]
pub struct ToldUser {
    pub up: Option<f64>,
    pub read_at: Option<Ms>,
    pub limit: Option<Ms>,
    pub status: Option<String>,
    pub devices: BTreeMap<String, f64>,
    pub suspended: BTreeMap<String, f64>,
    pub last_login: Option<Ms>,
    pub idle: Option<Ms>,
    /// By `app_id`.
    pub each: BTreeMap<String, ToldDevice>,
}

/// All that is told of one device.
#[derive(Default, Debug)]
pub struct ToldDevice {
    pub device_type: String,
    pub status: Option<String>,
    pub suspended: Option<f64>,
    pub created: Option<Ms>,
    pub last_login: Option<Ms>,
    pub idle: Option<Ms>,
}

impl Scrape {
    /// Reads the text format; what is not of it is told.
    pub fn parse(text: &str, from: Ms, to: Ms) -> Result<Scrape, String> {
        let mut scrape = Scrape { from, to, ..Scrape::default() };
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, labels, value) =
                sample(line).ok_or_else(|| format!("no sample: {line:?}"))?;
            let family = scrape.families.entry(name.to_owned()).or_default();
            family.push((labels, value));
        }
        for (name, samples) in &scrape.families {
            let mut labels: Vec<_> = samples.iter().map(|(labels, _)| labels).collect();
            labels.sort();
            if let Some(twice) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("twice: {name} {:?}", twice[0]));
            }
        }
        Ok(scrape)
    }

    /// The same but for one sample, which is too large or is not there; and which that is.
    /// Only networks are chosen of which `all_is_known`.
    pub fn forged(
        &self,
        rng: &mut Rng,
        all_is_known: impl Fn(&str) -> bool,
    ) -> Option<(Scrape, String)> {
        let mut forged = self.clone();
        let is_judged = |name: &str| JUDGED.iter().any(|judged| name.starts_with(judged));
        let mut told = Vec::new();
        for (name, samples) in self.families.iter().filter(|(name, _)| is_judged(name)) {
            let known =
                |(_, (labels, _)): &(usize, &(Labels, f64))| all_is_known(&labels["network_id"]);
            told.extend(samples.iter().enumerate().filter(known).map(|(place, _)| (name, place)));
        }
        let (name, place) = rng.choice(told)?;
        let samples = forged.families.entry(name.clone()).or_default();
        let what = format!("{name}{:?} {}", samples[place].0, samples[place].1);
        if rng.bool() {
            samples.remove(place);
            return Some((forged, format!("that {what} is not there")));
        }
        samples[place].1 += 1000.0;
        Some((forged, format!("that {what} is a thousand more")))
    }

    /// The same without a word of one user.
    pub fn without(&self, (network, user): &Who) -> Scrape {
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

    /// The samples of one network.
    pub fn of_network(&self, name: &str, network: &str) -> impl Iterator<Item = (&Labels, f64)> {
        self.samples(name).filter(move |(labels, _)| labels["network_id"] == network)
    }

    /// The one sample of a network.
    pub fn network(&self, name: &str, network: &str) -> Option<f64> {
        self.of_network(name, network).next().map(|(_, value)| value)
    }

    pub fn total(&self, name: &str) -> f64 {
        self.samples(name).map(|(_, value)| value).sum()
    }

    /// Of a network, by another label.
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

    /// Whatever bears the id of a user, by user.
    pub fn users(&self) -> BTreeMap<Who, ToldUser> {
        let mut users = BTreeMap::<Who, ToldUser>::new();
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
                "wickr_user_devices" => drop(user.devices.insert(device_type(), value)),
                "wickr_user_devices_suspended" => drop(user.suspended.insert(device_type(), value)),
                "wickr_user_last_login_timestamp_seconds" => user.last_login = Some(millis(value)),
                "wickr_user_idle_seconds" => user.idle = Some(millis(value)),
                _ => {
                    let device = user.each.entry(labels["app_id"].clone()).or_default();
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
                        other => panic!("nobody has said what {other} means"),
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
fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, text) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut letters = text.char_indices();
            let end = loop {
                match letters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match letters.next()?.1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (_, letter) => value.push(letter),
                }
            };
            rest = text[end + 1..].trim_start_matches(',');
            labels.insert(label.to_owned(), value);
        }
        rest = &rest[1..];
    }
    Some((name, labels, rest.strip_prefix(' ')?.parse().ok()?))
}
