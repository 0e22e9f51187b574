//! Settings of the AWS SDKs, from the configuration, the environment and the profile, in this order.
//! botocore resolves the same: both contact the same hosts.

use std::{fmt, path::PathBuf, time::Duration};

use aws_config::{
    Region,
    imds::region::ImdsRegionProvider,
    meta::region::ProvideRegion as _,
    profile::{ProfileFileRegionProvider, ProfileSet, load as load_profiles},
    provider_config::ProviderConfig,
};
use aws_runtime::env_config::{EnvConfigValue, file::EnvConfigFiles};
use aws_types::{
    origin::Origin,
    os_shim_internal::{Env, Fs},
};

use super::{
    Endpoint,
    connection::{authorities, proxy_of},
    error::chain,
    sdk_http::SdkHttpClient,
};

/// The id of the service in names of variables and in `services` sections.
const SERVICE: &str = "wickr";
/// The session name of an assumed role, which CloudTrail shows.
const SESSION_NAME: &str = "wickr-exporter";
/// Keys of a profile that select its provider of credentials.
const PROVIDER_KEYS: [&str; 8] = [
    "role_arn",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
    "login_session",
    "credential_process",
    "credential_source",
    "aws_access_key_id",
];
/// Keys of providers that use STS, SSO or sign-in.
const REMOTE_PROVIDER_KEYS: [&str; 5] =
    ["role_arn", "sso_session", "sso_start_url", "web_identity_token_file", "login_session"];
/// The variable for all endpoints. A suffix restricts it to one service.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
/// The endpoints that the SDK reads for these providers.
const SDK_ENDPOINTS: [&str; 5] = ["", "_STS", "_SSO", "_SSO_OIDC", "_SIGNIN"];
/// Timeout of the instance metadata.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// What the configuration sets. It overrides the environment and the profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfiguredSettings {
    /// The profile; None for that of the environment.
    pub profile: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Whether to use FIPS endpoints.
    pub fips: Option<bool>,
    /// Whether to use dual-stack endpoints.
    pub dual_stack: Option<bool>,
    /// The endpoint of Wickr.
    pub endpoint_url: Option<Endpoint>,
    /// The session name of an assumed role.
    pub role_session_name: Option<String>,
    /// Whether a role is assumed.
    pub assumes_role: bool,
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// The key, variable or profile that sets it.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The configuration file, with the key in `[aws]`.
    Configuration(&'static str),
    /// An environment variable.
    Variable(String),
    /// A key of a profile.
    Profile {
        /// The key.
        key: &'static str,
        /// The profile.
        profile: String,
        /// Whether the `services` section of the profile has the key.
        of_service: bool,
    },
    /// The instance metadata.
    Instance,
    /// The value if nothing sets it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Configuration(key) => write!(f, "aws.{key}"),
            Source::Variable(name) => f.write_str(name),
            Source::Profile { key, profile, of_service: false } => {
                write!(f, "{key} of the profile {profile}")
            }
            Source::Profile { key, profile, of_service: true } => {
                write!(f, "{key} in the services section of the profile {profile}")
            }
            Source::Instance => f.write_str("instance metadata"),
            Source::Default => f.write_str("default"),
        }
    }
}

/// The resolved settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The region; None if nothing sets it.
    pub region: Option<Setting<String>>,
    /// Whether Wickr, STS and SSO use FIPS endpoints.
    pub fips: Setting<bool>,
    /// Whether Wickr, STS and SSO use dual-stack endpoints.
    pub dual_stack: Setting<bool>,
    /// The endpoint of Wickr; None for that of the region. As in botocore, `fips` and `dual_stack`
    /// do not change it.
    pub endpoint_url: Option<Setting<Endpoint>>,
    /// The certificate authorities; None for those of the system.
    pub ca_bundle: Option<Setting<PathBuf>>,
    /// The session name of an assumed role.
    pub role_session_name: Setting<String>,
    /// What selects the provider of credentials; the instance metadata if nothing else does.
    pub credentials: Source,
}

impl Settings {
    /// What the configuration sets, and defaults.
    pub fn of_configuration(configured: &ConfiguredSettings) -> Settings {
        let (env, profiles) = (Env::from_slice(&[]), ProfileSet::default());
        Lookup { env: &env, profiles: &profiles }.settings(configured, &mut Vec::new())
    }

    /// Resolves the settings. Asks the instance metadata for the region only with `instance`.
    ///
    /// # Errors
    ///
    /// Each invalid value with its source. Messages do not contain URLs, which can contain passwords.
    pub async fn resolve(
        configured: &ConfiguredSettings,
        instance: bool,
    ) -> Result<Settings, Vec<String>> {
        let (env, fs) = (Env::default(), Fs::default());
        let profile = configured.profile.clone();
        let files = EnvConfigFiles::default();
        let profiles = load_profiles(&fs, &env, &files, profile.clone().map(Into::into)).await;
        let profiles = profiles.map_err(|error| vec![chain(&error)])?;
        if let Some(name) = profile.filter(|name| profiles.get_profile(name).is_none()) {
            return Err(vec![format!(
                "aws.profile: {name:?} is in neither ~/.aws/config nor ~/.aws/credentials, \
                 nor in the files of AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE"
            )]);
        }
        let mut problems = Vec::new();
        let mut settings =
            Lookup { env: &env, profiles: &profiles }.settings(configured, &mut problems);
        if let Some(Setting { value, source }) = &settings.ca_bundle {
            problems.extend(authorities(value).err().map(|problem| format!("{source}: {problem}")));
        }
        problems.extend(proxy_of("https://localhost").err());
        if settings.region.is_none() && problems.is_empty() {
            settings.region = region(configured, &settings, &profiles, instance).await;
        }
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }
}

/// The region of the profile, or of one that it refers to, or of the instance.
async fn region(
    configured: &ConfiguredSettings,
    settings: &Settings,
    profiles: &ProfileSet,
    instance: bool,
) -> Option<Setting<String>> {
    let mut provider = ProfileFileRegionProvider::builder();
    if let Some(profile) = &configured.profile {
        provider = provider.profile_name(profile);
    }
    let found = |region: Region, source| {
        let value = region.as_ref().to_owned();
        (!value.is_empty()).then_some(Setting { value, source })
    };
    if let Some(region) = provider.build().region().await {
        let profile = profiles.selected_profile().to_owned();
        return found(region, Source::Profile { key: "region", profile, of_service: false });
    }
    if !instance {
        return None;
    }
    let ca_bundle = settings.ca_bundle.as_ref().map(|setting| setting.value.as_path());
    let client = SdkHttpClient::new(ca_bundle);
    let config = ProviderConfig::without_region().with_http_client(client);
    let provider = ImdsRegionProvider::builder().configure(&config).build();
    let region = tokio::time::timeout(METADATA_TIMEOUT, provider.region()).await.ok()??;
    found(region, Source::Instance)
}

/// Reads the environment before the profile.
struct Lookup<'a> {
    env: &'a Env,
    profiles: &'a ProfileSet,
}

impl Lookup<'_> {
    fn settings(&self, configured: &ConfiguredSettings, problems: &mut Vec<String>) -> Settings {
        let own = |key, value: Option<bool>| {
            value.map(|value| Setting { value, source: Source::Configuration(key) })
        };
        let mut flag = |key, value, variable, profile_key| {
            own(key, value).unwrap_or_else(|| {
                self.boolean(variable, profile_key).unwrap_or_else(|problem| {
                    problems.push(problem);
                    Setting { value: false, source: Source::Default }
                })
            })
        };
        let fips = flag("fips", configured.fips, "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint");
        let dual_stack = flag(
            "dual_stack",
            configured.dual_stack,
            "AWS_USE_DUALSTACK_ENDPOINT",
            "use_dualstack_endpoint",
        );
        let endpoint_url = self.endpoint(configured, problems);
        let region = configured.region.clone().map_or_else(
            || {
                let variable = |name| self.find(Some(name), None);
                variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"))
            },
            |value| Some(Setting { value, source: Source::Configuration("region") }),
        );
        let credentials = self.credentials(configured.profile.is_none());
        if configured.assumes_role || is_remote(&credentials) {
            problems.extend(self.empty_sdk_endpoint());
        }
        Settings {
            region,
            fips,
            dual_stack,
            endpoint_url,
            ca_bundle: self
                .find(Some("AWS_CA_BUNDLE"), Some("ca_bundle"))
                .map(|Setting { value, source }| Setting { value: value.into(), source }),
            role_session_name: self.session_name(configured, problems),
            credentials,
        }
    }

    /// The SDK panics if it must use an empty endpoint.
    fn empty_sdk_endpoint(&self) -> Option<String> {
        let variable = |service: &&str| self.in_environment(format!("{ENDPOINT}{service}"));
        let variables = SDK_ENDPOINTS.iter().filter_map(variable);
        let mut endpoints = variables.chain(self.in_profile("endpoint_url", false));
        let Setting { source, .. } = endpoints.find(|endpoint| endpoint.value.is_empty())?;
        Some(format!(
            "{source}: is empty, so that the provider of credentials has no endpoint; remove it"
        ))
    }

    /// The first variable or key of a profile that selects a provider, in the order of the chain.
    fn credentials(&self, from_environment: bool) -> Source {
        let variable = |names: &[&str]| names.iter().find_map(|name| self.find(Some(name), None));
        let own = || variable(&["AWS_ACCESS_KEY_ID"]);
        let of_profile = || PROVIDER_KEYS.iter().find_map(|key| self.find(None, Some(key)));
        let web_identity = || variable(&["AWS_WEB_IDENTITY_TOKEN_FILE"]);
        let container = || {
            let uris =
                ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
            variable(&uris)
        };
        let found = match from_environment {
            true => own().or_else(of_profile).or_else(web_identity),
            false => of_profile(),
        };
        found.or_else(container).map_or(Source::Instance, |setting| setting.source)
    }

    fn session_name(
        &self,
        configured: &ConfiguredSettings,
        problems: &mut Vec<String>,
    ) -> Setting<String> {
        if let Some(value) = configured.role_session_name.clone() {
            return Setting { value, source: Source::Configuration("role_session_name") };
        }
        match self.find(Some("AWS_ROLE_SESSION_NAME"), None) {
            Some(setting) if is_session_name(&setting.value) => setting,
            Some(_) => {
                problems.push(format!("AWS_ROLE_SESSION_NAME: {SESSION_NAME_RULE}"));
                Setting { value: SESSION_NAME.into(), source: Source::Default }
            }
            None => Setting { value: SESSION_NAME.into(), source: Source::Default },
        }
    }

    fn endpoint(
        &self,
        configured: &ConfiguredSettings,
        problems: &mut Vec<String>,
    ) -> Option<Setting<Endpoint>> {
        if let Some(value) = configured.endpoint_url.clone() {
            return Some(Setting { value, source: Source::Configuration("endpoint_url") });
        }
        let ignored =
            self.boolean("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls");
        match ignored {
            Ok(ignored) if ignored.value => return None,
            Ok(_) => {}
            Err(problem) => problems.push(problem),
        }
        let Setting { value, source } = self.find_endpoint()?;
        match Endpoint::parse(&value) {
            Ok(value) => Some(Setting { value, source }),
            Err(problem) => {
                problems.push(format!("{source}: {problem}"));
                None
            }
        }
    }

    /// False by default.
    fn boolean(&self, variable: &str, key: &'static str) -> Result<Setting<bool>, String> {
        match self.find(Some(variable), Some(key)) {
            None => Ok(Setting { value: false, source: Source::Default }),
            Some(Setting { value, source }) if value.eq_ignore_ascii_case("true") => {
                Ok(Setting { value: true, source })
            }
            Some(Setting { value, source }) if value.eq_ignore_ascii_case("false") => {
                Ok(Setting { value: false, source })
            }
            Some(Setting { source, .. }) => Err(format!("{source}: must be true or false")),
        }
    }

    /// An empty variable disables the value of the profile, as in botocore.
    fn find(&self, variable: Option<&str>, key: Option<&'static str>) -> Option<Setting<String>> {
        let found = variable.and_then(|name| self.in_environment(name.to_owned()));
        let found = found.or_else(|| self.in_profile(key?, false));
        found.filter(|setting| !setting.value.is_empty())
    }

    /// An endpoint for Wickr overrides one for all services. As in botocore, an empty endpoint is ignored.
    fn find_endpoint(&self) -> Option<Setting<String>> {
        let set = |setting: Option<Setting<String>>| setting.filter(|s| !s.value.is_empty());
        set(self.in_environment(format!("{ENDPOINT}_{}", SERVICE.to_uppercase())))
            .or_else(|| set(self.in_environment(ENDPOINT.to_owned())))
            .or_else(|| set(self.in_profile("endpoint_url", true)))
            .or_else(|| set(self.in_profile("endpoint_url", false)))
    }

    fn in_environment(&self, name: String) -> Option<Setting<String>> {
        let value = self.env.get(&name).ok()?;
        Some(Setting { value, source: Source::Variable(name) })
    }

    fn in_profile(&self, key: &'static str, service: bool) -> Option<Setting<String>> {
        let mut lookup = EnvConfigValue::new().profile(key);
        if service {
            lookup = lookup.service_id(SERVICE);
        }
        let (value, source) = lookup.load(self.env, Some(self.profiles))?;
        let origin: Origin = (&source).into();
        let profile = self.profiles.selected_profile().to_owned();
        let of_service = origin == Origin::service_profile_file();
        Some(Setting {
            value: value.into_owned(),
            source: Source::Profile { key, profile, of_service },
        })
    }
}

/// Whether STS, SSO or sign-in provides the credentials.
fn is_remote(credentials: &Source) -> bool {
    match credentials {
        Source::Variable(name) => name == "AWS_WEB_IDENTITY_TOKEN_FILE",
        Source::Profile { key, .. } => REMOTE_PROVIDER_KEYS.contains(key),
        _ => false,
    }
}

/// The rule of STS for session names.
pub const SESSION_NAME_RULE: &str = "must be 2 to 64 letters, digits or any of _+=,.@-";

/// Whether STS accepts a session name.
pub fn is_session_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    (2..=64).contains(&text.len()) && text.bytes().all(allowed)
}
