//! Counts of users, devices and series, read from the simulator to verify the expositions.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::{
    http::Connection,
    sign::{self, Credentials},
    simulator::Simulator,
};

const READERS: u32 = 8;
/// The id of the simulator's first user; ids are consecutive.
pub(crate) const FIRST_USER: u32 = 1001;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) users: u64,
    pub(crate) devices: u64,
    /// Devices with a login.
    pub(crate) with_login: u64,
    /// Users with such a device.
    pub(crate) users_with_login: u64,
    /// Sum over users of their distinct device types.
    pub(crate) user_types: u64,
    /// Requests needed to read all devices.
    pub(crate) requests: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    devices: Vec<Device>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    r#type: String,
    last_login: Option<String>,
}

impl Fleet {
    pub(crate) async fn read(simulator: &Simulator, page_size: u32) -> Result<Fleet> {
        let source = Arc::new(Source {
            address: simulator.address,
            credentials: simulator.credentials.clone(),
            network: simulator.network.clone(),
            page_size,
        });
        let mut readers = JoinSet::new();
        for reader in 0..READERS {
            let users = (reader..simulator.size.users).step_by(READERS as usize);
            let source = source.clone();
            readers.spawn(async move { source.read(users).await });
        }
        let mut fleet = Fleet::default();
        while let Some(part) = readers.join_next().await {
            fleet.add(&part.context("cannot read the simulator")??);
        }
        ensure!(fleet.devices > 0, "the simulator has no devices");
        Ok(fleet)
    }

    fn add(&mut self, other: &Fleet) {
        self.users += other.users;
        self.devices += other.devices;
        self.with_login += other.with_login;
        self.users_with_login += other.users_with_login;
        self.user_types += other.user_types;
        self.requests += other.requests;
    }

    /// Expected series by family.
    pub(crate) fn series(&self) -> [(&'static str, u64); 12] {
        [
            ("wickr_device_info", self.devices),
            ("wickr_device_suspended", self.devices),
            ("wickr_device_created_timestamp_seconds", self.devices),
            ("wickr_device_last_login_timestamp_seconds", self.with_login),
            ("wickr_device_idle_seconds", self.with_login),
            ("wickr_user_up", self.users),
            ("wickr_user_info", self.users),
            ("wickr_user_last_poll_timestamp_seconds", self.users),
            ("wickr_user_devices", self.user_types),
            ("wickr_user_devices_suspended", self.user_types),
            ("wickr_user_last_login_timestamp_seconds", self.users_with_login),
            ("wickr_user_idle_seconds", self.users_with_login),
        ]
    }
}

struct Source {
    address: SocketAddr,
    credentials: Credentials,
    network: String,
    page_size: u32,
}

impl Source {
    async fn read(&self, users: impl Iterator<Item = u32>) -> Result<Fleet> {
        let mut fleet = Fleet::default();
        let mut connection = Connection::open(self.address).await?;
        for user in users {
            let id = (FIRST_USER + user).to_string();
            let (mut types, mut any_login) = (BTreeSet::new(), false);
            let mut token = None;
            loop {
                let page = self.page(&mut connection, &id, token.as_deref()).await?;
                fleet.requests += 1;
                for device in page.devices {
                    fleet.devices += 1;
                    // Absent, null and empty mean never.
                    let login = device.last_login.is_some_and(|time| !time.is_empty());
                    fleet.with_login += u64::from(login);
                    any_login |= login;
                    types.insert(device.r#type);
                }
                token = page.next_token;
                if token.is_none() {
                    break;
                }
            }
            fleet.users += 1;
            fleet.user_types += types.len() as u64;
            fleet.users_with_login += u64::from(any_login);
        }
        Ok(fleet)
    }

    async fn page(
        &self,
        connection: &mut Connection,
        user: &str,
        token: Option<&str>,
    ) -> Result<Page> {
        let path = format!("/networks/{}/users/{user}/devices", self.network);
        let token = token.map(|token| format!("&nextToken={}", sign::encode(token)));
        let query = format!(
            "maxResults={}{}&sortDirection=ASC&sortFields=created",
            self.page_size,
            token.unwrap_or_default()
        );
        let host = self.address.to_string();
        let (time, authorization) = sign::headers(&self.credentials, &host, &path, &query)?;
        let headers = [("x-amz-date", time.as_str()), ("authorization", &authorization)];
        let mut body = Vec::new();
        let path = format!("{path}?{query}");
        let response = connection.get(&path, &headers, |part| body.extend_from_slice(part)).await?;
        ensure!(response.status == 200, "the simulator returned {}", response.status);
        serde_json::from_slice(&body).context("invalid page from the simulator")
    }
}
