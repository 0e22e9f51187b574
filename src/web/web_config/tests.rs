//! Whole web configurations: good ones and what they come to, bad ones and what is said of them.

use std::{fs, path::Path};

use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::rustls::NamedGroup;

use super::{load::load, *};
use crate::{telemetry::Refusal, web::tls::ClientAuth};

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// A folder with a certificate, its key and another one's.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    write("server.crt", params.self_signed(&key).unwrap().pem());
    write("server.key", key.serialize_pem());
    write("other.key", other.serialize_pem());
    write("empty.pem", String::new());
    write("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".into());
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write("locked.key", locked.into());
    folder
}

fn read(folder: &Path, text: &str) -> Result<Settings, String> {
    let path = folder.join("web.yml");
    fs::write(&path, text).unwrap();
    let result = load(&path).result;
    result.map_err(|problems| problems.replace(&path.display().to_string(), "web.yml"))
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

#[test]
fn every_key_is_read() {
    let folder = folder();
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
    let settings = read(folder.path(), &text).unwrap();
    let tls = settings.tls.as_ref().unwrap();
    assert_eq!(tls.clients.auth, ClientAuth::RequireAndVerify);
    assert!(tls.clients.chains.is_some());
    assert_eq!(tls.clients.names.as_ref().unwrap().len(), 2);
    assert!(!tls.config.ignore_client_order);
    let provider = tls.config.crypto_provider();
    let of_12 = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none());
    assert_eq!(of_12.count(), 1);
    let curves: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
    assert_eq!(curves, [NamedGroup::secp384r1, NamedGroup::X25519]);
    assert!(tls.valid_until.unwrap() > 1_700_000_000);
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
    assert!(settings.bucket.is_some());
    assert_eq!(settings.strictness(), [1, 1, 2, 1]);
}

#[test]
fn what_says_nothing_asks_for_nothing() {
    let folder = folder();
    for text in [
        "",
        "# nothing\n",
        "{}",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n",
        "tls_server_config: {}\nbasic_auth_users: {}\nhttp_server_config: {headers: {}}\n",
        "http_server_config: {http2: off, headers: {X-Frame-Options: \"\"}}",
        "rate_limit: {interval: 0, burst: 0}",
    ] {
        let settings = read(folder.path(), text).unwrap();
        assert_eq!(settings.strictness(), [0, 0, 0, 0], "{text}");
        assert!(settings.headers.is_empty() && settings.bucket.is_none(), "{text}");
    }
}

#[test]
fn pem_may_be_written_out_and_anchors_used() {
    let folder = folder();
    let pem = |name: &str| {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        text.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    let text = format!(
        "tls_server_config:\n  cert: &cert |\n{}  key: |\n{}  client_ca: *cert\n  client_auth_type: VerifyClientCertIfGiven\n",
        pem("server.crt"),
        pem("server.key")
    );
    let settings = read(folder.path(), &text).unwrap();
    assert_eq!(settings.tls.unwrap().clients.auth, ClientAuth::VerifyIfGiven);
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_nothing_secret() {
    let folder = folder();
    let tls = |more: &str| format!("{TLS}{more}");
    let cases: Vec<(String, &str)> = vec![
        (
            "tls_server_confg:\n  cert_file: x\n".into(),
            "web.yml:1:1: unknown key; did you mean tls_server_config?",
        ),
        ("[1]".into(), "web.yml:1:1: must be a map: keys, each with a value"),
        (
            "basic_auth_users:\n  a: x\n  a: y\n".into(),
            "web.yml:2:6: basic_auth_users: a password must be given as its bcrypt hash, as `htpasswd -nBC 10 NAME` prints it after the colon\nweb.yml:3:3: basic_auth_users: a key stands twice",
        ),
        (
            "basic_auth_users: {alice: hunter2}".into(),
            "web.yml:1:27: basic_auth_users: a password must be given as its bcrypt hash, as `htpasswd -nBC 10 NAME` prints it after the colon",
        ),
        (
            format!("basic_auth_users:\n  a: {}\n", HASH.replace("$10$", "$03$")),
            "web.yml:2:6: basic_auth_users: a bcrypt hash of cost 3: the cost must be from 4 to 18; 10 to 12 is usual",
        ),
        (
            format!("basic_auth_users:\n  a: {}\n", HASH.replace("$10$", "$31$")),
            "web.yml:2:6: basic_auth_users: a bcrypt hash of cost 31: the cost must be from 4 to 18; 10 to 12 is usual",
        ),
        (
            format!("basic_auth_users:\n  \"a:b\": {HASH}\n"),
            "web.yml:2:3: basic_auth_users: a name with a colon can never log in",
        ),
        ("basic_auth_users:\n  a:\n".into(), "basic_auth_users: a user has no password hash"),
        (
            "basic_auth_users: [a]".into(),
            "web.yml:1:19: basic_auth_users: must be a map: keys, each with a value",
        ),
        (
            "tls_server_config:\n  cert_file: server.crt\n".into(),
            "web.yml:2:3: tls_server_config: has no key_file and no key: without, nothing is encrypted",
        ),
        (
            "tls_server_config:\n  min_version: TLS13\n".into(),
            "web.yml:2:3: tls_server_config: has no cert_file and no cert: without, nothing is encrypted\nweb.yml:2:3: tls_server_config: has no key_file and no key: without, nothing is encrypted",
        ),
        (
            "tls_server_config:\n  cert_file: missing.crt\n  key_file: server.key\n".into(),
            "web.yml:2:14: tls_server_config.cert_file: FOLDER/missing.crt does not exist",
        ),
        (
            "tls_server_config:\n  cert_file: .\n  key_file: server.key\n".into(),
            "web.yml:2:14: tls_server_config.cert_file: FOLDER/. is a directory, not a file",
        ),
        (
            "tls_server_config:\n  cert_file: empty.pem\n  key_file: locked.key\n".into(),
            "web.yml:2:14: tls_server_config.cert_file: holds no certificate in PEM\nweb.yml:3:13: tls_server_config.key_file: holds no private key in PEM; one that is encrypted cannot be used",
        ),
        (
            "tls_server_config:\n  cert_file: broken.pem\n  key_file: server.key\n".into(),
            "web.yml:2:14: tls_server_config.cert_file: holds PEM that cannot be read",
        ),
        (
            "tls_server_config:\n  cert_file: server.crt\n  key_file: other.key\n".into(),
            "web.yml:2:14: tls_server_config.cert_file: cannot be used with the key: ",
        ),
        (
            "tls_server_config:\n  cert: x\n  cert_file: server.crt\n  key_file: server.key\n"
                .into(),
            "web.yml:2:9: tls_server_config.cert: give it or cert_file, not both",
        ),
        (
            tls("  min_version: TLS10\n"),
            "web.yml:4:16: tls_server_config.min_version: TLS 1.0 and 1.1 are broken, and not spoken here: TLS12 is the least",
        ),
        (
            tls("  max_version: TLS11\n"),
            "web.yml:4:16: tls_server_config.max_version: TLS 1.0 and 1.1 are broken, and not spoken here: TLS12 is the least",
        ),
        (
            tls("  min_version: 1.2\n"),
            "web.yml:4:16: tls_server_config.min_version: must be TLS12 or TLS13",
        ),
        (
            tls("  min_version: TLS13\n  max_version: TLS12\n"),
            "tls_server_config.min_version: must not be above max_version",
        ),
        (
            tls("  client_auth_type: Always\n"),
            "web.yml:4:21: tls_server_config.client_auth_type: must be NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
        ),
        (
            tls("  client_auth_type: RequireAndVerifyClientCert\n"),
            "web.yml:4:21: tls_server_config.client_auth_type: needs client_ca_file or client_ca: certificates of all the world's authorities are not taken here",
        ),
        (
            tls("  client_ca_file: server.crt\n"),
            "web.yml:4:19: tls_server_config.client_ca_file: is of no use without a client_auth_type",
        ),
        (
            tls("  client_ca_file: server.crt\n  client_auth_type: RequireAnyClientCert\n"),
            "web.yml:4:19: tls_server_config.client_ca_file: is of no use with this client_auth_type, which verifies nothing; RequireAndVerifyClientCert does",
        ),
        (
            tls("  client_ca_file: empty.pem\n  client_auth_type: RequireAndVerifyClientCert\n"),
            "web.yml:4:19: tls_server_config.client_ca_file: holds no certificate in PEM",
        ),
        (
            tls("  client_allowed_sans: [x]\n"),
            "web.yml:4:24: tls_server_config.client_allowed_sans: needs a client_auth_type of RequireAndVerifyClientCert or RequireAnyClientCert",
        ),
        (
            tls("  client_allowed_sans: []\n  client_auth_type: RequireAnyClientCert\n"),
            "web.yml:4:24: tls_server_config.client_allowed_sans: must not be empty: nobody could come in",
        ),
        (
            tls("  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n"),
            "web.yml:4:19: tls_server_config.cipher_suites[1]: has no forward secrecy or no authenticated encryption, and is not spoken here; take it out",
        ),
        (
            tls("  cipher_suites:\n  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265\n"),
            "web.yml:5:5: tls_server_config.cipher_suites[1]: unknown cipher suite; did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?",
        ),
        (
            tls("  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n"),
            "web.yml:5:18: tls_server_config.cipher_suites: has no suite of TLS 1.2, the only version allowed",
        ),
        (
            tls("  curve_preferences: [CurveP521]\n"),
            "web.yml:4:23: tls_server_config.curve_preferences[1]: is not among what the TLS library here can do; take it out",
        ),
        (
            tls("  curve_preferences: [CurveP255]\n"),
            "web.yml:4:23: tls_server_config.curve_preferences[1]: unknown curve; did you mean CurveP256?",
        ),
        (
            tls("  curve_preferences: X25519\n"),
            "web.yml:4:22: tls_server_config.curve_preferences: must be a list of texts",
        ),
        (
            tls("  prefer_server_cipher_suites: maybe\n"),
            "web.yml:4:32: tls_server_config.prefer_server_cipher_suites: must be true or false",
        ),
        (
            "http_server_config: {http2: 1}".into(),
            "web.yml:1:29: http_server_config.http2: must be true or false",
        ),
        (
            "http_server_config:\n  headers:\n    Server: x\n".into(),
            "web.yml:3:5: http_server_config.headers: unknown key",
        ),
        (
            "http_server_config:\n  headers:\n    x-frame-options: deny\n".into(),
            "web.yml:3:5: http_server_config.headers: unknown key; did you mean X-Frame-Options?",
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: allow\n".into(),
            "web.yml:3:22: http_server_config.headers.X-Frame-Options: must be deny or sameorigin",
        ),
        (
            "http_server_config:\n  headers:\n    X-XSS-Protection: \"a\\r\\nSet-Cookie: b\"\n"
                .into(),
            "web.yml:3:23: http_server_config.headers.X-XSS-Protection: has characters that no header may have",
        ),
        (
            "rate_limit: {interval: 1s}".into(),
            "rate_limit.burst: must be at least 1: otherwise no request is ever let in",
        ),
        (
            "rate_limit: {interval: 1s, burst: 0}".into(),
            "rate_limit.burst: must be at least 1: otherwise no request is ever let in",
        ),
        (
            "rate_limit: {interval: 5, burst: 1}".into(),
            "web.yml:1:24: rate_limit.interval: must be a duration such as 1s or 500ms",
        ),
        (
            "rate_limit: {interval: 1s, burst: -1}".into(),
            "web.yml:1:35: rate_limit.burst: must be a whole number",
        ),
        ("<<: {a: b}\n".into(), "web.yml:1:1: merge keys (<<) are not supported"),
        ("? [a]\n: b\n".into(), "a key must be a text"),
        ("a: [".into(), "not valid YAML"),
    ];
    for (text, expected) in cases {
        let said = read(folder.path(), &text).expect_err(&text);
        let said = said.replace(&folder.path().display().to_string(), "FOLDER");
        assert!(said.contains(expected), "{text}\n{said}\nwanted: {expected}");
        for secret in ["hunter2", "QOauhQNb"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

#[test]
fn every_key_and_name_is_documented() {
    let text = include_str!("../../../docs/tls-and-authentication.md");
    let headers = raw::HEADERS.map(|(name, _)| name);
    let reasons = Refusal::ALL.map(Refusal::as_str);
    let names = [
        &raw::TLS_KEYS[..],
        &headers,
        &names::VERSIONS,
        &names::CLIENT_AUTH_TYPES,
        &names::CURVES,
        &reasons,
        &["http2", "headers", "basic_auth_users", "rate_limit.interval", "burst"],
    ];
    for name in names.concat() {
        assert!(text.contains(&format!("{name}`")), "{name}");
    }
}

#[test]
fn no_text_makes_it_fall_over() {
    let folder = folder();
    let good = format!(
        "{TLS}  cipher_suites: &a [TLS_AES_128_GCM_SHA256]\n  curve_preferences: [X25519]\n\
         http_server_config: {{headers: {{X-Frame-Options: \"deny\"}}}}\n\
         basic_auth_users:\n  ? 'a'\n  : {HASH}\nrate_limit: {{interval: 1h1.5s, burst: 3}}\n"
    );
    assert!(read(folder.path(), &good).is_ok());
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
        let _ = read(folder.path(), &String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn the_file_itself_may_be_wrong() {
    let folder = folder();
    let problem = |name: &str| load(&folder.path().join(name)).result.unwrap_err();
    assert!(problem("none.yml").ends_with("none.yml: does not exist"));
    fs::write(folder.path().join("latin.yml"), b"a: \xe9\n").unwrap();
    assert!(problem("latin.yml").contains("not encoded in UTF-8"));
    fs::write(folder.path().join("huge.yml"), vec![b'#'; 2 << 20]).unwrap();
    assert!(problem("huge.yml").contains("larger than 1 MiB"));
}

#[test]
fn a_change_of_any_file_is_seen() {
    let folder = folder();
    let path = folder.path().join("web.yml");
    fs::write(&path, TLS).unwrap();
    let seen = load(&path).seen;
    assert_eq!(seen.again(), seen);
    let key = folder.path().join("server.key");
    let (was, other) = (fs::read(&key).unwrap(), folder.path().join("other.key"));
    fs::copy(&other, &key).unwrap();
    assert_ne!(seen.again(), seen);
    let broken = load(&path);
    assert!(broken.result.is_err());
    assert_eq!(broken.seen.again(), broken.seen);
    fs::remove_file(&key).unwrap();
    assert_ne!(seen.again(), seen);
    fs::write(&key, was).unwrap();
    assert_eq!(seen.again(), seen);
}

#[test]
fn what_opens_a_door_is_told_from_what_does_not() {
    let folder = folder();
    let read = |text: String| read(folder.path(), &text).unwrap();
    let users = |names: &[&str]| {
        let users = names.iter().map(|name| format!("  {name}: {HASH}\n"));
        format!("basic_auth_users:\n{}", users.collect::<String>())
    };
    let clients =
        |auth: &str| format!("{TLS}  client_auth_type: {auth}\n  client_ca_file: server.crt\n");
    for (before, now, opens) in [
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
        assert_eq!(read(now.clone()).opens(&read(before.clone())), opens, "{before}{now}");
    }
}

#[test]
fn names_of_users_are_not_repeated_whatever_stands_beside_them() {
    for value in ["[1]", "{a: b}", "", "\"\"", "null", "x"] {
        // Name and hash the wrong way round.
        let text = format!("basic_auth_users:\n  ? \"{HASH}\"\n  : {value}\n");
        let told = problems_of(text.as_bytes(), Path::new("web.yml"));
        assert!(told.contains("basic_auth_users: a ") && !told.contains("$2y$"), "{told}");
    }
}
