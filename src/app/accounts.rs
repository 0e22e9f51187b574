//! From the configuration to clients. What networks have in common they share: a client with its
//! connections, credentials with their refreshing, and the rate of their account and region.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    config::{self, Aws, Config, Network},
    wickr::{
        Client, ClientOptions, CredentialSource, CredentialStore, Endpoint, Labels, Observer,
        RateLimiter, Role, region_of_chain,
    },
};

/// How far to look for a region that the configuration does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regions {
    /// The environment and the profile.
    Local,
    /// The instance's metadata too, over the network.
    Instance,
}

/// The configuration with a region for every network, by the SDK's own chain where none is named.
///
/// # Errors
///
/// A sentence for each network without one.
pub async fn with_regions(mut config: Config, regions: Regions) -> Result<Config, Vec<String>> {
    let mut found: HashMap<Option<String>, Option<String>> = HashMap::new();
    let mut problems = Vec::new();
    for (index, network) in config.networks.iter_mut().enumerate() {
        if network.aws.region.is_some() {
            continue;
        }
        let profile = network.aws.profile.clone();
        if !found.contains_key(&profile) {
            // Someone who switches the instance's metadata off wants nobody to ask for it.
            let off = std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(|off| off == "true");
            let instance = regions == Regions::Instance && !off;
            let region = region_of_chain(profile.as_deref(), instance).await;
            found.insert(profile.clone(), region);
        }
        let key = format!("network[{}].aws.region", index + 1);
        match found.get(&profile).cloned().flatten() {
            Some(region) if config::is_region(&region) => network.aws.region = Some(region),
            Some(region) => problems.push(format!(
                "{key}: {region:?}, from AWS_REGION or the profile, is no region's name"
            )),
            None => problems.push(format!(
                "{key}: is missing, and neither AWS_REGION nor the profile names one; \
                 write region = \"us-east-1\", for example, under [aws]"
            )),
        }
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// What tells accounts and regions apart, as far as a configuration can: who asks, and where.
/// Empty stands for what is not written.
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

/// The allowance of each account and region.
pub(super) type Limiters = BTreeMap<Account, Arc<RateLimiter>>;

/// An allowance for each account and region of the configuration.
pub(super) fn limiters(config: &Config) -> Limiters {
    let limiter = || Arc::new(RateLimiter::new(config.poll.requests_per_second));
    config.networks.iter().map(|network| (Account::of(&network.aws), limiter())).collect()
}

/// Where a network's endpoint is.
pub(super) fn endpoint(aws: &Aws) -> Endpoint {
    aws.endpoint_url.clone().unwrap_or_else(|| {
        Endpoint::of_region(aws.region.as_deref().unwrap_or_default(), aws.fips, aws.dual_stack)
    })
}

/// Clients, made as networks ask for them.
pub(super) struct Accounts<'a> {
    credentials: Option<&'a CredentialSource>,
    limiters: Limiters,
    observer: Arc<dyn Observer>,
    labels: Arc<Labels>,
    stores: HashMap<CredentialSource, Arc<CredentialStore>>,
    /// Those made so far, with the settings that they were made of.
    clients: Vec<(&'a Network, Arc<Client>)>,
}

impl<'a> Accounts<'a> {
    pub(super) fn new(
        credentials: Option<&'a CredentialSource>,
        limiters: Limiters,
        observer: Arc<dyn Observer>,
    ) -> Accounts<'a> {
        Accounts {
            credentials,
            limiters,
            observer,
            labels: Arc::default(),
            stores: HashMap::new(),
            clients: Vec::new(),
        }
    }

    /// The client for a network: one of those made before, if it fits.
    pub(super) fn client(&mut self, network: &'a Network) -> Result<Arc<Client>, String> {
        let fits = |other: &Network| {
            let settings =
                |n: &Network| (n.poll.request_timeout, n.poll.max_attempts, n.poll.page_size);
            other.aws == network.aws && settings(other) == settings(network)
        };
        if let Some((_, client)) = self.clients.iter().find(|(other, _)| fits(other)) {
            return Ok(client.clone());
        }
        let source = self.credentials.cloned().unwrap_or_else(|| source(&network.aws));
        let store = self
            .stores
            .entry(source)
            .or_insert_with_key(|source| Arc::new(CredentialStore::new(source.clone())));
        let rate =
            self.limiters.get(&Account::of(&network.aws)).ok_or("a network without a rate")?;
        let client = Client::new(ClientOptions {
            endpoint: endpoint(&network.aws),
            region: network.aws.region.clone().unwrap_or_default(),
            credentials: store.clone(),
            rate: rate.clone(),
            timezone: network.aws.timezone.clone(),
            request_timeout: network.poll.request_timeout,
            max_attempts: network.poll.max_attempts,
            page_size: network.poll.page_size,
            labels: self.labels.clone(),
            observer: self.observer.clone(),
        })?;
        let client = Arc::new(client);
        self.clients.push((network, client.clone()));
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
