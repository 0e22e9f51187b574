//! The AWS SDK for Rust, used as documented.

use anyhow::{Context as _, Result};
use aws_sdk_wickr::{
    Client, Config,
    config::{Credentials, Region},
    types::{BasicDeviceObject, SortDirection},
};

use super::{PollArgs, poller::Reader};

#[derive(Debug)]
pub(super) struct Source {
    client: Client,
    network: String,
    page_size: i32,
}

impl Source {
    pub(super) fn new(args: &PollArgs) -> Result<Source> {
        let credentials = Credentials::new(&args.key_id, &args.secret, None, None, "the benchmark");
        let config = Config::builder()
            .behavior_version_latest()
            .region(Region::new(args.region.clone()))
            .endpoint_url(format!("http://{}", args.endpoint))
            .credentials_provider(credentials)
            .build();
        Ok(Source {
            client: Client::from_conf(config),
            network: args.network.clone(),
            page_size: i32::try_from(args.page_size).context("invalid page size")?,
        })
    }
}

impl Reader for Source {
    type Device = BasicDeviceObject;

    async fn read(&self, user: String) -> Result<(Vec<BasicDeviceObject>, u64)> {
        let mut pages = self
            .client
            .list_devices_for_user()
            .network_id(&self.network)
            .user_id(user)
            .max_results(self.page_size)
            .sort_fields("created")
            .sort_direction(SortDirection::Asc)
            .into_paginator()
            .send();
        let (mut devices, mut requests) = (Vec::new(), 0);
        while let Some(page) = pages.next().await {
            devices.extend(page?.devices);
            requests += 1;
        }
        Ok((devices, requests))
    }
}
