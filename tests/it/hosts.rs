//! The program and botocore contact the same host for the same environment, profile and configuration:
//! Wickr, STS in three ways, and SSO in two, in regions of several partitions.
//!
//! Each configuration key corresponds to the environment variable that it overrides.

use std::{collections::BTreeMap, fs, path::Path, process::Stdio};

use futures_util::{StreamExt, stream};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::{
    connect_log::ConnectLog,
    harness::{TIMEOUT, program},
    tools,
};

/// Commercial, GovCloud, China, and one that no SDK knows.
const REGIONS: [&str; 4] = ["us-east-1", "us-gov-west-1", "cn-north-1", "xx-nowhere-9"];
/// Other partitions, and the start of a partition without a number.
const FURTHER_REGIONS: [&str; 3] = ["cn-nowhere", "eusc-de-east-1", "us-iso-east-1"];

/// How a service is contacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Service {
    Wickr,
    /// `aws.role_arn`
    Sts,
    /// `role_arn` of the profile
    StsOfProfile,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`
    StsWithWebIdentity,
    /// A valid SSO token
    Sso,
    /// An expired SSO token, which is renewed
    SsoOidc,
}

const SERVICES: [Service; 6] = [
    Service::Wickr,
    Service::Sts,
    Service::StsOfProfile,
    Service::StsWithWebIdentity,
    Service::Sso,
    Service::SsoOidc,
];

/// A combination of settings.
#[derive(Debug, Clone, Copy, Default)]
struct Settings {
    /// Lines of `[aws]`.
    configuration: &'static str,
    environment: &'static [(&'static str, &'static str)],
    /// Lines of the profile, and sections after it.
    profile: &'static str,
    /// Whether the configuration names the profile, instead of `AWS_PROFILE`.
    explicit_profile: bool,
}

const NONE: Settings =
    Settings { configuration: "", environment: &[], profile: "", explicit_profile: false };

/// Also tried in [`FURTHER_REGIONS`].
const EVERYWHERE: &[Settings] =
    &[NONE, Settings { configuration: "fips = true\ndual_stack = true", ..NONE }];

/// Select a host by region: tried in [`REGIONS`].
const BY_REGION: &[Settings] = &[
    Settings { explicit_profile: true, ..NONE },
    Settings { configuration: "fips = true", ..NONE },
    Settings { environment: &[("AWS_USE_FIPS_ENDPOINT", "true")], ..NONE },
    Settings { profile: "use_fips_endpoint = true", ..NONE },
    Settings { configuration: "dual_stack = true", ..NONE },
    Settings { environment: &[("AWS_USE_DUALSTACK_ENDPOINT", "True")], ..NONE },
    Settings { profile: "use_dualstack_endpoint = true", explicit_profile: true, ..NONE },
];

/// Replace or keep the host in any region: tried in one.
const IN_ONE_REGION: &[Settings] = &[
    // The configuration overrides the environment, which overrides the profile.
    Settings {
        configuration: "fips = false",
        environment: &[("AWS_USE_FIPS_ENDPOINT", "true")],
        ..NONE
    },
    Settings {
        environment: &[("AWS_USE_DUALSTACK_ENDPOINT", "false")],
        profile: "use_dualstack_endpoint = true",
        ..NONE
    },
    Settings { configuration: "endpoint_url = \"https://key.example:8443\"", ..NONE },
    Settings {
        configuration: "endpoint_url = \"https://key.example\"",
        environment: &[("AWS_ENDPOINT_URL_WICKR", "https://variable.example")],
        ..NONE
    },
    Settings { environment: &[("AWS_ENDPOINT_URL_WICKR", "https://wickr.example")], ..NONE },
    Settings { environment: &[("AWS_ENDPOINT_URL_STS", "https://sts.example")], ..NONE },
    Settings { environment: &[("AWS_ENDPOINT_URL_SSO", "https://sso.example")], ..NONE },
    Settings { environment: &[("AWS_ENDPOINT_URL_SSO_OIDC", "https://oidc.example")], ..NONE },
    Settings { environment: &[("AWS_ENDPOINT_URL", "https://all.example:444")], ..NONE },
    Settings {
        environment: &[
            ("AWS_ENDPOINT_URL", "https://all.example"),
            ("AWS_ENDPOINT_URL_WICKR", "https://wickr.example"),
            ("AWS_ENDPOINT_URL_STS", "https://sts.example"),
        ],
        profile: "endpoint_url = https://profile.example",
        ..NONE
    },
    // An empty endpoint hides no other.
    Settings {
        environment: &[("AWS_ENDPOINT_URL_WICKR", ""), ("AWS_ENDPOINT_URL", "https://all.example")],
        ..NONE
    },
    Settings {
        environment: &[("AWS_ENDPOINT_URL", "")],
        profile: "endpoint_url = https://profile.example",
        ..NONE
    },
    Settings {
        profile: "services = local\nendpoint_url = https://profile.example\n[services local]\n\
                  wickr =\n  endpoint_url =\n",
        ..NONE
    },
    Settings { profile: "endpoint_url = https://profile.example", ..NONE },
    Settings { profile: "endpoint_url = https://profile.example", explicit_profile: true, ..NONE },
    Settings {
        profile: "services = local\nendpoint_url = https://profile.example\n[services local]\n\
                  wickr =\n  endpoint_url = https://wickr.example\n\
                  sts =\n  endpoint_url = https://sts.example\n\
                  sso =\n  endpoint_url = https://sso.example",
        ..NONE
    },
    Settings {
        environment: &[
            ("AWS_ENDPOINT_URL", "https://all.example"),
            ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        ],
        ..NONE
    },
    Settings {
        profile: "endpoint_url = https://profile.example\nignore_configured_endpoint_urls = true",
        ..NONE
    },
    Settings {
        configuration: "endpoint_url = \"https://key.example\"",
        environment: &[("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")],
        ..NONE
    },
    // FIPS and dual stack do not change an endpoint.
    Settings {
        environment: &[
            ("AWS_ENDPOINT_URL", "https://all.example"),
            ("AWS_USE_FIPS_ENDPOINT", "true"),
        ],
        ..NONE
    },
    Settings {
        configuration: "endpoint_url = \"https://key.example\"",
        profile: "use_dualstack_endpoint = true",
        ..NONE
    },
];

/// The differences that docs/aws.md explains.
fn is_documented_difference(case: &Case) -> bool {
    let Settings { environment, profile, .. } = case.settings;
    let has = |variable: &str| environment.iter().any(|(name, _)| *name == variable);
    let of_all = has("AWS_ENDPOINT_URL") || profile.starts_with("endpoint_url");
    let ignores = has("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") || profile.contains("\nignore_");
    if case.service != Service::Wickr && environment.contains(&("AWS_ENDPOINT_URL", "")) {
        return true;
    }
    match case.service {
        Service::Wickr => false,
        Service::Sts => of_all && has("AWS_USE_FIPS_ENDPOINT"),
        _ => of_all && (ignores || has("AWS_USE_FIPS_ENDPOINT")),
    }
}

#[derive(Debug)]
struct Case {
    settings: Settings,
    service: Service,
    region: &'static str,
    folder: TempDir,
}

impl Case {
    fn new(settings: Settings, service: Service, region: &'static str) -> Case {
        let folder = tempfile::tempdir().unwrap();
        let case = Case { settings, service, region, folder };
        case.write_files();
        case
    }

    fn write_files(&self) {
        let write = |name: &str, text: String| {
            let path = self.folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let region = self.region;
        let keys = "aws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret";
        let own = match self.service {
            Service::Wickr | Service::Sts => keys.to_owned(),
            Service::StsOfProfile => {
                "role_arn = arn:aws:iam::111122223333:role/r\nsource_profile = source".into()
            }
            Service::StsWithWebIdentity => String::new(),
            Service::Sso | Service::SsoOidc => {
                "sso_session = s\nsso_account_id = 111122223333\nsso_role_name = r".into()
            }
        };
        write(
            ".aws/config",
            format!(
                "[profile source]\n{keys}\n[sso-session s]\nsso_region = {region}\n\
                 sso_start_url = https://example.awsapps.com/start\n\
                 sso_registration_scopes = sso:account:access\n\
                 [profile p]\n{own}\n{}\n",
                self.settings.profile
            ),
        );
        let expires = if self.service == Service::SsoOidc { 2020 } else { 2099 };
        let token = json!({
            "startUrl": "https://example.awsapps.com/start", "region": region,
            "accessToken": "token", "expiresAt": format!("{expires}-01-01T00:00:00Z"),
            "clientId": "id", "clientSecret": "secret", "refreshToken": "refresh",
            "registrationExpiresAt": "2099-01-01T00:00:00Z",
        });
        // The SHA-1 of the session's name.
        write(".aws/sso/cache/a0f1490a20d0211c997b44bc357e1972deab8ae3.json", token.to_string());
        write("token", "web.identity.token".into());
        let profile = if self.settings.explicit_profile { "profile = \"p\"" } else { "" };
        let role = match self.service {
            Service::Sts => "role_arn = \"arn:aws:iam::111122223333:role/r\"",
            _ => "",
        };
        write(
            "config.toml",
            format!(
                "[aws]\nregion = \"{region}\"\n{profile}\n{role}\n{}\n[poll]\nmax_attempts = 1\n\
                 [[network]]\nid = \"all\"\nusers = \"all\"\n",
                self.settings.configuration
            ),
        );
    }

    /// For the program and for botocore.
    fn environment(&self, proxy: &ConnectLog) -> BTreeMap<String, String> {
        let home = self.folder.path().display().to_string();
        let mut variables: BTreeMap<String, String> = [
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_MAX_ATTEMPTS", "1".to_owned()),
            ("AWS_CONFIG_FILE", format!("{home}/.aws/config")),
            ("AWS_SHARED_CREDENTIALS_FILE", format!("{home}/.aws/credentials")),
            ("HTTPS_PROXY", format!("http://{}", proxy.address())),
            ("HOME", home.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let mut set = |name: &str, value: &str| variables.insert(name.into(), value.into());
        if !self.settings.explicit_profile {
            set("AWS_PROFILE", "p");
        }
        if self.service == Service::StsWithWebIdentity {
            set("AWS_WEB_IDENTITY_TOKEN_FILE", &format!("{home}/token"));
            set("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/r");
        }
        for (name, value) in self.settings.environment {
            set(name, value);
        }
        variables
    }

    /// For botocore: also the variables that the keys of the configuration stand for.
    fn for_botocore(&self, proxy: &ConnectLog) -> serde_json::Value {
        let mut environment = self.environment(proxy);
        let configuration: toml::Table = toml::from_str(self.settings.configuration).unwrap();
        for (key, name) in
            [("fips", "AWS_USE_FIPS_ENDPOINT"), ("dual_stack", "AWS_USE_DUALSTACK_ENDPOINT")]
        {
            if let Some(value) = configuration.get(key) {
                environment.insert(name.into(), value.as_bool().unwrap().to_string());
            }
        }
        json!({
            "environment": environment,
            "profile": self.settings.explicit_profile.then_some("p"),
            "service": if self.service == Service::Sts { "sts" } else { "wickr" },
            "region": self.region,
            "endpoint_url": configuration.get("endpoint_url").and_then(|url| url.as_str()),
        })
    }
}

/// The host that the program contacts first, or its messages if it contacts none.
async fn contacted(case: &Case) -> Result<String, String> {
    let mut proxy = ConnectLog::start().await;
    let mut command = Command::from(program());
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .envs(case.environment(&proxy))
        .args(["check", "--online", "--config.file"])
        .arg(case.folder.path().join("config.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = command.spawn().unwrap().wait_with_output();
    tokio::select! {
        biased;
        host = proxy.next() => Ok(host),
        output = output => {
            let output = output.unwrap();
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            proxy.so_far().into_iter().next().ok_or(text)
        }
    }
}

/// The host that botocore contacts first in each case, or its error. Does not block the task, in which
/// the program runs, too.
async fn contacted_by_botocore(python: &Path, cases: &[Case]) -> Vec<Result<String, String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hosts.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut hosts = Vec::new();
    for case in cases {
        let mut proxy = ConnectLog::start().await;
        let line = format!("{}\n", case.for_botocore(&proxy));
        stdin.write_all(line.as_bytes()).await.unwrap();
        let error = lines.next_line().await.unwrap().unwrap();
        hosts.push(proxy.so_far().into_iter().next().ok_or(error));
    }
    drop(stdin);
    assert!(child.wait().await.unwrap().success());
    hosts
}

#[tokio::test(flavor = "multi_thread")]
async fn program_and_botocore_contact_the_same_hosts() {
    let Some(python) = tools::python("botocore") else { return };
    let mut cases = Vec::new();
    for service in SERVICES {
        for settings in EVERYWHERE {
            cases.extend(FURTHER_REGIONS.map(|region| Case::new(*settings, service, region)));
        }
        for settings in EVERYWHERE.iter().chain(BY_REGION) {
            cases.extend(REGIONS.map(|region| Case::new(*settings, service, region)));
        }
        cases.extend(
            IN_ONE_REGION.iter().map(|settings| Case::new(*settings, service, "us-east-1")),
        );
    }
    let ours = async {
        let runs = stream::iter(&cases).map(|case| tokio::time::timeout(TIMEOUT, contacted(case)));
        runs.buffered(4).collect::<Vec<_>>().await
    };
    let (ours, botocore) = tokio::join!(ours, contacted_by_botocore(&python, &cases));
    let mut differences = Vec::new();
    let mut hosts = std::collections::BTreeSet::new();
    for ((case, ours), botocore) in cases.iter().zip(ours).zip(botocore) {
        let ours = ours.expect("time-out");
        let equal = match (&ours, &botocore) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        hosts.extend(ours.clone().ok());
        if equal == is_documented_difference(case) {
            let Case { settings, service, region, .. } = case;
            differences.push(format!("{service:?} {region} {settings:?}: {ours:?}, {botocore:?}"));
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(hosts.len() > 60, "{hosts:?}");
}
