//! Creates API clients. Networks share what they have in common: connections, credentials, and the rate
//! limiter of their account and region.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::Clock,
    config::{Aws, Config, NetworkConfig, Poll},
    wickr::{
        Client, ClientOptions, CredentialSource, CredentialStore, Endpoint, Interner, RateLimiter,
        RequestObserver, Role, Settings,
    },
};

/// Region and identity, which determine the rate limiter. Empty where the configuration sets none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RateLimitKey {
    pub(super) region: String,
    pub(super) profile: String,
    pub(super) role_arn: String,
}

impl RateLimitKey {
    pub(super) fn of(aws: &Aws) -> RateLimitKey {
        RateLimitKey {
            region: aws.region.clone().unwrap_or_default(),
            profile: aws.profile.clone().unwrap_or_default(),
            role_arn: aws.role_arn.clone().unwrap_or_default(),
        }
    }
}

/// Identifies an account in the state file: equal for networks with the same region, identity and
/// endpoint.
pub(super) fn key(aws: &Aws) -> String {
    let RateLimitKey { region, profile, role_arn } = RateLimitKey::of(aws);
    let settings = aws.settings();
    let endpoint = settings.endpoint_url.as_ref().map(|setting| setting.value.as_str());
    let endpoint = endpoint.unwrap_or_default();
    format!("{region} {profile} {role_arn} {endpoint}")
}

/// The endpoint that the settings name, or that of the region.
pub(super) fn endpoint(aws: &Aws) -> Endpoint {
    let Settings { endpoint_url, fips, dual_stack, .. } = aws.settings();
    endpoint_url.map(|setting| setting.value).unwrap_or_else(|| {
        let region = aws.region.as_deref().unwrap_or_default();
        Endpoint::of_region(region, fips.value, dual_stack.value)
    })
}

/// Clients and what they share, created on demand.
#[derive(Debug)]
pub(super) struct Accounts {
    /// Override the configured credentials of all networks.
    credentials: Option<CredentialSource>,
    observer: Arc<dyn RequestObserver>,
    clock: Clock,
    labels: Arc<Interner>,
    requests_per_second: f64,
    limiters: BTreeMap<RateLimitKey, Arc<RateLimiter>>,
    stores: HashMap<CredentialSource, Arc<CredentialStore>>,
    clients: Vec<(AccountSettings, Arc<Client>)>,
}

/// The configuration of a client. Networks with equal settings share it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AccountSettings {
    aws: Aws,
    request_timeout: Duration,
    max_attempts: u32,
    page_size: u16,
}

impl AccountSettings {
    pub(super) fn of(network: &NetworkConfig) -> AccountSettings {
        let Poll { request_timeout, max_attempts, page_size, .. } = network.poll;
        AccountSettings { aws: network.aws.clone(), request_timeout, max_attempts, page_size }
    }
}

impl Accounts {
    pub(super) fn new(
        credentials: Option<CredentialSource>,
        labels: Arc<Interner>,
        observer: Arc<dyn RequestObserver>,
        clock: Clock,
    ) -> Accounts {
        Accounts {
            credentials,
            observer,
            clock,
            labels,
            requests_per_second: 1.0,
            limiters: BTreeMap::new(),
            stores: HashMap::new(),
            clients: Vec::new(),
        }
    }

    /// Applies rate limits, removes accounts that `config` does not contain, and returns the limiters by
    /// region and role ARN.
    pub(super) fn set_limits(
        &mut self,
        config: &Config,
    ) -> Vec<(String, String, Arc<RateLimiter>)> {
        self.requests_per_second = config.poll.requests_per_second;
        let settings: Vec<_> = config.networks.iter().map(AccountSettings::of).collect();
        self.clients.retain(|(client, _)| settings.contains(client));
        let accounts: Vec<_> =
            settings.iter().map(|settings| RateLimitKey::of(&settings.aws)).collect();
        self.limiters.retain(|account, _| accounts.contains(account));
        for account in accounts {
            self.limiters
                .entry(account)
                .or_insert_with(|| Arc::new(RateLimiter::new(config.poll.requests_per_second)))
                .set_ceiling(config.poll.requests_per_second);
        }
        let sources: Vec<_> = settings.iter().map(|settings| source(&settings.aws)).collect();
        self.stores.retain(|source, _| self.credentials.is_some() || sources.contains(source));
        let row = |(account, limiter): (&RateLimitKey, &Arc<RateLimiter>)| {
            (account.region.clone(), account.role_arn.clone(), limiter.clone())
        };
        self.limiters.iter().map(row).collect()
    }

    /// A client for a network, shared with networks of equal settings.
    pub(super) fn client(&mut self, network: &NetworkConfig) -> Result<Arc<Client>, String> {
        let settings = AccountSettings::of(network);
        if let Some((_, client)) = self.clients.iter().find(|(other, _)| *other == settings) {
            return Ok(client.clone());
        }
        let source = self.credentials.clone().unwrap_or_else(|| source(&network.aws));
        let clock = &self.clock;
        let store = self.stores.entry(source).or_insert_with_key(|source| {
            Arc::new(CredentialStore::new(source.clone(), clock.clone()))
        });
        let ceiling = self.requests_per_second;
        let rate = self
            .limiters
            .entry(RateLimitKey::of(&network.aws))
            .or_insert_with(|| Arc::new(RateLimiter::new(ceiling)));
        let client = Client::new(ClientOptions {
            endpoint: endpoint(&network.aws),
            region: network.aws.region.clone().unwrap_or_default(),
            ca_bundle: network.aws.settings().ca_bundle.map(|setting| setting.value),
            credentials: store.clone(),
            rate: rate.clone(),
            timezone: network.aws.timezone.clone(),
            request_timeout: network.poll.request_timeout,
            max_attempts: network.poll.max_attempts,
            page_size: network.poll.page_size,
            interner: self.labels.clone(),
            observer: self.observer.clone(),
        })?;
        let client = Arc::new(client);
        self.clients.push((settings, client.clone()));
        Ok(client)
    }
}

fn source(aws: &Aws) -> CredentialSource {
    let settings = aws.settings();
    let role = aws.role_arn.as_ref().map(|arn| Role {
        arn: arn.clone(),
        external_id: aws.external_id.as_ref().map(|id| id.as_str().to_owned()),
        session_name: settings.role_session_name.value.clone(),
    });
    CredentialSource::Chain {
        profile: aws.profile.clone(),
        role,
        region: aws.region.clone().unwrap_or_default(),
        fips: settings.fips.value,
        dual_stack: settings.dual_stack.value,
        ca_bundle: settings.ca_bundle.map(|setting| setting.value),
    }
}
