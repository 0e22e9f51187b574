//! Valid and invalid web configuration files.

use std::{fs, path::Path};

use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::rustls::NamedGroup;

use super::{load::load, *};
use crate::{telemetry::RejectionReason, web::tls::ClientAuth};

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// A directory with a certificate, its key and another key.
fn certificates() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(dir.path().join(name), text).unwrap();
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    write("server.crt", params.self_signed(&key).unwrap().pem());
    write("server.key", key.serialize_pem());
    write("other.key", other.serialize_pem());
    write("empty.pem", String::new());
    write("invalid.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".into());
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write("encrypted.key", encrypted.into());
    dir
}

fn read(dir: &Path, text: &str) -> Result<AccessSettings, String> {
    let path = dir.join("web.yml");
    fs::write(&path, text).unwrap();
    load(&path).0.map_err(|problems| problems.replace(&path.display().to_string(), "web.yml"))
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

#[test]
fn reads_every_key() {
    let dir = certificates();
    let text = format!(
        "---\n{TLS}  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: \"server.crt\"
  client_allowed_sans:
    - prometheus.example.com
    - 10.0.0.1
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: no
  curve_preferences:
  - CurveP384
  - X25519
http_server_config:
  http2: true
  headers:
    Content-Security-Policy: default-src 'self'
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: \"1; mode=block\"
    Strict-Transport-Security: max-age=31536000
basic_auth_users:
  alice: {HASH}
  'bob': '{HASH}'
rate_limit:
  interval: \"1s\"
  burst: 20
"
    );
    let settings = read(dir.path(), &text).unwrap();
    let tls = settings.tls.as_ref().unwrap();
    assert_eq!(tls.client_certs.auth, ClientAuth::RequireAndVerify);
    assert!(tls.client_certs.chain_verifier.is_some());
    assert_eq!(tls.client_certs.allowed_sans.as_ref().unwrap().len(), 2);
    assert!(!tls.config.ignore_client_order);
    let provider = tls.config.crypto_provider();
    let tls12 = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none());
    assert_eq!(tls12.count(), 1);
    let curves: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
    assert_eq!(curves, [NamedGroup::secp384r1, NamedGroup::X25519]);
    assert!(tls.not_after.unwrap() > 1_700_000_000);
    let headers: Vec<_> = settings.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        headers,
        [
            "content-security-policy",
            "x-frame-options",
            "x-content-type-options",
            "x-xss-protection",
            "strict-transport-security"
        ]
    );
    assert_eq!(settings.users.keys().collect::<Vec<_>>(), ["alice", "bob"]);
    assert!(settings.rate_limit.is_some());
    assert_eq!(settings.strictness(), [1, 1, 2, 1]);
}

#[test]
fn empty_configurations_protect_nothing() {
    let dir = certificates();
    for text in [
        "",
        "# nothing\n",
        "{}",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n",
        "tls_server_config: {}\nbasic_auth_users: {}\nhttp_server_config: {headers: {}}\n",
        "http_server_config: {http2: off, headers: {X-Frame-Options: \"\"}}",
        "rate_limit: {interval: 0, burst: 0}",
    ] {
        let settings = read(dir.path(), text).unwrap();
        assert_eq!(settings.strictness(), [0, 0, 0, 0], "{text}");
        assert!(settings.headers.is_empty() && settings.rate_limit.is_none(), "{text}");
    }
}

#[test]
fn accepts_inline_pem_and_anchors() {
    let dir = certificates();
    let pem = |name: &str| {
        let text = fs::read_to_string(dir.path().join(name)).unwrap();
        text.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    let text = format!(
        "tls_server_config:\n  cert: &cert |\n{}  key: |\n{}  client_ca: *cert\n  client_auth_type: VerifyClientCertIfGiven\n",
        pem("server.crt"),
        pem("server.key")
    );
    let settings = read(dir.path(), &text).unwrap();
    assert_eq!(settings.tls.unwrap().client_certs.auth, ClientAuth::VerifyIfGiven);
}

#[test]
fn reports_problems_with_position_and_without_secrets() {
    let dir = certificates();
    let check = |text: &str, expected: &str| {
        let problems = read(dir.path(), text).expect_err(text);
        let problems = problems.replace(&dir.path().display().to_string(), "DIR");
        assert!(problems.contains(expected), "{text}\n{problems}\nexpected: {expected}");
        for secret in ["hunter2", "QOauhQNb"] {
            assert!(!problems.contains(secret), "{problems}");
        }
    };
    for (text, expected) in [
        (
            "tls_server_confg:\n  cert_file: x\n",
            "1:1: unknown key; did you mean tls_server_config?",
        ),
        ("[1]", "1:1: must be a table, not a list"),
        ("<<: {a: b}\n", "1:1: merge keys (<<) are not supported"),
        ("? [a]\n: b\n", "1:3: a key must be a string"),
        ("a: [", "1:5: not valid YAML"),
        ("http_server_config: {http2: 1}", "1:29: http_server_config.http2: must be true or false"),
        (
            "rate_limit: {interval: 1s}",
            "1:13: rate_limit.burst: must be at least 1; with 0, no request",
        ),
        ("rate_limit: {interval: 1s, burst: 0}", "1:35: rate_limit.burst: must be at least 1"),
        (
            "rate_limit: {interval: 5, burst: 1}",
            "1:24: rate_limit.interval: must be a duration such",
        ),
        ("rate_limit: {interval: 1s, burst: -1}", "1:35: rate_limit.burst: must be a non-negative"),
    ] {
        check(text, &format!("web.yml:{expected}"));
    }
    for (name, expected) in [
        ("Server: x", "3:5: http_server_config.headers: unknown key"),
        (
            "x-frame-options: deny",
            "3:5: http_server_config.headers: unknown key; did you mean \
             http_server_config.headers.X-Frame",
        ),
        (
            "X-Frame-Options: allow",
            "3:22: http_server_config.headers.X-Frame-Options: must be deny or",
        ),
        (
            r#"X-XSS-Protection: "a\r\nSet-Cookie: b""#,
            "3:23: http_server_config.headers.X-XSS-Protection: contains characters that are invalid",
        ),
    ] {
        let text = format!("http_server_config:\n  headers:\n    {name}\n");
        check(&text, &format!("web.yml:{expected}"));
    }
    let hash = |cost: &str| format!("a: {}", HASH.replace("$10$", cost));
    for (user, expected) in [
        (
            "alice: hunter2",
            "2:10: basic_auth_users: a password must be given as a bcrypt hash: the",
        ),
        (&hash("$03$"), "2:6: basic_auth_users: a bcrypt hash has cost 3: it must be 4 to 18; 10"),
        (&hash("$31$"), "2:6: basic_auth_users: a bcrypt hash has cost 31: it must be 4 to 18; 10"),
        (&format!("a: {HASH}\n  a: {HASH}"), "3:3: duplicate key"),
        (&format!("\"a:b\": {HASH}"), "2:3: basic_auth_users: a username must not contain a colon"),
        ("a:", "basic_auth_users: a user has no password hash"),
        ("[a]", "2:3: basic_auth_users: must be a table, not a list"),
    ] {
        check(&format!("basic_auth_users:\n  {user}\n"), expected);
    }
    for (files, expected) in [
        ("cert_file: server.crt", "2:3: tls_server_config: requires key_file or key"),
        ("min_version: TLS13", "tls_server_config: requires cert_file or cert\nweb.yml:2:3: tls_s"),
        (
            "cert_file: missing.crt\n  key_file: server.key",
            "2:14: tls_server_config.cert_file: DIR/missing.crt does not exist",
        ),
        (
            "cert_file: .\n  key_file: server.key",
            "2:14: tls_server_config.cert_file: DIR/. is a directory, not a file",
        ),
        (
            "cert_file: empty.pem\n  key_file: encrypted.key",
            "2:14: tls_server_config.cert_file: contains no PEM certificate\nweb.yml:3:13: \
             tls_server_config.key_file: contains no unencrypted PEM private key",
        ),
        (
            "cert_file: invalid.pem\n  key_file: server.key",
            "2:14: tls_server_config.cert_file: contains invalid PEM",
        ),
        (
            "cert_file: server.crt\n  key_file: other.key",
            "2:14: tls_server_config.cert_file: cannot be used with the key: ",
        ),
        (
            "cert: x\n  cert_file: server.crt\n  key_file: server.key",
            "2:9: tls_server_config.cert: excludes cert_file: set only one of them",
        ),
    ] {
        check(&format!("tls_server_config:\n  {files}\n"), expected);
    }
    let verify = "client_auth_type: RequireAndVerifyClientCert";
    for (keys, expected) in [
        ("min_version: TLS10", "4:16: min_version: TLS 1.0 and 1.1 are insecure and not supported"),
        ("max_version: TLS11", "4:16: max_version: TLS 1.0 and 1.1 are insecure and not supported"),
        ("min_version: 1.2", "4:16: min_version: must be TLS12 or TLS13"),
        (
            "min_version: TLS13\n  max_version: TLS12",
            "4:16: min_version: must not be above max_version",
        ),
        (
            "client_auth_type: Always",
            "4:21: client_auth_type: must be NoClientCert, RequestClientCert, RequireAnyClientCert, \
             VerifyClientCertIfGiven or RequireAndVerifyClientCert",
        ),
        (verify, "4:21: client_auth_type: requires client_ca_file or client_ca: the system's"),
        (
            "client_ca_file: server.crt",
            "4:19: client_ca_file: has no effect without client_auth_type",
        ),
        (
            "client_ca_file: server.crt\n  client_auth_type: RequireAnyClientCert",
            "4:19: client_ca_file: has no effect with this client_auth_type; use RequireAndVerify",
        ),
        (
            &format!("client_ca_file: empty.pem\n  {verify}"),
            "4:19: client_ca_file: contains no PEM certificate",
        ),
        (
            "client_allowed_sans: [x]",
            "4:24: client_allowed_sans: requires client_auth_type Require",
        ),
        (
            "client_allowed_sans: []\n  client_auth_type: RequireAnyClientCert",
            "4:24: client_allowed_sans: must not be empty, or no client is allowed",
        ),
        (
            "cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]",
            "4:19: cipher_suites[1]: has no forward secrecy or no authenticated encryption and is",
        ),
        (
            "cipher_suites:\n  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265",
            "5:5: cipher_suites[1]: unknown cipher suite; did you mean \
             TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?",
        ),
        (
            "max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]",
            "5:18: cipher_suites: has no suite of TLS 1.2, the only version allowed",
        ),
        (
            "curve_preferences: [CurveP521]",
            "4:23: curve_preferences[1]: is not supported by the TLS library; remove it",
        ),
        (
            "curve_preferences: [CurveP255]",
            "4:23: curve_preferences[1]: unknown curve; did you mean CurveP256?",
        ),
        ("curve_preferences: X25519", "4:22: curve_preferences: must be a list of strings"),
        (
            "prefer_server_cipher_suites: maybe",
            "4:32: prefer_server_cipher_suites: must be true or",
        ),
    ] {
        let (line, rest) = expected.split_once(": ").unwrap();
        check(&format!("{TLS}  {keys}\n"), &format!("web.yml:{line}: tls_server_config.{rest}"));
    }
}

#[test]
fn documents_every_key_and_name() {
    let text = include_str!("../../../docs/tls-and-authentication.md");
    let reasons = RejectionReason::ALL.map(RejectionReason::as_str);
    let names = [
        raw::TLS.keys,
        raw::HEADERS.keys,
        &names::VERSIONS,
        &names::CLIENT_AUTH_TYPES,
        &names::CURVES.map(|(name, _)| name),
        &reasons,
        &["http2", "headers", "basic_auth_users", "rate_limit.interval", "burst"],
    ];
    for name in names.concat() {
        assert!(text.contains(&format!("{name}`")), "{name}");
    }
}

#[test]
fn mutated_configurations_do_not_panic() {
    let dir = certificates();
    let good = format!(
        "{TLS}  cipher_suites: &a [TLS_AES_128_GCM_SHA256]\n  curve_preferences: [X25519]\n\
         http_server_config: {{headers: {{X-Frame-Options: \"deny\"}}}}\n\
         basic_auth_users:\n  ? 'a'\n  : {HASH}\nrate_limit: {{interval: 1h1.5s, burst: 3}}\n"
    );
    assert!(read(dir.path(), &good).is_ok());
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] = *random.choice(b"\n\t :-[]{}\"'&*!|>%@?#,\x00~<\xff").unwrap(),
                1 => bytes.truncate(at.max(1)),
                _ => _ = bytes.remove(at),
            }
            if bytes.is_empty() {
                bytes.push(b'-');
            }
        }
        let _ = read(dir.path(), &String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn reports_unreadable_files() {
    let dir = certificates();
    let problem = |name: &str| load(&dir.path().join(name)).0.unwrap_err();
    assert!(problem("none.yml").ends_with("none.yml: does not exist"));
    fs::write(dir.path().join("latin.yml"), b"a: \xe9\n").unwrap();
    assert!(problem("latin.yml").contains("not encoded in UTF-8"));
    fs::write(dir.path().join("huge.yml"), vec![b'#'; 2 << 20]).unwrap();
    assert!(problem("huge.yml").contains("larger than 1 MiB"));
}

#[test]
fn digest_covers_every_file() {
    let dir = certificates();
    let path = dir.path().join("web.yml");
    fs::write(&path, TLS).unwrap();
    let digest = load(&path).1;
    assert_eq!(digest.recompute(), digest);
    let key = dir.path().join("server.key");
    let original = fs::read(&key).unwrap();
    fs::copy(dir.path().join("other.key"), &key).unwrap();
    assert_ne!(digest.recompute(), digest);
    let (invalid, invalid_digest) = load(&path);
    assert!(invalid.is_err());
    assert_eq!(invalid_digest.recompute(), invalid_digest);
    fs::remove_file(&key).unwrap();
    assert_ne!(digest.recompute(), digest);
    fs::write(&key, original).unwrap();
    assert_eq!(digest.recompute(), digest);
}

#[test]
fn detects_weaker_configurations() {
    let dir = certificates();
    let read = |text: String| read(dir.path(), &text).unwrap();
    let users = |names: &[&str]| {
        let users = names.iter().map(|name| format!("  {name}: {HASH}\n"));
        format!("basic_auth_users:\n{}", users.collect::<String>())
    };
    let clients =
        |auth: &str| format!("{TLS}  client_auth_type: {auth}\n  client_ca_file: server.crt\n");
    for (old, new, weakens) in [
        (TLS.to_owned(), String::new(), true),
        (String::new(), TLS.to_owned(), false),
        (users(&["a", "b"]), users(&["a"]), false),
        (users(&["a"]), users(&["a", "b"]), false),
        (users(&["a"]), TLS.to_owned(), true),
        (clients("RequireAndVerifyClientCert"), clients("VerifyClientCertIfGiven"), true),
        (clients("RequireAndVerifyClientCert"), TLS.to_owned() + &users(&["a"]), true),
        (clients("VerifyClientCertIfGiven"), TLS.to_owned(), false),
        (
            clients("RequireAndVerifyClientCert") + "  client_allowed_sans: [x]\n",
            clients("RequireAndVerifyClientCert"),
            true,
        ),
    ] {
        assert_eq!(read(new.clone()).weakens(&read(old.clone())), weakens, "{old}{new}");
    }
}

#[test]
fn problems_never_contain_user_names() {
    for value in ["[1]", "{a: b}", "", "\"\"", "null", "x"] {
        // Name and hash swapped.
        let text = format!("basic_auth_users:\n  ? \"{HASH}\"\n  : {value}\n");
        let problems = problems_of(text.as_bytes(), Path::new("web.yml"));
        assert!(problems.contains("basic_auth_users: a "), "{problems}");
        assert!(!problems.contains("$2y$"), "{problems}");
    }
}
