//! What there is, read from the simulator page by page by this program itself: what is exposed is
//! checked against it.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::{
    http::Connection,
    sign::{self, Access},
    simulator::Simulator,
};

/// Connections that read at the same time.
const READERS: u32 = 8;
/// The id of the simulator's first user; the others follow it.
pub(crate) const FIRST_USER: u32 = 1001;

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) users: u64,
    pub(crate) devices: u64,
    /// Devices on which somebody has logged in.
    pub(crate) with_login: u64,
    /// Users with a device on which somebody has logged in.
    pub(crate) users_with_login: u64,
    /// Of each user the types of device that it has, added up.
    pub(crate) user_types: u64,
    /// Bytes of the texts that no two devices share: their ids.
    pub(crate) id_bytes: u64,
    /// Requests that it takes to read all.
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
    app_id: String,
    r#type: String,
    last_login: Option<String>,
}

impl Fleet {
    pub(crate) async fn read(simulator: &Simulator, page_size: u32) -> Result<Fleet> {
        let source = Arc::new(Source {
            address: simulator.address,
            access: simulator.access.clone(),
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
            fleet.add(&part.context("reading the simulator")??);
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
        self.id_bytes += other.id_bytes;
        self.requests += other.requests;
    }

    /// The series that there must be, by family.
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

/// Where it is read from.
struct Source {
    address: SocketAddr,
    access: Access,
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
                    fleet.id_bytes += device.app_id.len() as u64;
                    // Absent, null or empty: nobody ever has.
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
            fleet.id_bytes += id.len() as u64;
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
        let (time, authorization) = sign::headers(&self.access, &host, &path, &query)?;
        let headers = [("x-amz-date", time.as_str()), ("authorization", &authorization)];
        let mut body = Vec::new();
        let path = format!("{path}?{query}");
        let answer = connection.get(&path, &headers, |part| body.extend_from_slice(part)).await?;
        ensure!(answer.status == 200, "the simulator answers {}", answer.status);
        serde_json::from_slice(&body).context("a page of the simulator's")
    }
}
