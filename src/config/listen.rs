//! Addresses to listen on, as Prometheus' tools write them.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Where to listen: `host:port`, `:port` or `[::1]:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    /// A name or an address, an IPv6 one without brackets; all of this machine's addresses if none.
    pub host: Option<String>,
    /// 0 for a port of the system's choice.
    pub port: u16,
}

/// A text that is no [`ListenAddress`]. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an address such as \":10471\", \"127.0.0.1:10471\" or \"[::1]:10471\"")]
pub struct BadListenAddress;

impl FromStr for ListenAddress {
    type Err = BadListenAddress;

    fn from_str(text: &str) -> Result<Self, BadListenAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(BadListenAddress)?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadListenAddress); // a sign, which the parser below would let pass
        }
        let port = port.parse().map_err(|_| BadListenAddress)?;
        let host = match host {
            "" => None,
            host => Some(read_host(host).ok_or(BadListenAddress)?),
        };
        Ok(ListenAddress { host, port })
    }
}

/// A host in one spelling, so that the same one given twice is found out.
fn read_host(text: &str) -> Option<String> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let address = bracketed.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
        return Some(address.to_string());
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return text.parse::<Ipv4Addr>().ok().map(|address| address.to_string());
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(allowed);
    let good = text.len() <= 253 && text.trim_end_matches('.').split('.').all(label);
    good.then(|| text.to_ascii_lowercase())
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
    fn good_addresses_are_written_back() {
        for (text, back) in [
            (":10471", ":10471"),
            (":0", ":0"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("LocalHost:65535", "localhost:65535"),
            ("exporter.example.com.:1", "exporter.example.com.:1"),
            ("[::1]:10471", "[::1]:10471"),
            ("[0:0::1]:010", "[::1]:10"),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), back);
            assert_eq!(back.parse(), Ok(address));
        }
    }

    #[test]
    fn bad_addresses_are_refused() {
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
            assert_eq!(bad.parse::<ListenAddress>(), Err(BadListenAddress), "{bad:?}");
        }
    }
}
