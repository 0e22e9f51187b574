//! The least that a Rust program does by hand: reqwest, aws-sigv4 and serde_json, without limits,
//! retries or anything else.

use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, ensure};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use serde::Deserialize;

use super::{Polling, poller::Reader};
use crate::sign::encode;

/// A client and what it asks for.
#[derive(Debug)]
pub(super) struct Source {
    client: reqwest::Client,
    identity: Identity,
    region: String,
    host: String,
    network: String,
    page_size: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    devices: Vec<Device>,
    next_token: Option<String>,
}

/// A device as it is read; nothing looks at it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "it is there to be read")]
pub(super) struct Device {
    app_id: Option<String>,
    created: Option<String>,
    last_login: Option<String>,
    status_text: Option<String>,
    suspend: Option<bool>,
    r#type: Option<String>,
}

impl Source {
    pub(super) fn new(polling: &Polling) -> Result<Source> {
        let credentials =
            Credentials::new(&polling.key_id, &polling.secret, None, None, "the benchmark");
        Ok(Source {
            client: reqwest::Client::builder().no_proxy().build()?,
            identity: credentials.into(),
            region: polling.region.clone(),
            host: polling.endpoint.to_string(),
            network: polling.network.clone(),
            page_size: polling.page_size,
        })
    }

    async fn page(&self, user: &str, token: Option<&str>) -> Result<Page> {
        let mut url = format!(
            "http://{}/networks/{}/users/{user}/devices?maxResults={}&sortDirection=ASC&sortFields=created",
            self.host, self.network, self.page_size
        );
        if let Some(token) = token {
            url.extend(["&nextToken=", &encode(token)]);
        }
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("wickr")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let host = [("host", self.host.as_str())].into_iter();
        let signable = SignableRequest::new("GET", &url, host, SignableBody::Bytes(b""))
            .map_err(|error| anyhow!("{error}"))?;
        let (signature, _) =
            sign(signable, &params).map_err(|error| anyhow!("{error}"))?.into_parts();
        let request = signature
            .headers()
            .fold(self.client.get(&url), |request, (name, value)| request.header(name, value));
        let answer = request.send().await?;
        ensure!(answer.status() == 200, "status {}", answer.status());
        serde_json::from_slice(&answer.bytes().await?).context("a page")
    }
}

impl Reader for Source {
    type Device = Device;

    async fn read(&self, user: String) -> Result<(Vec<Device>, u64)> {
        let (mut devices, mut requests, mut token) = (Vec::new(), 0, None);
        loop {
            let page = self.page(&user, token.as_deref()).await?;
            devices.extend(page.devices);
            requests += 1;
            token = page.next_token;
            if token.is_none() {
                return Ok((devices, requests));
            }
        }
    }
}
