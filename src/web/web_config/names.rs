//! The names that Go has for what TLS is made of, and what the TLS library here has for them.

use tokio_rustls::rustls::{
    SupportedCipherSuite,
    crypto::{SupportedKxGroup, aws_lc_rs as provider},
};

use crate::web::tls::ClientAuth;

/// What a name stands for.
pub(crate) enum Named<T> {
    Known(T),
    /// A name that Go knows, for what cannot be done here, and why.
    Refused(&'static str),
    Unknown,
}

/// The protocol versions that are spoken, oldest first.
pub(crate) const VERSIONS: [&str; 2] = ["TLS12", "TLS13"];

/// A version, by how new it is.
pub(crate) fn version(name: &str) -> Named<usize> {
    match VERSIONS.iter().position(|version| *version == name) {
        Some(version) => Named::Known(version),
        None if ["TLS10", "TLS11"].contains(&name) => {
            Named::Refused("TLS 1.0 and 1.1 are broken, and not spoken here: TLS12 is the least")
        }
        None => Named::Unknown,
    }
}

pub(crate) const CLIENT_AUTH_TYPES: [&str; 5] = [
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
];

pub(crate) fn client_auth(name: &str) -> Option<ClientAuth> {
    Some(match name {
        "NoClientCert" => ClientAuth::No,
        "RequestClientCert" => ClientAuth::Request,
        // The second is an old name that the toolkit still takes.
        "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAny,
        "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
        "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
        _ => return None,
    })
}

/// A cipher suite of TLS 1.2; none for one of TLS 1.3, which Go does not let be chosen either.
pub(crate) fn cipher_suite(name: &str) -> Named<Option<SupportedCipherSuite>> {
    use provider::cipher_suite as suites;
    Named::Known(match name {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => {
            Some(suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
        }
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => {
            Some(suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)
        }
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
        | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
            Some(suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256)
        }
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => {
            Some(suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
        }
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => {
            Some(suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)
        }
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => {
            Some(suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)
        }
        "TLS_AES_128_GCM_SHA256" | "TLS_AES_256_GCM_SHA384" | "TLS_CHACHA20_POLY1305_SHA256" => {
            None
        }
        _ if name.starts_with("TLS_RSA_WITH_")
            || (name.starts_with("TLS_ECDHE_") && name.contains("_CBC_")) =>
        {
            return Named::Refused(
                "has no forward secrecy or no authenticated encryption, and is not spoken here; take it out",
            );
        }
        _ => return Named::Unknown,
    })
}

/// For the nearest name.
pub(crate) const CIPHER_SUITES: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

pub(crate) const CURVES: [&str; 5] =
    ["CurveP256", "CurveP384", "X25519", "X25519MLKEM768", "SecP256r1MLKEM768"];

pub(crate) fn curve(name: &str) -> Named<&'static dyn SupportedKxGroup> {
    use provider::kx_group as groups;
    Named::Known(match name {
        "CurveP256" => groups::SECP256R1,
        "CurveP384" => groups::SECP384R1,
        "X25519" => groups::X25519,
        "X25519MLKEM768" => groups::X25519MLKEM768,
        "SecP256r1MLKEM768" => groups::SECP256R1MLKEM768,
        "CurveP521" | "SecP384r1MLKEM1024" => {
            return Named::Refused("is not among what the TLS library here can do; take it out");
        }
        _ => return Named::Unknown,
    })
}
