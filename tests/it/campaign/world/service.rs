//! Changes of the simulator's fleet, faults and credentials, and of the certificates.

use std::{fs, sync::Arc};

use fastrand::Rng;
use wickr_exporter::simulator::{Credential, Device, Fault, network, security_group, user};

use super::{
    super::{
        trouble,
        truth::{Chance, TrueDevice, Who, now, pick},
    },
    GROUPS, MAX_DEVICES, MAX_USERS, NETWORKS, SECRET, World,
};

/// A change of a user's devices.
enum Edit {
    Add(Device),
    Remove(String),
    Write(TrueDevice, Rng),
    Nothing,
}

impl World {
    pub(super) fn add_fault(&mut self) {
        let users = self.truth.users().map(|(who, _)| who.1.clone()).collect();
        let networks: Vec<_> = self.truth.networks.keys().cloned().collect();
        let text = trouble::fault(&mut self.rng, &networks, &users);
        self.note(&format!("fault {text:?}"));
        let fault: Fault = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        if text.contains("repeat-token") || text.contains("endless-pages") {
            self.pages_go_round.put(now(), now(), true);
        }
        self.simulator.faults().add(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.note("faults cleared");
        self.simulator.faults().clear();
        self.pages_go_round.put(now(), now(), false);
    }

    pub(super) fn rotate_keys(&mut self) {
        self.key_count += 1;
        let key = format!("AKIACAMPAIGN{:04}", self.key_count);
        self.simulator.credentials().add(Credential::new(&*key, SECRET));
        let profile =
            format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n");
        // Atomically.
        let (path, new) = (self.file("credentials"), self.file("credentials.new"));
        fs::write(&new, profile).unwrap();
        fs::rename(&new, &path).unwrap();
    }

    pub(super) fn change_credentials(&mut self) {
        let key = format!("AKIACAMPAIGN{:04}", self.key_count);
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
        self.note(event);
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
        self.note(&format!("{name} is invalid or missing"));
    }

    /// Changes the devices of a user in the truth and in the simulator.
    fn change(
        &mut self,
        who: &Who,
        make: impl FnOnce(&mut Rng, &mut Vec<Arc<TrueDevice>>) -> Edit,
    ) {
        let line = self.truth.devices.entry(who.clone()).or_default();
        let Some(Some(devices)) = line.latest() else { return };
        let mut devices = devices.clone();
        let edit = make(&mut self.rng, &mut devices);
        let not_before = now();
        self.simulator.change_fleet(|fleet| {
            let Some(user) = fleet.user_mut(&who.0, &who.1) else { return };
            match edit {
                Edit::Add(device) => user.add_device(device),
                Edit::Remove(name) => drop(user.remove_device(&name)),
                Edit::Write(device, rng) => {
                    if let Some(written) = user.device_mut(&device.name) {
                        *written = device.write_onto(written.clone(), &mut { rng });
                    }
                }
                Edit::Nothing => {}
            }
        });
        line.put(not_before, now(), Some(devices));
    }

    pub(super) fn change_fleet(&mut self) {
        let users: Vec<Who> = self.truth.users().map(|(who, _)| who.clone()).collect();
        let id = pick(&mut self.rng, &NETWORKS).to_owned();
        if users.is_empty() {
            return self.add_user(&id);
        }
        let who = pick(&mut self.rng, &users);
        match self.rng.u8(..20) {
            0 | 1 => self.add_user(&id),
            2 => self.remove_user(&who),
            3 => self.toggle_network(&id),
            4 => self.change_group(&who.0),
            5..9 => {
                self.device_count += 1;
                let name = format!("device-{}", self.device_count);
                self.change(&who, |rng, devices| {
                    if devices.len() >= MAX_DEVICES {
                        return Edit::Nothing;
                    }
                    let device = TrueDevice::random(name, rng);
                    let written = device.written(rng);
                    devices.push(Arc::new(device));
                    Edit::Add(written)
                });
            }
            9 | 10 => self.change(&who, |rng, devices| match devices.len() {
                0 => Edit::Nothing,
                count => Edit::Remove(devices.remove(rng.usize(..count)).name.clone()),
            }),
            _ => self.change(&who, |rng, devices| {
                let count = devices.len();
                if count == 0 {
                    return Edit::Nothing;
                }
                let device = Arc::make_mut(&mut devices[rng.usize(..count)]);
                device.change(rng);
                Edit::Write(device.clone(), rng.fork())
            }),
        }
    }

    pub(super) fn add_network(&mut self, id: &str) {
        let mut new = network(id);
        for (group, minutes) in GROUPS.iter().zip([0, 43_200, 60]) {
            new = new.group(security_group(*group).sso_max_idle_minutes(minutes));
            self.truth.groups.insert((id.to_owned(), (*group).to_owned()), minutes);
        }
        let not_before = now();
        self.simulator.change_fleet(|fleet| fleet.add_network(new));
        self.truth.networks.entry(id.to_owned()).or_default().put(not_before, now(), true);
        self.truth.named_networks.insert(id.to_owned());
        self.simulator.credentials().allow_network(id);
        for _ in 0..self.rng.usize(1..8) {
            self.add_user(id);
        }
    }

    fn toggle_network(&mut self, id: &str) {
        self.note(&format!("network {id} added or removed"));
        if !self.truth.is_there(id) {
            return self.add_network(id);
        }
        let not_before = now();
        self.simulator.change_fleet(|fleet| fleet.remove_network(id));
        let after = now();
        self.truth.networks.entry(id.to_owned()).or_default().put(not_before, after, false);
        for ((_, _), line) in self.truth.devices.iter_mut().filter(|((n, _), _)| n == id) {
            line.put(not_before, after, None);
        }
    }

    fn add_user(&mut self, network: &str) {
        let users = self.truth.users().filter(|(who, _)| who.0 == network).count();
        if !self.truth.is_there(network) || users >= MAX_USERS {
            return;
        }
        let who: Who = (network.to_owned(), self.rng.u32(1..=20).to_string());
        if self.truth.users().any(|(known, _)| *known == who) {
            return;
        }
        self.note(&format!("{who:?} added"));
        // User 7 has more devices than a page of any size.
        let count = if who.1 == "7" { 130 } else { self.rng.usize(..5) };
        let mut devices = Vec::new();
        for _ in 0..count {
            self.device_count += 1;
            let name = format!("device-{}", self.device_count);
            devices.push(Arc::new(TrueDevice::random(name, &mut self.rng)));
        }
        let written: Vec<Device> = devices.iter().map(|d| d.written(&mut self.rng)).collect();
        let groups: Vec<_> = GROUPS.iter().filter(|_| self.rng.chance(1, 3)).collect();
        let new = groups.iter().fold(user(&*who.1), |user, group| user.in_group(**group));
        let new = new.with_devices(written).with("inviteCode", SECRET);
        let not_before = now();
        self.simulator.change_fleet(|fleet| {
            if let Some(network) = fleet.get_mut(network) {
                network.add_user(new);
            }
        });
        let line = self.truth.devices.entry(who.clone()).or_default();
        line.put(not_before, now(), Some(devices));
        self.truth.named.insert(who.clone());
        self.truth.members.insert(who, groups.into_iter().map(|g| (*g).to_owned()).collect());
        self.truth.note_limits();
    }

    fn remove_user(&mut self, who: &Who) {
        self.note(&format!("{who:?} removed"));
        let not_before = now();
        self.simulator.change_fleet(|fleet| {
            fleet.get_mut(&who.0).is_some_and(|network| network.remove_user(&who.1))
        });
        self.truth.devices.entry(who.clone()).or_default().put(not_before, now(), None);
    }

    fn change_group(&mut self, network: &str) {
        let group = pick(&mut self.rng, &GROUPS);
        let minutes = pick(&mut self.rng, &[0, 1, 60, 43_200]);
        self.note(&format!("group {group} of {network}: {minutes} minutes"));
        // Before the change in the simulator, because the exporter can read it at once.
        self.truth.groups.insert((network.to_owned(), group.to_owned()), minutes);
        self.truth.note_limits();
        let index = GROUPS.iter().position(|name| *name == group).unwrap();
        self.simulator.change_fleet(|fleet| {
            if let Some(network) = fleet.get_mut(network) {
                network.groups_mut()[index] = security_group(group).sso_max_idle_minutes(minutes);
            }
        });
    }
}
