//! Listen addresses in the format of the Prometheus tools.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// `host:port`, `:port` or `[::1]:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    /// A name, or an address without brackets; `None` for all addresses of this machine.
    pub host: Option<String>,
    /// 0 for a free port that the system selects.
    pub port: u16,
}

const EXPECTED: &str = r#"must be an address such as ":10471", "127.0.0.1:10471" or "[::1]:10471""#;

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(EXPECTED); // `parse` accepts a sign
        }
        let port = port.parse().map_err(|_| EXPECTED)?;
        let host = match host {
            "" => None,
            host => Some(normalize_host(host).ok_or(EXPECTED)?),
        };
        Ok(ListenAddress { host, port })
    }
}

/// Gives equal hosts one spelling, so that duplicates are found.
fn normalize_host(text: &str) -> Option<String> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let address = bracketed.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
        return Some(address.to_string());
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return text.parse::<Ipv4Addr>().ok().map(|address| address.to_string());
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(allowed);
    let valid = text.len() <= 253 && text.trim_end_matches('.').split('.').all(label);
    valid.then(|| text.to_ascii_lowercase())
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => write!(f, ":{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_valid_addresses() {
        for (text, normalized) in [
            (":10471", ":10471"),
            (":0", ":0"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("LocalHost:65535", "localhost:65535"),
            ("exporter.example.com.:1", "exporter.example.com.:1"),
            ("[::1]:10471", "[::1]:10471"),
            ("[0:0::1]:010", "[::1]:10"),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), normalized);
            assert_eq!(normalized.parse(), Ok(address));
        }
    }

    #[test]
    fn rejects_invalid_addresses() {
        for bad in [
            "",
            ":",
            "10471",
            "host",
            "host:",
            ":65536",
            ":-1",
            ":+1",
            ": 1",
            "::1:80",
            "[::1]",
            "[]:1",
            "[127.0.0.1]:1",
            "300.0.0.1:1",
            "127.0.0:1",
            "*:1",
            "http://h:1",
            "h/x:1",
            "a b:1",
            "a..b:1",
            ".:1",
            ":1٣",
        ] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad:?}");
        }
    }
}
