//! Changes of the simulator's fleet, faults and credentials, and of the certificates.

use std::{fs, sync::Arc};

use fastrand::Rng;
use wickr_exporter::simulator::{Credential, Device, Fault, network, security_group, user};

use super::{
    super::{
        expected::{Chance, ExpectedDevice, UserKey, now, pick},
        faults,
        organisation::Organisations,
    },
    Environment, GROUPS, MAX_DEVICES, MAX_USERS, NETWORKS, SECRET,
};

/// A change of a user's devices.
enum Edit {
    Add(Device),
    Remove(String),
    Replace(ExpectedDevice, Rng),
    Nothing,
}

impl Environment {
    pub(super) fn add_fault(&mut self) {
        let users = self.expected.users().map(|(key, _)| key.1.clone()).collect();
        let networks: Vec<_> = self.expected.networks.keys().cloned().collect();
        let text = faults::random_fault(&mut self.rng, &networks, &users);
        self.log_event(&format!("fault {text:?}"));
        self.calm = false;
        let fault: Fault = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        if text.contains("repeat-token") || text.contains("endless-pages") {
            self.pages_repeat.record(now(), now(), true);
        }
        self.simulator.faults().add(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.log_event("faults cleared");
        self.simulator.faults().clear();
        self.pages_repeat.record(now(), now(), false);
    }

    pub(super) fn rotate_keys(&mut self) {
        self.access_key_count += 1;
        let key = format!("AKIACAMPAIGN{:04}", self.access_key_count);
        self.simulator.credentials().add(Credential::new(&*key, SECRET));
        let profile =
            format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n");
        // Atomically.
        let (path, new) = (self.file("credentials"), self.file("credentials.new"));
        fs::write(&new, profile).unwrap();
        fs::rename(&new, &path).unwrap();
    }

    pub(super) fn change_credentials(&mut self) {
        let key = format!("AKIACAMPAIGN{:04}", self.access_key_count);
        self.calm = false;
        let credentials = self.simulator.credentials();
        let event = match self.rng.u8(..4) {
            0 => {
                credentials.expire(&key);
                "credentials expire"
            }
            1 => {
                credentials.revoke(&key);
                "credentials are revoked"
            }
            2 => {
                credentials.deny_network(pick(&mut self.rng, &NETWORKS));
                "a network is denied"
            }
            _ => {
                self.rotate_keys();
                self.simulator.credentials().revoke(&key);
                "credentials are replaced"
            }
        };
        self.log_event(event);
    }

    pub(super) fn write_web_config(&self) {
        let Some(keys) = &self.keys else { return };
        let pair = keys.server();
        let text = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
        for (name, text) in
            [("web.yml", text), ("server.crt", &pair.certificate), ("server.key", &pair.key)]
        {
            fs::write(self.file(name), text).unwrap();
        }
    }

    /// Breaks a file of the web configuration until the next reload or start.
    pub(super) fn break_web_config(&mut self) {
        if self.keys.is_none() {
            return;
        }
        let name = pick(&mut self.rng, &["server.crt", "server.key", "web.yml"]);
        if self.rng.bool() {
            fs::write(self.file(name), "-----BEGIN NONSENSE-----\n").unwrap();
        } else {
            // It can be missing already.
            let _ = fs::remove_file(self.file(name));
        }
        self.log_event(&format!("{name} is invalid or missing"));
    }

    /// Changes the devices of a user in the expected state and in the simulator.
    fn change(
        &mut self,
        key: &UserKey,
        make: impl FnOnce(&mut Rng, &mut Vec<Arc<ExpectedDevice>>) -> Edit,
    ) {
        let timeline = self.expected.devices.entry(key.clone()).or_default();
        let Some(Some(devices)) = timeline.latest() else { return };
        let (before, mut devices) = (devices.clone(), devices.clone());
        let edit = make(&mut self.rng, &mut devices);
        let not_before = now();
        self.simulator.change_fleet(|fleet| {
            let Some(user) = fleet.user_mut(&key.0, &key.1) else { return };
            match edit {
                Edit::Add(device) => user.add_device(device),
                Edit::Remove(name) => drop(user.remove_device(&name)),
                Edit::Replace(device, rng) => {
                    if let Some(response) = user.device_mut(&device.name) {
                        *response = device.apply_to(response.clone(), &mut { rng });
                    }
                }
                Edit::Nothing => {}
            }
        });
        self.expected.changes.record(&key.0, &before, &devices);
        timeline.record(not_before, now(), Some(devices));
    }

    pub(super) fn change_fleet(&mut self) {
        let users: Vec<UserKey> = self.expected.users().map(|(key, _)| key.clone()).collect();
        let id = pick(&mut self.rng, &NETWORKS).to_owned();
        if users.is_empty() {
            return self.add_user(&id);
        }
        let key = pick(&mut self.rng, &users);
        match self.rng.u8(..20) {
            0 | 1 => self.add_user(&id),
            2 => self.remove_user(&key),
            3 => self.toggle_network(&id),
            4 => self.change_group(&key.0),
            19 => self.change_guests(&id),
            _ => self.change_devices(&key),
        }
    }

    /// Changes one device of a user at random.
    pub(super) fn change_devices(&mut self, key: &UserKey) {
        match self.rng.u8(..14) {
            0..4 => {
                self.device_count += 1;
                let name = format!("device-{}", self.device_count);
                self.change(key, |rng, devices| {
                    if devices.len() >= MAX_DEVICES {
                        return Edit::Nothing;
                    }
                    let device = ExpectedDevice::random(name, rng);
                    let response = device.encode(rng);
                    devices.push(Arc::new(device));
                    Edit::Add(response)
                });
            }
            4 | 5 => self.change(key, |rng, devices| match devices.len() {
                0 => Edit::Nothing,
                count => Edit::Remove(devices.remove(rng.usize(..count)).name.clone()),
            }),
            _ => self.change(key, |rng, devices| {
                let count = devices.len();
                if count == 0 {
                    return Edit::Nothing;
                }
                let device = Arc::make_mut(&mut devices[rng.usize(..count)]);
                device.change(rng);
                Edit::Replace(device.clone(), rng.fork())
            }),
        }
    }

    pub(super) fn add_network(&mut self, id: &str) {
        let mut new = network(id);
        for (group, minutes) in GROUPS.iter().zip([0, 43_200, 60]) {
            new = new.group(security_group(*group).sso_max_idle_minutes(minutes));
            self.expected.groups.insert((id.to_owned(), (*group).to_owned()), minutes);
        }
        let guests = self.rng.u32(..1000);
        Organisations::set_guests(&mut new, guests);
        let not_before = now();
        self.simulator.change_fleet(|fleet| fleet.add_network(new));
        self.organisations.record_guests(id, not_before, guests);
        self.expected.networks.entry(id.to_owned()).or_default().record(not_before, now(), true);
        self.expected.known_networks.insert(id.to_owned());
        self.simulator.credentials().allow_network(id);
        for _ in 0..self.rng.usize(1..8) {
            self.add_user(id);
        }
    }

    fn change_guests(&mut self, id: &str) {
        let (guests, not_before) = (self.rng.u32(..1000), now());
        let exists = self.simulator.change_fleet(|fleet| {
            let network = fleet.get_mut(id);
            network.map(|network| Organisations::set_guests(network, guests)).is_some()
        });
        if exists {
            self.organisations.record_guests(id, not_before, guests);
        }
    }

    fn toggle_network(&mut self, id: &str) {
        self.log_event(&format!("network {id} added or removed"));
        self.calm = false;
        if !self.expected.network_exists(id) {
            return self.add_network(id);
        }
        let not_before = now();
        self.simulator.change_fleet(|fleet| fleet.remove_network(id));
        let after = now();
        self.expected.networks.entry(id.to_owned()).or_default().record(not_before, after, false);
        for ((_, _), timeline) in self.expected.devices.iter_mut().filter(|((n, _), _)| n == id) {
            timeline.record(not_before, after, None);
        }
    }

    fn add_user(&mut self, network: &str) {
        let users = self.expected.users().filter(|(key, _)| key.0 == network).count();
        if !self.expected.network_exists(network) || users >= MAX_USERS {
            return;
        }
        let key: UserKey = (network.to_owned(), self.rng.u32(1..=20).to_string());
        if self.expected.users().any(|(known, _)| *known == key) {
            return;
        }
        self.log_event(&format!("{key:?} added"));
        // User 7 has more devices than a page of any size.
        let count = if key.1 == "7" { 130 } else { self.rng.usize(..5) };
        let mut devices = Vec::new();
        for _ in 0..count {
            self.device_count += 1;
            let name = format!("device-{}", self.device_count);
            devices.push(Arc::new(ExpectedDevice::random(name, &mut self.rng)));
        }
        let response: Vec<Device> = devices.iter().map(|d| d.encode(&mut self.rng)).collect();
        let groups: Vec<_> = GROUPS.iter().filter(|_| self.rng.chance(1, 3)).collect();
        let new = groups.iter().fold(user(&*key.1), |user, group| user.in_group(**group));
        let mut new = new.with_devices(response).with("inviteCode", SECRET);
        self.expected.suspended.remove(&key);
        self.expected.admins.remove(&key);
        if self.rng.chance(1, 4) {
            new = new.suspended();
            self.expected.suspended.insert(key.clone());
        }
        if self.rng.chance(1, 4) {
            new = new.admin();
            self.expected.admins.insert(key.clone());
        }
        let not_before = now();
        self.simulator.change_fleet(|fleet| {
            if let Some(network) = fleet.get_mut(network) {
                network.add_user(new);
            }
        });
        let timeline = self.expected.devices.entry(key.clone()).or_default();
        // The exporter may not have seen that the user was gone.
        if let Some(before) = timeline.all().rev().find_map(Option::as_ref) {
            self.expected.changes.record(network, before, &devices);
        }
        timeline.record(not_before, now(), Some(devices));
        self.expected.known_users.insert(key.clone());
        self.expected
            .user_groups
            .insert(key, groups.into_iter().map(|g| (*g).to_owned()).collect());
        self.expected.record_limits();
    }

    fn remove_user(&mut self, key: &UserKey) {
        self.log_event(&format!("{key:?} removed"));
        let not_before = now();
        self.simulator.change_fleet(|fleet| {
            fleet.get_mut(&key.0).is_some_and(|network| network.remove_user(&key.1))
        });
        self.expected.devices.entry(key.clone()).or_default().record(not_before, now(), None);
    }

    fn change_group(&mut self, network: &str) {
        let group = pick(&mut self.rng, &GROUPS);
        let minutes = pick(&mut self.rng, &[0, 1, 60, 43_200]);
        self.log_event(&format!("group {group} of {network}: {minutes} minutes"));
        // Before the change in the simulator, because the exporter can read it immediately.
        self.expected.groups.insert((network.to_owned(), group.to_owned()), minutes);
        self.expected.record_limits();
        let index = GROUPS.iter().position(|name| *name == group).unwrap();
        self.simulator.change_fleet(|fleet| {
            if let Some(network) = fleet.get_mut(network) {
                network.groups_mut()[index] = security_group(group).sso_max_idle_minutes(minutes);
            }
        });
    }
}
