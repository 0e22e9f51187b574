//! Fetches AWS credentials: the default chain of the AWS SDKs, and a role to assume with them.

use std::{error::Error as StdError, fmt, path::PathBuf};

use aws_config::{
    BehaviorVersion, Region, default_provider::use_fips::use_fips_provider,
    ecs::EcsCredentialsProvider, environment::EnvironmentVariableCredentialsProvider,
    imds::credentials::ImdsCredentialsProvider, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig, sts::AssumeRoleProvider,
    web_identity_token::WebIdentityTokenCredentialsProvider,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError},
};

use super::{
    Error, ErrorKind, Operation,
    connection::ConnectionError,
    error::{Step, chain, shortened},
    sdk_http::SdkHttpClient,
    service_clock::ServiceClock,
};

/// Characters of the reason of one provider.
const MAX_REASON: usize = 240;

/// The source of credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum CredentialSource {
    /// The default chain of the SDKs.
    Chain {
        /// The profile; None for the default of the chain.
        profile: Option<String>,
        /// The role to assume with the credentials of the chain.
        role: Option<Role>,
        /// The region of STS.
        region: String,
        /// Whether STS and SSO use FIPS endpoints.
        fips: bool,
        /// Whether STS and SSO use dual-stack endpoints.
        dual_stack: bool,
        /// The certificate authorities; None for those of the system.
        ca_bundle: Option<PathBuf>,
    },
    /// A static access key, for the demo.
    Fixed {
        /// The access key id.
        access_key_id: String,
        /// The secret access key.
        secret_access_key: String,
    },
}

/// A role to assume.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// The external id of its trust policy.
    pub external_id: Option<String>,
    /// The name of the session, which CloudTrail shows.
    pub session_name: String,
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialSource::Chain { profile, role, region, .. } => f
                .debug_struct("Chain")
                .field("profile", profile)
                .field("role", role)
                .field("region", region)
                .finish_non_exhaustive(),
            CredentialSource::Fixed { access_key_id, .. } => f
                .debug_struct("Fixed")
                .field("access_key_id", access_key_id)
                .finish_non_exhaustive(),
        }
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("arn", &self.arn).finish_non_exhaustive()
    }
}

/// Why there are no credentials.
#[derive(Debug, Clone)]
pub(super) struct CredentialError {
    /// The reason of each provider, of bounded length.
    pub(super) message: String,
    /// The step that failed.
    pub(super) step: Step,
}

impl CredentialError {
    pub(super) fn new(message: impl Into<String>) -> CredentialError {
        CredentialError { message: message.into(), step: Step::Credentials }
    }

    /// The error of a request that has no credentials.
    pub(super) fn of_request(self, operation: Operation) -> Error {
        let connection = self.step.is_connection();
        let kind = if connection { ErrorKind::Connection } else { ErrorKind::Unauthorized };
        // Longer than other messages: it has the reason of each provider.
        let message = format!("no AWS credentials: {}", self.message);
        Error { message, step: Some(self.step), ..Error::new(operation, kind, "") }
    }

    /// `error` in `step`, or in the connection.
    fn of(error: &CredentialsError, context: &str, step: Step) -> CredentialError {
        let step = connection_error(error).and_then(|error| error.step).unwrap_or(step);
        CredentialError { message: format!("{context}: {}", reason(error)), step }
    }
}

impl CredentialSource {
    /// Builds the chain for each fetch, because a chain caches files that can have changed.
    pub(super) async fn fetch(&self, clock: &ServiceClock) -> Result<Credentials, CredentialError> {
        let (profile, role, region, fips, dual_stack, ca_bundle) = match self {
            CredentialSource::Fixed { access_key_id, secret_access_key } => {
                return Ok(Credentials::new(access_key_id, secret_access_key, None, None, "fixed"));
            }
            CredentialSource::Chain { profile, role, region, fips, dual_stack, ca_bundle } => (
                profile.as_deref(),
                role,
                Region::new(region.clone()),
                *fips,
                *dual_stack,
                ca_bundle,
            ),
        };
        let http = SdkHttpClient::new(ca_bundle.as_deref());
        let config = ProviderConfig::without_region()
            .with_region(Some(region.clone()))
            .with_use_fips(Some(fips))
            .with_use_dual_stack(Some(dual_stack))
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_http_client(http.clone())
            .with_time_source(clock.clone());
        let credentials = first_of(providers(profile, &config).await).await?;
        let Some(role) = role else { return Ok(credentials) };
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(region)
            .use_fips(fips)
            .use_dual_stack(dual_stack)
            .http_client(http)
            .time_source(clock.clone())
            .no_credentials();
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        let mut assume = AssumeRoleProvider::builder(&role.arn)
            .configure(&loader.load().await)
            .session_name(&role.session_name);
        if let Some(external_id) = &role.external_id {
            assume = assume.external_id(external_id);
        }
        let assume = assume.build_from_provider(credentials).await;
        let credentials = assume.provide_credentials().await.map_err(|error| {
            let context = format!("cannot assume {}", role.arn);
            CredentialError::of(&error, &context, Step::AssumeRole)
        })?;
        tracing::debug!(role = role.arn, session_name = role.session_name, "role assumed");
        Ok(credentials)
    }
}

type Providers = Vec<(String, Box<dyn ProvideCredentials>)>;

/// The providers in the order of the SDKs. As in the AWS CLI, a configured profile replaces those that
/// read the environment.
async fn providers(profile: Option<&str>, config: &ProviderConfig) -> Providers {
    let mut file = ProfileFileCredentialsProvider::builder().configure(config);
    let mut providers: Providers = Vec::new();
    match profile {
        Some(profile) => {
            file = file.profile_name(profile);
            providers.push((format!("profile {profile}"), Box::new(file.build())));
        }
        None => {
            // Loads the profile, from which the clients below read their endpoints.
            use_fips_provider(config).await;
            let environment = EnvironmentVariableCredentialsProvider::new();
            let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(config);
            providers.push(("environment".into(), Box::new(environment)));
            providers.push(("profile".into(), Box::new(file.build())));
            providers.push(("web identity".into(), Box::new(web_identity.build())));
        }
    }
    let container = EcsCredentialsProvider::builder().configure(config).build();
    let instance = ImdsCredentialsProvider::builder().configure(config).build();
    providers.push(("container (ECS, EKS)".into(), Box::new(container)));
    providers.push(("instance metadata (EC2)".into(), Box::new(instance)));
    providers
}

/// The credentials of the first provider that is configured. Its failure ends the chain.
async fn first_of(providers: Providers) -> Result<Credentials, CredentialError> {
    let mut reasons = Vec::new();
    for (name, provider) in providers {
        match provider.provide_credentials().await {
            Ok(credentials) => {
                tracing::debug!(provider = name, "credentials provided");
                return Ok(credentials);
            }
            Err(error @ CredentialsError::CredentialsNotLoaded(_)) => {
                let reason = reason(&error);
                tracing::debug!(provider = name, reason, "provider has no credentials");
                reasons.push(format!("{name}: {reason}"));
            }
            Err(error) => {
                let failure = CredentialError::of(&error, &name, Step::Credentials);
                tracing::debug!(provider = name, error = failure.message, "provider failed");
                reasons.push(failure.message);
                return Err(CredentialError { message: reasons.join("; "), ..failure });
            }
        }
    }
    Err(CredentialError::new(format!("no provider returned credentials: {}", reasons.join("; "))))
}

/// The error without the common prefix.
fn reason(error: &CredentialsError) -> String {
    let text = match (connection_error(error), error.source()) {
        (Some(connection), _) => connection.to_string(),
        (None, Some(cause)) => chain(cause),
        (None, None) => "has no credentials".into(),
    };
    shortened(&text, MAX_REASON)
}

/// The connection that failed.
fn connection_error(error: &CredentialsError) -> Option<&ConnectionError> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(connection) = error.downcast_ref() {
            return Some(connection);
        }
        cause = error.source();
    }
    None
}
