//! Creates API clients. Networks share what they have in common: connections, credentials, and the rate
//! limiter of their account and region.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    config::{Aws, Config, NetworkConfig, Poll},
    wickr::{
        Client, ClientOptions, CredentialSource, CredentialStore, Endpoint, Interner, RateLimiter,
        RequestObserver, Role,
    },
};

/// Region and identity, which determine the rate limiter. Empty where the configuration sets none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    pub(super) region: String,
    pub(super) profile: String,
    pub(super) role_arn: String,
}

impl Account {
    pub(super) fn of(aws: &Aws) -> Account {
        Account {
            region: aws.region.clone().unwrap_or_default(),
            profile: aws.profile.clone().unwrap_or_default(),
            role_arn: aws.role_arn.clone().unwrap_or_default(),
        }
    }
}

/// Identifies an account in the state file: equal for networks with the same region, identity and endpoint.
pub(super) fn key(aws: &Aws) -> String {
    let Account { region, profile, role_arn } = Account::of(aws);
    let endpoint = aws.endpoint_url.as_ref().map(Endpoint::as_str).unwrap_or_default();
    format!("{region} {profile} {role_arn} {endpoint}")
}

/// The configured endpoint or that of the region.
pub(super) fn endpoint(aws: &Aws) -> Endpoint {
    aws.endpoint_url.clone().unwrap_or_else(|| {
        Endpoint::of_region(aws.region.as_deref().unwrap_or_default(), aws.fips, aws.dual_stack)
    })
}

/// Clients and what they share, created on demand.
#[derive(Debug)]
pub(super) struct Accounts {
    /// Override the configured credentials of all networks.
    credentials: Option<CredentialSource>,
    observer: Arc<dyn RequestObserver>,
    labels: Arc<Interner>,
    requests_per_second: f64,
    limiters: BTreeMap<Account, Arc<RateLimiter>>,
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
    ) -> Accounts {
        Accounts {
            credentials,
            observer,
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
        let accounts: Vec<_> = settings.iter().map(|settings| Account::of(&settings.aws)).collect();
        self.limiters.retain(|account, _| accounts.contains(account));
        for account in accounts {
            self.limiters
                .entry(account)
                .or_insert_with(|| Arc::new(RateLimiter::new(config.poll.requests_per_second)))
                .set_ceiling(config.poll.requests_per_second);
        }
        let sources: Vec<_> = settings.iter().map(|settings| source(&settings.aws)).collect();
        self.stores.retain(|source, _| self.credentials.is_some() || sources.contains(source));
        let row = |(account, limiter): (&Account, &Arc<RateLimiter>)| {
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
        let store = self
            .stores
            .entry(source)
            .or_insert_with_key(|source| Arc::new(CredentialStore::new(source.clone())));
        let ceiling = self.requests_per_second;
        let rate = self
            .limiters
            .entry(Account::of(&network.aws))
            .or_insert_with(|| Arc::new(RateLimiter::new(ceiling)));
        let client = Client::new(ClientOptions {
            endpoint: endpoint(&network.aws),
            region: network.aws.region.clone().unwrap_or_default(),
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
    let role = aws.role_arn.as_ref().map(|arn| Role {
        arn: arn.clone(),
        external_id: aws.external_id.as_ref().map(|id| id.as_str().to_owned()),
    });
    CredentialSource::Chain {
        profile: aws.profile.clone(),
        role,
        region: aws.region.clone().unwrap_or_default(),
    }
}
