//! A minimal poller: reqwest, aws-sigv4 and serde_json, without limits, retries or metrics.

use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, ensure};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use serde::Deserialize;

use super::{PollArgs, poller::Reader};
use crate::sign::encode;

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "deserialized but not used")]
pub(super) struct Device {
    app_id: Option<String>,
    created: Option<String>,
    last_login: Option<String>,
    status_text: Option<String>,
    suspend: Option<bool>,
    r#type: Option<String>,
}

impl Source {
    pub(super) fn new(args: &PollArgs) -> Result<Source> {
        let credentials = Credentials::new(&args.key_id, &args.secret, None, None, "the benchmark");
        Ok(Source {
            client: reqwest::Client::builder().no_proxy().build()?,
            identity: credentials.into(),
            region: args.region.clone(),
            host: args.endpoint.to_string(),
            network: args.network.clone(),
            page_size: args.page_size,
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
        let response = request.send().await?;
        ensure!(response.status() == 200, "status {}", response.status());
        serde_json::from_slice(&response.bytes().await?).context("invalid page")
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
