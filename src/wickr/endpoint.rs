//! Endpoints of the Admin API.

use std::fmt;

use reqwest::Url;

use super::connection::is_loopback;

/// The base URL of requests.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `scheme://host[:port][/path]`
    base: String,
}

impl Endpoint {
    /// The endpoint of the service in `region`.
    pub fn of_region(region: &str, fips: bool, dual_stack: bool) -> Endpoint {
        let service = if fips { "wickr-fips" } else { "wickr" };
        let partition = Partition::of_region(region);
        let suffix = if dual_stack { partition.dual_stack_suffix } else { partition.dns_suffix };
        Endpoint { base: format!("https://admin.{service}.{region}.{suffix}") }
    }

    /// Whether this is an endpoint of the service in `region`.
    pub(super) fn is_of_region(&self, region: &str) -> bool {
        let flags = [(false, false), (true, false), (false, true), (true, true)];
        flags
            .iter()
            .any(|(fips, dual_stack)| *self == Endpoint::of_region(region, *fips, *dual_stack))
    }

    /// A configured endpoint: a VPC endpoint, a proxy, a simulator.
    ///
    /// # Errors
    ///
    /// When `text` is not an absolute HTTP URL, has credentials, a query or a fragment, or is plain
    /// HTTP to a host other than loopback: signed requests in clear text can be replayed. The error does
    /// not contain the URL, which can contain a password.
    pub fn parse(text: &str) -> Result<Endpoint, String> {
        let url = Url::parse(text).map_err(|e| format!("is not a URL: {e}"))?;
        let loopback = match url.host_str() {
            None | Some("") => return Err("has no host".into()),
            Some(host) => is_loopback(host),
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err("must be https://; plain http:// is for loopback only".into()),
            other => return Err(format!("must be https://, not {other}://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a username or password".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not contain a query or a fragment".into());
        }
        Ok(Endpoint { base: url.as_str().trim_end_matches('/').to_owned() })
    }

    /// `scheme://host[:port][/path]`, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.base
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// Regions in which Wickr has an endpoint, as far as AWS documents them. Others can be new.
const REGIONS: [&str; 12] = [
    "us-east-1",
    "us-gov-west-1",
    "ca-central-1",
    "eu-central-1",
    "eu-central-2",
    "eu-west-2",
    "eu-north-1",
    "me-central-1",
    "ap-northeast-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-5",
];
/// The regions with a documented FIPS endpoint.
const FIPS_REGIONS: [&str; 1] = ["us-gov-west-1"];

/// Whether AWS documents an endpoint of Wickr in `region`.
pub fn is_documented_region(region: &str, fips: bool) -> bool {
    let regions: &[&str] = if fips { &FIPS_REGIONS } else { &REGIONS };
    regions.contains(&region)
}

/// An AWS partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The partition in ARNs.
    pub id: &'static str,
    /// The DNS suffix of IPv4 endpoints.
    pub dns_suffix: &'static str,
    /// The DNS suffix of dual-stack endpoints.
    pub dual_stack_suffix: &'static str,
}

/// By the start of the region, which a name and a number follow, from `partitions.json` of the AWS SDKs.
const PARTITIONS: [(&str, Partition); 7] = [
    ("cn-", partition("aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn")),
    ("us-gov-", partition("aws-us-gov", "amazonaws.com", "api.aws")),
    ("us-iso-", partition("aws-iso", "c2s.ic.gov", "api.aws.ic.gov")),
    ("us-isob-", partition("aws-iso-b", "sc2s.sgov.gov", "api.aws.scloud")),
    ("eu-isoe-", partition("aws-iso-e", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk")),
    ("us-isof-", partition("aws-iso-f", "csp.hci.ic.gov", "api.aws.hci.ic.gov")),
    ("eusc-de-", partition("aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu")),
];
/// The partition of all other regions, also of unknown ones.
const COMMERCIAL: Partition = partition("aws", "amazonaws.com", "api.aws");

const fn partition(
    id: &'static str,
    dns_suffix: &'static str,
    dual_stack_suffix: &'static str,
) -> Partition {
    Partition { id, dns_suffix, dual_stack_suffix }
}

impl Partition {
    /// The partition of `region`; the commercial partition if the region is unknown.
    pub fn of_region(region: &str) -> Partition {
        let is_of = |start: &str, id: &str| {
            let rest = region.strip_prefix(start).and_then(|rest| rest.split_once('-'));
            let numbered = |(name, number): (&str, &str)| {
                !name.is_empty()
                    && !number.is_empty()
                    && number.bytes().all(|byte| byte.is_ascii_digit())
            };
            rest.is_some_and(numbered) || region.strip_suffix("-global") == Some(id)
        };
        let found = PARTITIONS.iter().find(|(start, partition)| is_of(start, partition.id));
        found.map_or(COMMERCIAL, |(_, partition)| *partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_the_host_from_region_fips_and_dual_stack() {
        let host = |region, fips, dual| Endpoint::of_region(region, fips, dual).base;
        assert_eq!(host("us-east-1", false, false), "https://admin.wickr.us-east-1.amazonaws.com");
        assert_eq!(
            host("us-gov-west-1", true, false),
            "https://admin.wickr-fips.us-gov-west-1.amazonaws.com"
        );
        assert_eq!(
            host("cn-north-1", false, false),
            "https://admin.wickr.cn-north-1.amazonaws.com.cn"
        );
        assert_eq!(host("eu-central-1", false, true), "https://admin.wickr.eu-central-1.api.aws");
        assert_eq!(host("us-east-1", true, true), "https://admin.wickr-fips.us-east-1.api.aws");
        assert_eq!(
            host("eusc-de-east-1", false, false),
            "https://admin.wickr.eusc-de-east-1.amazonaws.eu"
        );
        assert_eq!(Partition::of_region("us-iso-east-1").id, "aws-iso");
        assert_eq!(Partition::of_region("us-isob-east-1").id, "aws-iso-b");
    }

    #[test]
    fn allows_plain_http_for_loopback_only() {
        for valid in [
            "http://127.0.0.1:8000",
            "http://localhost/x/",
            "http://[::1]:1",
            "https://vpce-1.example.com",
        ] {
            assert!(Endpoint::parse(valid).is_ok(), "{valid}");
        }
        for invalid in [
            "http://example.com",
            "http://10.0.0.1",
            "ftp://localhost",
            "nonsense",
            "https://u:p@h",
            "https://h?x=1",
        ] {
            assert!(Endpoint::parse(invalid).is_err(), "{invalid}");
        }
        assert_eq!(
            Endpoint::parse("http://localhost:1/base/").unwrap().as_str(),
            "http://localhost:1/base"
        );
        assert!(!Endpoint::parse("https://joe:hunter2@h").unwrap_err().contains("hunter2"));
    }
}
