//! Go's names for TLS versions, cipher suites, curves and client authentication. Messages do not
//! repeat an invalid name: it may be a misplaced secret.

use tokio_rustls::rustls::{
    SupportedCipherSuite,
    crypto::{
        SupportedKxGroup,
        aws_lc_rs::{ALL_CIPHER_SUITES, kx_group as groups},
    },
};

use crate::{
    diagnostics::{Parsed, nearest},
    web::tls::ClientAuth,
};

/// The supported protocol versions, oldest first.
pub(super) const VERSIONS: [&str; 2] = ["TLS12", "TLS13"];

/// The index in [`VERSIONS`].
pub(super) fn version(name: &str) -> Parsed<usize> {
    if ["TLS10", "TLS11"].contains(&name) {
        return Err("TLS 1.0 and 1.1 are insecure and not supported: use TLS12 or TLS13".into());
    }
    VERSIONS.iter().position(|version| *version == name).ok_or_else(|| must_be(&VERSIONS))
}

pub(super) const CLIENT_AUTH_TYPES: [&str; 5] = [
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
];

pub(super) fn client_auth(name: &str) -> Parsed<ClientAuth> {
    Ok(match name {
        "NoClientCert" => ClientAuth::No,
        "RequestClientCert" => ClientAuth::Request,
        // The toolkit still accepts the second, older name.
        "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAny,
        "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
        "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
        _ => return Err(must_be(&CLIENT_AUTH_TYPES)),
    })
}

/// The supported cipher suites of TLS 1.2.
pub(super) fn cipher_suites() -> impl Iterator<Item = (&'static str, SupportedCipherSuite)> {
    let tls12 = ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_none());
    tls12.filter_map(|suite| Some((suite.suite().as_str()?, *suite)))
}

/// A cipher suite of TLS 1.2; None for one of TLS 1.3, which is not configurable in Go either.
pub(super) fn cipher_suite(name: &str) -> Parsed<Option<SupportedCipherSuite>> {
    // Go has two shorter names for suites with ChaCha20.
    let is = |full: &str| {
        name == full || (name.ends_with("_CHACHA20_POLY1305") && full == format!("{name}_SHA256"))
    };
    if let Some((_, suite)) = cipher_suites().find(|(full, _)| is(full)) {
        return Ok(Some(suite));
    }
    match name {
        "TLS_AES_128_GCM_SHA256" | "TLS_AES_256_GCM_SHA384" | "TLS_CHACHA20_POLY1305_SHA256" => {
            Ok(None)
        }
        _ if name.starts_with("TLS_RSA_WITH_")
            || (name.starts_with("TLS_ECDHE_") && name.contains("_CBC_")) =>
        {
            Err("has no forward secrecy or no authenticated encryption and is not supported; \
                 remove it"
                .into())
        }
        _ => Err(unknown("cipher suite", name, cipher_suites().map(|(name, _)| name))),
    }
}

pub(super) static CURVES: [(&str, &dyn SupportedKxGroup); 5] = [
    ("CurveP256", groups::SECP256R1),
    ("CurveP384", groups::SECP384R1),
    ("X25519", groups::X25519),
    ("X25519MLKEM768", groups::X25519MLKEM768),
    ("SecP256r1MLKEM768", groups::SECP256R1MLKEM768),
];

pub(super) fn curve(name: &str) -> Parsed<&'static dyn SupportedKxGroup> {
    if ["CurveP521", "SecP384r1MLKEM1024"].contains(&name) {
        return Err("is not supported by the TLS library; remove it".into());
    }
    let found = CURVES.iter().find(|(curve, _)| *curve == name);
    let names = || CURVES.iter().map(|(curve, _)| *curve);
    found.map(|(_, group)| *group).ok_or_else(|| unknown("curve", name, names()))
}

fn unknown(kind: &str, name: &str, valid: impl Iterator<Item = &'static str>) -> String {
    let hint = nearest(name, valid).map(|name| format!("; did you mean {name}?"));
    format!("unknown {kind}{}", hint.unwrap_or_default())
}

/// `must be a, b or c`.
pub(super) fn must_be(names: &[&str]) -> String {
    match names {
        [names @ .., last] if !names.is_empty() => {
            format!("must be {} or {last}", names.join(", "))
        }
        names => format!("must be {}", names.concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supports_the_cipher_suites_of_go() {
        for key in ["ECDSA", "RSA"] {
            for cipher in [
                "AES_128_GCM_SHA256",
                "AES_256_GCM_SHA384",
                "CHACHA20_POLY1305_SHA256",
                "CHACHA20_POLY1305",
            ] {
                let name = format!("TLS_ECDHE_{key}_WITH_{cipher}");
                assert!(matches!(cipher_suite(&name), Ok(Some(_))), "{name}");
            }
        }
        assert_eq!(cipher_suites().count(), 6);
    }
}
