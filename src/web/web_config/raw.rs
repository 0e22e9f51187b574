//! The web configuration as it is written: the exporter-toolkit's format, key by key.
//!
//! What the toolkit would take in silence and not do, such as TLS settings without a certificate,
//! is refused here. So is what the format has and this exporter cannot do. `tls` then makes something
//! of what is written about TLS.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use http::{HeaderName, HeaderValue};
use tokio_rustls::rustls::{SupportedCipherSuite, crypto::SupportedKxGroup};

use super::{
    names::{self, Named, VERSIONS},
    problems::{Problems, one_of, unknown},
    rate_limit::{self, RateWritten},
    table::{Spot, Table},
    yaml::{Node, Value},
};
use crate::web::tls::ClientAuth;

/// The costs of bcrypt that are taken. Beyond the most, one attempt takes a minute.
const COSTS: std::ops::RangeInclusive<u32> = 4..=18;

/// A web configuration in which every value is one that could be.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) tls: Option<TlsWritten>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) users: BTreeMap<String, String>,
    pub(crate) rate: Option<RateWritten>,
}

/// What is written about TLS.
#[derive(Debug)]
pub(crate) struct TlsWritten {
    pub(crate) certificate: Spot<Pem>,
    pub(crate) key: Spot<Pem>,
    pub(crate) clients: ClientAuth,
    pub(crate) client_ca: Option<Spot<Pem>>,
    pub(crate) client_sans: Option<Vec<String>>,
    /// The oldest and the newest version, as places in [`VERSIONS`].
    pub(crate) versions: (usize, usize),
    /// Those of TLS 1.2; all if nothing is said.
    pub(crate) cipher_suites: Option<Vec<SupportedCipherSuite>>,
    pub(crate) server_prefers: bool,
    pub(crate) curves: Option<Vec<&'static dyn SupportedKxGroup>>,
}

/// Where something in PEM is.
#[derive(Clone)]
pub(crate) enum Pem {
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

/// Reads the whole tree. Relative paths are relative to `folder`.
pub(crate) fn read(root: Option<&Node>, folder: &Path, problems: &mut Problems) -> Written {
    let keys = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];
    let Some(table) = root.and_then(|root| Table::with_keys(root, "", &keys, problems)) else {
        return Written::default();
    };
    let of = |name| table.get(name);
    Written {
        tls: of("tls_server_config").and_then(|spot| tls(&spot, folder, problems)),
        headers: of("http_server_config").map(|s| http(&s, problems)).unwrap_or_default(),
        users: of("basic_auth_users").map(|s| users(&s, problems)).unwrap_or_default(),
        rate: of("rate_limit").and_then(|spot| rate_limit::read(&spot, problems)),
    }
}

pub(crate) const TLS_KEYS: [&str; 13] = [
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

fn tls(spot: &Spot<&Node>, folder: &Path, problems: &mut Problems) -> Option<TlsWritten> {
    let table = Table::with_keys(spot.value, &spot.key, &TLS_KEYS, problems)?;
    let mut pem = |inline, file| pem(&table, inline, file, folder, problems);
    let (certificate, key, client_ca) =
        (pem("cert", "cert_file"), pem("key", "key_file"), pem("client_ca", "client_ca_file"));
    let clients = clients(&table, client_ca.as_ref(), problems);
    let client_sans = sans(&table, clients, problems);
    let versions = versions(&table, problems);
    let cipher_suites = cipher_suites(&table, versions, problems);
    let server_prefers = table.boolean("prefer_server_cipher_suites", problems).unwrap_or(true);
    let curves = curves(&table, problems);
    // An empty table is as none.
    table.entries().next()?;
    let mut missing = |what: &str| {
        let message = format!("has no {what}_file and no {what}: without, nothing is encrypted");
        problems.add(table.place, &spot.key, message);
    };
    if certificate.is_none() {
        missing("cert");
    }
    if key.is_none() {
        missing("key");
    }
    Some(TlsWritten {
        certificate: certificate?,
        key: key?,
        clients,
        client_ca,
        client_sans,
        versions,
        cipher_suites,
        server_prefers,
        curves,
    })
}

/// What is either in a file or written out.
fn pem(
    table: &Table<'_>,
    inline: &str,
    file: &str,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Spot<Pem>> {
    let (text, path) = (table.text(inline, problems), table.text(file, problems));
    if let (Some(text), Some(_)) = (&text, &path) {
        problems.add(text.place, &text.key, format!("give it or {file}, not both"));
    }
    let path = path.map(|spot| spot.with(Pem::File(folder.join(&spot.value))));
    path.or_else(|| text.map(|spot| spot.with(Pem::Inline(spot.value.clone()))))
}

fn clients(
    table: &Table<'_>,
    client_ca: Option<&Spot<Pem>>,
    problems: &mut Problems,
) -> ClientAuth {
    let asked = table.text("client_auth_type", problems);
    let clients = match &asked {
        None => ClientAuth::No,
        Some(spot) => names::client_auth(&spot.value).unwrap_or_else(|| {
            let message = format!("must be {}", one_of(&names::CLIENT_AUTH_TYPES));
            problems.add(spot.place, &spot.key, message);
            // The strictest, so that nothing else is said to be missing but what is.
            ClientAuth::RequireAndVerify
        }),
    };
    match (client_ca, &asked) {
        (None, Some(spot)) if clients.verifies() => problems.add(
            spot.place,
            &spot.key,
            "needs client_ca_file or client_ca: certificates of all the world's authorities are not taken here",
        ),
        (Some(ca), _) if clients == ClientAuth::No => {
            problems.add(ca.place, &ca.key, "is of no use without a client_auth_type");
        }
        (Some(ca), _) if !clients.verifies() => problems.add(
            ca.place,
            &ca.key,
            "is of no use with this client_auth_type, which verifies nothing; RequireAndVerifyClientCert does",
        ),
        _ => {}
    }
    clients
}

fn sans(table: &Table<'_>, clients: ClientAuth, problems: &mut Problems) -> Option<Vec<String>> {
    let list = table.texts("client_allowed_sans", problems)?;
    if ![ClientAuth::RequireAny, ClientAuth::RequireAndVerify].contains(&clients) {
        problems.add(
            list.place,
            &list.key,
            "needs a client_auth_type of RequireAndVerifyClientCert or RequireAnyClientCert",
        );
    }
    if list.value.is_empty() {
        problems.add(list.place, &list.key, "must not be empty: nobody could come in");
    }
    Some(list.value.into_iter().map(|spot| spot.value).collect())
}

fn versions(table: &Table<'_>, problems: &mut Problems) -> (usize, usize) {
    let mut version = |key: &str, default: usize| {
        let Some(spot) = table.text(key, problems) else { return default };
        match names::version(&spot.value) {
            Named::Known(version) => return version,
            Named::Refused(why) => problems.add(spot.place, &spot.key, why),
            Named::Unknown => {
                problems.add(spot.place, &spot.key, format!("must be {}", one_of(&VERSIONS)));
            }
        }
        default
    };
    let (oldest, newest) = (version("min_version", 0), version("max_version", VERSIONS.len() - 1));
    if oldest > newest {
        let key = "tls_server_config.min_version";
        problems.add(table.place, key, "must not be above max_version");
    }
    (oldest, newest)
}

fn cipher_suites(
    table: &Table<'_>,
    (_, newest): (usize, usize),
    problems: &mut Problems,
) -> Option<Vec<SupportedCipherSuite>> {
    let list = table.texts("cipher_suites", problems)?;
    let mut suites = Vec::new();
    for spot in &list.value {
        match names::cipher_suite(&spot.value) {
            Named::Known(suite) => suites.extend(suite),
            Named::Refused(why) => problems.add(spot.place, &spot.key, why),
            Named::Unknown => {
                let message = unknown("cipher suite", &spot.value, &names::CIPHER_SUITES);
                problems.add(spot.place, &spot.key, message);
            }
        }
    }
    // As for the toolkit, an empty list is as none.
    if list.value.is_empty() {
        return None;
    }
    if suites.is_empty() && newest == 0 {
        problems.add(list.place, &list.key, "has no suite of TLS 1.2, the only version allowed");
    }
    Some(suites)
}

fn curves(
    table: &Table<'_>,
    problems: &mut Problems,
) -> Option<Vec<&'static dyn SupportedKxGroup>> {
    let list = table.texts("curve_preferences", problems)?;
    let mut curves = Vec::new();
    for spot in &list.value {
        match names::curve(&spot.value) {
            Named::Known(curve) => curves.push(curve),
            Named::Refused(why) => problems.add(spot.place, &spot.key, why),
            Named::Unknown => {
                let message = unknown("curve", &spot.value, &names::CURVES);
                problems.add(spot.place, &spot.key, message);
            }
        }
    }
    (!list.value.is_empty()).then_some(curves)
}

/// The headers that the toolkit lets be set, and the values that some may have.
pub(crate) const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

fn http(spot: &Spot<&Node>, problems: &mut Problems) -> Vec<(HeaderName, HeaderValue)> {
    let keys = ["http2", "headers"];
    let Some(table) = Table::with_keys(spot.value, &spot.key, &keys, problems) else {
        return Vec::new();
    };
    // Either is well: clients that would rather have HTTP/2 are served HTTP/1.1.
    let _ = table.boolean("http2", problems);
    let Some(headers) = table.get("headers") else { return Vec::new() };
    let names = HEADERS.map(|(name, _)| name);
    let Some(table) = Table::with_keys(headers.value, &headers.key, &names, problems) else {
        return Vec::new();
    };
    let mut set = Vec::new();
    for (name, allowed) in HEADERS {
        let Some(spot) = table.text(name, problems) else { continue };
        if !allowed.is_empty() && !allowed.contains(&spot.value.as_str()) {
            problems.add(spot.place, &spot.key, format!("must be {}", one_of(allowed)));
            continue;
        }
        // Visible ASCII: a line break would begin another header.
        let plain = spot.value.bytes().all(|b| (0x20..0x7f).contains(&b));
        match (HeaderName::try_from(name), HeaderValue::try_from(&spot.value)) {
            (Ok(name), Ok(value)) if plain => set.push((name, value)),
            _ => problems.add(spot.place, &spot.key, "has characters that no header may have"),
        }
    }
    set
}

fn users(spot: &Spot<&Node>, problems: &mut Problems) -> BTreeMap<String, String> {
    let Some(table) = Table::open(spot.value, &spot.key, problems) else {
        return BTreeMap::new();
    };
    let mut users = BTreeMap::new();
    for (name, place, node) in table.entries() {
        // Neither names nor hashes are repeated in messages: the place tells which.
        if name.contains(':') {
            problems.add(place, &spot.key, "a name with a colon can never log in");
        }
        match &node.value {
            Value::Scalar(hash, _) if !hash.is_empty() && !node.is_null() => {
                let cost = hash.parse().map(|parts: bcrypt::HashParts| parts.get_cost());
                if let Some(why) = wrong_hash(cost.ok()) {
                    problems.add(node.place, &spot.key, why);
                }
                users.insert(name.to_owned(), hash.clone());
            }
            _ => problems.add(node.place, &spot.key, "a user has no password hash"),
        }
    }
    users
}

fn wrong_hash(cost: Option<u32>) -> Option<String> {
    match cost {
        None => Some(
            "a password must be given as its bcrypt hash, as `htpasswd -nBC 10 NAME` prints it \
             after the colon"
                .into(),
        ),
        Some(cost) if !COSTS.contains(&cost) => Some(format!(
            "a bcrypt hash of cost {cost}: the cost must be from {} to {}; 10 to 12 is usual",
            COSTS.start(),
            COSTS.end()
        )),
        Some(_) => None,
    }
}
