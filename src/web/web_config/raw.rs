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
    names::{self, VERSIONS, must_be},
    rate_limit::{self, RateLimit},
};
use crate::{
    diagnostics::{Field, Location, Node, Parsed, Problems, Schema, Shape, Table},
    web::tls::ClientAuth,
};

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
    pub(in crate::web) cert: Pem,
    pub(in crate::web) key: Pem,
    pub(in crate::web) client_auth: ClientAuth,
    pub(in crate::web) client_ca: Option<Pem>,
    pub(in crate::web) allowed_sans: Option<Vec<String>>,
    /// The lowest and highest version, as indices in [`VERSIONS`].
    pub(in crate::web) versions: (usize, usize),
    /// Cipher suites of TLS 1.2. None means all.
    pub(in crate::web) cipher_suites: Option<Vec<SupportedCipherSuite>>,
    pub(in crate::web) prefer_server_cipher_suites: bool,
    pub(in crate::web) curves: Option<Vec<&'static dyn SupportedKxGroup>>,
}

#[derive(Debug)]
pub(in crate::web) struct Pem {
    pub(in crate::web) location: Location,
    pub(in crate::web) source: PemSource,
}

pub(in crate::web) enum PemSource {
    File(PathBuf),
    Inline(String),
}

impl std::fmt::Debug for PemSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PemSource::File(path) => write!(f, "File({})", path.display()),
            PemSource::Inline(_) => f.write_str("Inline(…)"),
        }
    }
}

static ROOT: Shape = Shape {
    path: "",
    keys: &["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"],
};

pub(super) static TLS: Shape = Shape {
    path: "tls_server_config",
    keys: &[
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
    ],
};

static HTTP: Shape = Shape { path: "http_server_config", keys: &["http2", "headers"] };

/// The headers that the toolkit allows.
pub(super) static HEADERS: Shape = Shape {
    path: "http_server_config.headers",
    keys: &[
        "Content-Security-Policy",
        "X-Frame-Options",
        "X-Content-Type-Options",
        "X-XSS-Protection",
        "Strict-Transport-Security",
    ],
};

static USERS: Shape = Shape { path: "basic_auth_users", keys: &[] };

static RATE_LIMIT: Shape = Shape { path: "rate_limit", keys: &["interval", "burst"] };

static SCHEMA: Schema = Schema {
    root: &ROOT,
    tables: &[&ROOT, &TLS, &HTTP, &HEADERS, &USERS, &RATE_LIMIT],
    hides_unknown_keys: true,
};

/// Relative paths are relative to `directory`.
pub(super) fn read(root: Option<&Node>, directory: &Path, problems: &Problems) -> RawWebConfig {
    let root = Table::root(problems, &SCHEMA, root);
    RawWebConfig {
        tls: tls(&root.table("tls_server_config", &TLS), directory),
        headers: headers(&root.table("http_server_config", &HTTP)),
        users: users(&root.table("basic_auth_users", &USERS)),
        rate_limit: rate_limit::read(&root.table("rate_limit", &RATE_LIMIT)),
    }
}

/// Reads a string. An empty one is absent, as in the toolkit.
pub(super) fn string<T>(
    table: &Table<'_>,
    key: &str,
    parse: impl FnOnce(&str) -> Parsed<T>,
) -> Field<T> {
    let optional = table.read(key, |value| match value.string()? {
        "" => Ok(None),
        text => parse(text).map(Some),
    });
    optional.and_then(|value, location| {
        value.map_or(Field::Absent, |value| Field::Valid(value, location))
    })
}

/// The message does not show the value, which may be a misplaced secret.
fn boolean(table: &Table<'_>, key: &str) -> Field<bool> {
    table.read(key, |value| value.boolean().ok_or_else(|| "must be true or false".into()))
}

fn tls(table: &Table<'_>, directory: &Path) -> Option<RawTls> {
    let pem = |inline, file| pem(table, inline, file, directory);
    let (cert, key, client_ca) =
        (pem("cert", "cert_file"), pem("key", "key_file"), pem("client_ca", "client_ca_file"));
    let client_auth = client_auth(table, &client_ca);
    let allowed_sans = allowed_sans(table, client_auth);
    let versions = versions(table);
    let cipher_suites = cipher_suites(table, versions);
    let prefer_server_cipher_suites = boolean(table, "prefer_server_cipher_suites").valid_or(true);
    // As in the toolkit, an empty list means all.
    let curves = table.list("curve_preferences", |value| names::curve(value.string()?));
    let curves = curves.into_valid().filter(|curves| !curves.is_empty());
    // An empty table means no TLS.
    table.entries().next()?;
    for (name, pem) in [("cert", &cert), ("key", &key)] {
        if pem.is_absent() {
            table.problems.add(&table.location, format!("requires {name}_file or {name}"));
        }
    }
    Some(RawTls {
        cert: cert.into_valid()?,
        key: key.into_valid()?,
        client_auth,
        client_ca: client_ca.into_valid(),
        allowed_sans,
        versions,
        cipher_suites,
        prefer_server_cipher_suites,
        curves,
    })
}

fn pem(table: &Table<'_>, inline: &str, file: &str, directory: &Path) -> Field<Pem> {
    let text = string(table, inline, |text| Ok(PemSource::Inline(text.to_owned())));
    let path = string(table, file, |path| Ok(PemSource::File(directory.join(path))));
    if let (Field::Valid(_, location), Field::Valid(..)) = (&text, &path) {
        table.problems.add(location, format!("excludes {file}: set only one of them"));
    }
    let source = if path.is_absent() { text } else { path };
    source.and_then(|source, location| {
        Field::Valid(Pem { location: location.clone(), source }, location)
    })
}

fn client_auth(table: &Table<'_>, client_ca: &Field<Pem>) -> ClientAuth {
    let field = string(table, "client_auth_type", names::client_auth);
    let auth = match &field {
        Field::Absent => ClientAuth::No,
        Field::Valid(auth, _) => *auth,
        // The strictest, so that this causes no further problems.
        Field::Invalid => ClientAuth::RequireAndVerify,
    };
    match (client_ca, &field) {
        (Field::Absent, Field::Valid(_, location)) if auth.verifies() => table.problems.add(
            location,
            "requires client_ca_file or client_ca: the system's authorities are not used",
        ),
        (Field::Valid(_, location), _) if auth == ClientAuth::No => {
            table.problems.add(location, "has no effect without client_auth_type");
        }
        (Field::Valid(_, location), _) if !auth.verifies() => table.problems.add(
            location,
            "has no effect with this client_auth_type; use RequireAndVerifyClientCert",
        ),
        _ => {}
    }
    auth
}

fn allowed_sans(table: &Table<'_>, auth: ClientAuth) -> Option<Vec<String>> {
    let list = table.list("client_allowed_sans", |value| value.string().map(str::to_owned));
    let Field::Valid(sans, location) = list else { return None };
    if !auth.requires() {
        table.problems.add(
            &location,
            "requires client_auth_type RequireAndVerifyClientCert or RequireAnyClientCert",
        );
    }
    if sans.is_empty() {
        table.problems.add(&location, "must not be empty, or no client is allowed");
    }
    Some(sans)
}

fn versions(table: &Table<'_>) -> (usize, usize) {
    let min = string(table, "min_version", names::version);
    let max = string(table, "max_version", names::version).valid_or(VERSIONS.len() - 1);
    if let Field::Valid(min, location) = &min
        && *min > max
    {
        table.problems.add(location, "must not be above max_version");
    }
    (min.valid_or(0), max)
}

fn cipher_suites(table: &Table<'_>, (_, max): (usize, usize)) -> Option<Vec<SupportedCipherSuite>> {
    let list = table.list("cipher_suites", |value| names::cipher_suite(value.string()?));
    let Field::Valid(suites, location) = list else { return None };
    // As in the toolkit, an empty list means all.
    if suites.is_empty() {
        return None;
    }
    let suites: Vec<_> = suites.into_iter().flatten().collect();
    if suites.is_empty() && max == 0 {
        table.problems.add(&location, "has no suite of TLS 1.2, the only version allowed");
    }
    Some(suites)
}

fn headers(table: &Table<'_>) -> Vec<(HeaderName, HeaderValue)> {
    // Validated only: the exporter serves HTTP/1.1.
    let _ = boolean(table, "http2");
    let table = table.table("headers", &HEADERS);
    let header = |name: &&'static str| string(&table, name, |text| header(name, text)).into_valid();
    HEADERS.keys.iter().filter_map(header).collect()
}

fn header(name: &str, text: &str) -> Parsed<(HeaderName, HeaderValue)> {
    let valid: &[&str] = match name {
        "X-Frame-Options" => &["deny", "sameorigin"],
        "X-Content-Type-Options" => &["nosniff"],
        _ => &[],
    };
    if !valid.is_empty() && !valid.contains(&text) {
        return Err(must_be(valid));
    }
    let visible = text.bytes().all(|b| (0x20..0x7f).contains(&b));
    match (HeaderName::try_from(name), HeaderValue::try_from(text)) {
        (Ok(name), Ok(value)) if visible => Ok((name, value)),
        _ => Err("contains characters that are invalid in a header".into()),
    }
}

/// Messages repeat neither names nor hashes, which may be swapped.
fn users(table: &Table<'_>) -> BTreeMap<String, String> {
    let add = |offset, message: &str| {
        table.problems.add(&Location { offset, key: table.location.key.clone() }, message);
    };
    let mut users = BTreeMap::new();
    for (name, name_offset, hash) in table.entries() {
        if name.contains(':') {
            add(name_offset, "a username must not contain a colon");
        }
        match hash.value.string() {
            Ok(text) if !text.is_empty() => {
                if let Err(message) = check_hash(text) {
                    add(hash.offset, &message);
                }
                users.insert(name.to_owned(), text.to_owned());
            }
            _ => add(hash.offset, "a user has no password hash"),
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
