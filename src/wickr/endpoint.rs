//! Where the Admin API of a region answers.

use std::{fmt, net::IpAddr};

use reqwest::Url;

/// The base address that request paths are appended to, without a trailing slash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `scheme://host[:port][/path]`
    base: String,
    /// Plain HTTP or TLS to this very machine.
    loopback: bool,
}

impl Endpoint {
    /// The service's own endpoint in `region`.
    ///
    /// The host is `admin.wickr` or `admin.wickr-fips`, the region, and the suffix of the
    /// region's partition for one or for both IP versions.
    pub fn of_region(region: &str, fips: bool, dual_stack: bool) -> Endpoint {
        let service = if fips { "wickr-fips" } else { "wickr" };
        let partition = Partition::of_region(region);
        let suffix = if dual_stack { partition.dual_stack_suffix } else { partition.dns_suffix };
        Endpoint { base: format!("https://admin.{service}.{region}.{suffix}"), loopback: false }
    }

    /// An endpoint of the user's choice: a VPC endpoint, a proxy, a simulator.
    ///
    /// # Errors
    ///
    /// One sentence, when `text` is no absolute HTTP address, carries a user, a query or a
    /// fragment, or is plain HTTP to anywhere but loopback: signed requests in clear text could be
    /// read and replayed. The sentence never repeats the address, which may hold a password.
    pub fn parse(text: &str) -> Result<Endpoint, String> {
        let url = Url::parse(text).map_err(|e| format!("is not a URL: {e}"))?;
        let loopback = match url.host_str() {
            None | Some("") => return Err("names no host".into()),
            Some(host) => is_loopback(host),
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err("must be https://; plain http:// is for loopback only".into()),
            other => return Err(format!("must be https://, not {other}://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not carry a user name or password".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not carry a query or a fragment".into());
        }
        Ok(Endpoint { base: url.as_str().trim_end_matches('/').to_owned(), loopback })
    }

    /// `scheme://host[:port][/path]`, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.base
    }

    /// Whether it is on this very machine, where no proxy belongs in between.
    pub fn is_loopback(&self) -> bool {
        self.loopback
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

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A family of regions with accounts, ARNs and domain names of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The second part of its ARNs.
    pub id: &'static str,
    /// The suffix of its endpoints.
    pub dns_suffix: &'static str,
    /// The suffix of its endpoints for IPv4 and IPv6.
    pub dual_stack_suffix: &'static str,
}

/// By the prefix of the region's name, the commercial partition last, for it takes the rest.
/// From the partition table that AWS's SDKs share (`partitions.json`).
const PARTITIONS: [(&str, Partition); 8] = [
    ("cn-", partition("aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn")),
    ("us-gov-", partition("aws-us-gov", "amazonaws.com", "api.aws")),
    ("us-iso-", partition("aws-iso", "c2s.ic.gov", "api.aws.ic.gov")),
    ("us-isob-", partition("aws-iso-b", "sc2s.sgov.gov", "api.aws.scloud")),
    ("eu-isoe-", partition("aws-iso-e", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk")),
    ("us-isof-", partition("aws-iso-f", "csp.hci.ic.gov", "api.aws.hci.ic.gov")),
    ("eusc-", partition("aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu")),
    ("", partition("aws", "amazonaws.com", "api.aws")),
];

const fn partition(
    id: &'static str,
    dns_suffix: &'static str,
    dual_stack_suffix: &'static str,
) -> Partition {
    Partition { id, dns_suffix, dual_stack_suffix }
}

impl Partition {
    /// The partition that `region` belongs to; an unknown region is taken for a commercial one.
    pub fn of_region(region: &str) -> Partition {
        let found = PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix));
        found.map_or(PARTITIONS[7].1, |(_, partition)| *partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_own_suffix() {
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
    fn plain_http_is_for_loopback_only() {
        for good in [
            "http://127.0.0.1:8000",
            "http://localhost/x/",
            "http://[::1]:1",
            "https://vpce-1.example.com",
        ] {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://example.com",
            "http://10.0.0.1",
            "ftp://localhost",
            "nonsense",
            "https://u:p@h",
            "https://h?x=1",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Endpoint::parse("http://localhost:1/base/").unwrap().as_str(),
            "http://localhost:1/base"
        );
        assert!(!Endpoint::parse("https://joe:hunter2@h").unwrap_err().contains("hunter2"));
    }
}
