//! The keys of the web configuration, validated.
//!
//! Unlike the toolkit, this rejects settings that would have no effect, such as TLS settings without a
//! certificate.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use http::{HeaderName, HeaderValue};
use tokio_rustls::rustls::{SupportedCipherSuite, crypto::SupportedKxGroup};

use super::{
    names::{self, Name, VERSIONS},
    problems::{Problems, one_of, unknown},
    rate_limit::{self, RateLimit},
    table::{Located, Table},
    yaml::{Node, Value},
};
use crate::web::tls::ClientAuth;

/// At a higher bcrypt cost, one check takes a minute.
const COSTS: std::ops::RangeInclusive<u32> = 4..=18;

#[derive(Debug, Default)]
pub(super) struct RawWebConfig {
    pub(super) tls: Option<RawTls>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Names with bcrypt hashes.
    pub(super) users: BTreeMap<String, String>,
    pub(super) rate_limit: Option<RateLimit>,
}

/// The table `tls_server_config`.
#[derive(Debug)]
pub(in crate::web) struct RawTls {
    pub(in crate::web) cert: Located<Pem>,
    pub(in crate::web) key: Located<Pem>,
    pub(in crate::web) client_auth: ClientAuth,
    pub(in crate::web) client_ca: Option<Located<Pem>>,
    pub(in crate::web) allowed_sans: Option<Vec<String>>,
    /// The lowest and highest version, as indices in [`VERSIONS`].
    pub(in crate::web) versions: (usize, usize),
    /// Of TLS 1.2. None means all.
    pub(in crate::web) cipher_suites: Option<Vec<SupportedCipherSuite>>,
    pub(in crate::web) prefer_server_cipher_suites: bool,
    pub(in crate::web) curves: Option<Vec<&'static dyn SupportedKxGroup>>,
}

#[derive(Clone)]
pub(in crate::web) enum Pem {
    File(PathBuf),
    Inline(String),
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pem::File(path) => write!(f, "File({})", path.display()),
            Pem::Inline(_) => f.write_str("Inline(…)"),
        }
    }
}

/// Relative paths are relative to `directory`.
pub(super) fn read(root: Option<&Node>, directory: &Path, problems: &mut Problems) -> RawWebConfig {
    let keys = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];
    let Some(root) = root else { return RawWebConfig::default() };
    let root = Located { position: root.position, key: String::new(), value: root };
    let Some(table) = Table::with_keys(&root, &keys, problems) else {
        return RawWebConfig::default();
    };
    let get = |name| table.get(name);
    RawWebConfig {
        tls: get("tls_server_config").and_then(|node| tls(&node, directory, problems)),
        headers: get("http_server_config").map(|n| headers(&n, problems)).unwrap_or_default(),
        users: get("basic_auth_users").map(|n| users(&n, problems)).unwrap_or_default(),
        rate_limit: get("rate_limit").and_then(|node| rate_limit::read(&node, problems)),
    }
}

pub(super) const TLS_KEYS: [&str; 13] = [
    "cert",
    "key",
    "client_ca",
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];

fn tls(node: &Located<&Node>, directory: &Path, problems: &mut Problems) -> Option<RawTls> {
    let table = Table::with_keys(node, &TLS_KEYS, problems)?;
    let mut pem = |inline, file| pem(&table, inline, file, directory, problems);
    let (cert, key, client_ca) =
        (pem("cert", "cert_file"), pem("key", "key_file"), pem("client_ca", "client_ca_file"));
    let client_auth = client_auth(&table, client_ca.as_ref(), problems);
    let allowed_sans = allowed_sans(&table, client_auth, problems);
    let versions = versions(&table, problems);
    let cipher_suites = cipher_suites(&table, versions, problems);
    let prefer_server_cipher_suites =
        table.boolean("prefer_server_cipher_suites", problems).unwrap_or(true);
    let curves = curves(&table, problems);
    // An empty table means no TLS.
    table.entries().next()?;
    for (name, pem) in [("cert", &cert), ("key", &key)] {
        if pem.is_none() {
            problems.add(node, format!("requires {name}_file or {name}"));
        }
    }
    Some(RawTls {
        cert: cert?,
        key: key?,
        client_auth,
        client_ca,
        allowed_sans,
        versions,
        cipher_suites,
        prefer_server_cipher_suites,
        curves,
    })
}

fn pem(
    table: &Table<'_>,
    inline: &str,
    file: &str,
    directory: &Path,
    problems: &mut Problems,
) -> Option<Located<Pem>> {
    let (text, path) = (table.string(inline, problems), table.string(file, problems));
    if let (Some(text), Some(_)) = (&text, &path) {
        problems.add(text, format!("excludes {file}: set only one of them"));
    }
    let path = path.map(|path| path.map(|path| Pem::File(directory.join(path))));
    path.or_else(|| text.map(|text| text.map(Pem::Inline)))
}

fn client_auth(
    table: &Table<'_>,
    client_ca: Option<&Located<Pem>>,
    problems: &mut Problems,
) -> ClientAuth {
    let name = table.string("client_auth_type", problems);
    let auth = match &name {
        None => ClientAuth::No,
        Some(name) => names::client_auth(&name.value).unwrap_or_else(|| {
            problems.add(name, format!("must be {}", one_of(&names::CLIENT_AUTH_TYPES)));
            // The strictest, so that this causes no further problems.
            ClientAuth::RequireAndVerify
        }),
    };
    match (client_ca, &name) {
        (None, Some(name)) if auth.verifies() => problems.add(
            name,
            "requires client_ca_file or client_ca: the system's authorities are not used",
        ),
        (Some(ca), _) if auth == ClientAuth::No => {
            problems.add(ca, "has no effect without client_auth_type");
        }
        (Some(ca), _) if !auth.verifies() => problems
            .add(ca, "has no effect with this client_auth_type; use RequireAndVerifyClientCert"),
        _ => {}
    }
    auth
}

fn allowed_sans(
    table: &Table<'_>,
    auth: ClientAuth,
    problems: &mut Problems,
) -> Option<Vec<String>> {
    let list = table.strings("client_allowed_sans", problems)?;
    if !auth.requires() {
        problems.add(
            &list,
            "requires client_auth_type RequireAndVerifyClientCert or RequireAnyClientCert",
        );
    }
    if list.value.is_empty() {
        problems.add(&list, "must not be empty, or no client is allowed");
    }
    Some(list.value.into_iter().map(|san| san.value).collect())
}

/// The value of a name. Reports an invalid one, with `unknown` if Go does not know it.
fn supported<T>(
    text: &Located<String>,
    name: Name<T>,
    unknown: impl FnOnce() -> String,
    problems: &mut Problems,
) -> Option<T> {
    match name {
        Name::Supported(value) => return Some(value),
        Name::Unsupported(reason) => problems.add(text, reason),
        Name::Unknown => problems.add(text, unknown()),
    }
    None
}

fn versions(table: &Table<'_>, problems: &mut Problems) -> (usize, usize) {
    let mut version = |key: &str| {
        let text = table.string(key, problems)?;
        let unknown = || format!("must be {}", one_of(&VERSIONS));
        supported(&text, names::version(&text.value), unknown, problems)
    };
    let min = version("min_version").unwrap_or(0);
    let max = version("max_version").unwrap_or(VERSIONS.len() - 1);
    if min > max {
        let key = "tls_server_config.min_version";
        problems.add_at(table.position, key, "must not be above max_version");
    }
    (min, max)
}

fn cipher_suites(
    table: &Table<'_>,
    (_, max): (usize, usize),
    problems: &mut Problems,
) -> Option<Vec<SupportedCipherSuite>> {
    let list = table.strings("cipher_suites", problems)?;
    let names: Vec<_> = names::cipher_suites().map(|(name, _)| name).collect();
    let suites = list.value.iter().filter_map(|text| {
        let unknown = || unknown("cipher suite", &text.value, &names);
        supported(text, names::cipher_suite(&text.value), unknown, problems)
    });
    let suites: Vec<_> = suites.flatten().collect();
    // As in the toolkit, an empty list means all.
    if list.value.is_empty() {
        return None;
    }
    if suites.is_empty() && max == 0 {
        problems.add(&list, "has no suite of TLS 1.2, the only version allowed");
    }
    Some(suites)
}

fn curves(
    table: &Table<'_>,
    problems: &mut Problems,
) -> Option<Vec<&'static dyn SupportedKxGroup>> {
    let list = table.strings("curve_preferences", problems)?;
    let names = names::CURVES.map(|(name, _)| name);
    let curves = list.value.iter().filter_map(|text| {
        let unknown = || unknown("curve", &text.value, &names);
        supported(text, names::curve(&text.value), unknown, problems)
    });
    let curves: Vec<_> = curves.collect();
    (!list.value.is_empty()).then_some(curves)
}

/// The headers that the toolkit allows, with their valid values; none means any.
pub(super) const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

fn headers(node: &Located<&Node>, problems: &mut Problems) -> Vec<(HeaderName, HeaderValue)> {
    let Some(table) = Table::with_keys(node, &["http2", "headers"], problems) else {
        return Vec::new();
    };
    // Validated only: the exporter serves HTTP/1.1.
    let _ = table.boolean("http2", problems);
    let names = HEADERS.map(|(name, _)| name);
    let headers = table.get("headers");
    let Some(table) = headers.and_then(|node| Table::with_keys(&node, &names, problems)) else {
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (name, valid) in HEADERS {
        let Some(text) = table.string(name, problems) else { continue };
        if !valid.is_empty() && !valid.contains(&text.value.as_str()) {
            problems.add(&text, format!("must be {}", one_of(valid)));
            continue;
        }
        let visible = text.value.bytes().all(|b| (0x20..0x7f).contains(&b));
        match (HeaderName::try_from(name), HeaderValue::try_from(&text.value)) {
            (Ok(name), Ok(value)) if visible => headers.push((name, value)),
            _ => problems.add(&text, "contains characters that are invalid in a header"),
        }
    }
    headers
}

/// Messages repeat neither names nor hashes, which may be swapped.
fn users(node: &Located<&Node>, problems: &mut Problems) -> BTreeMap<String, String> {
    let Some(table) = Table::with_any_keys(node, problems) else { return BTreeMap::new() };
    let mut users = BTreeMap::new();
    for (name, position, hash) in table.entries() {
        if name.contains(':') {
            problems.add_at(position, &node.key, "a user name must not contain a colon");
        }
        match &hash.value {
            Value::Scalar(text, _) if !text.is_empty() && !hash.is_null() => {
                if let Err(message) = check_hash(text) {
                    problems.add_at(hash.position, &node.key, message);
                }
                users.insert(name.to_owned(), text.clone());
            }
            _ => problems.add_at(hash.position, &node.key, "a user has no password hash"),
        }
    }
    users
}

fn check_hash(hash: &str) -> Result<(), String> {
    let Ok(parts) = hash.parse::<bcrypt::HashParts>() else {
        let message = "a password must be given as a bcrypt hash: the output of `htpasswd -nBC 10 \
                       NAME` after the colon";
        return Err(message.into());
    };
    let (cost, min, max) = (parts.get_cost(), COSTS.start(), COSTS.end());
    if COSTS.contains(&cost) {
        return Ok(());
    }
    Err(format!("a bcrypt hash has cost {cost}: it must be {min} to {max}; 10 to 12 is usual"))
}
