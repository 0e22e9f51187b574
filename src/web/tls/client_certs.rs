//! Verifies client certificates.
//!
//! The handshake does not require a certificate, because the health paths need none. A certificate that
//! is presented must be valid, or the handshake fails. Each request checks it again, against the
//! current settings.

use std::{net::IpAddr, sync::Arc};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// `client_auth_type`, as Go defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) enum ClientAuth {
    No,
    /// Requested but not verified.
    Request,
    /// Required but not verified.
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

impl ClientAuth {
    pub(in crate::web) fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify)
    }

    pub(in crate::web) fn requires(self) -> bool {
        matches!(self, ClientAuth::RequireAny | ClientAuth::RequireAndVerify)
    }

    pub(in crate::web) fn strictness(self) -> u8 {
        match self {
            ClientAuth::No | ClientAuth::Request | ClientAuth::VerifyIfGiven => 0,
            ClientAuth::RequireAny => 1,
            ClientAuth::RequireAndVerify => 2,
        }
    }
}

#[derive(Debug)]
pub(in crate::web) struct ClientCerts {
    pub(in crate::web) auth: ClientAuth,
    /// Set if `auth` verifies.
    pub(in crate::web) chain_verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// A certificate must have one of these names.
    pub(in crate::web) allowed_sans: Option<Vec<String>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCerts {
    /// Whether requests with this chain are authorized for paths other than the health paths.
    pub(in crate::web) fn authorizes(&self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        if !self.auth.requires() {
            return true;
        }
        chain.and_then(<[_]>::split_first).is_some_and(|(leaf, intermediates)| {
            self.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok()
        })
    }
}

impl ClientCertVerifier for ClientCerts {
    fn offer_client_auth(&self) -> bool {
        self.auth != ClientAuth::No
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain_verifier.as_ref().map_or(&[], |verifier| verifier.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(verifier) = &self.chain_verifier {
            verifier.verify_client_cert(leaf, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_sans {
            let names = names_of(leaf).ok_or(CertificateError::BadEncoding)?;
            if !names.iter().any(|name| allowed.contains(name)) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The subject alternative names that the toolkit compares: DNS names, email addresses, IP addresses
/// and URIs. None if the certificate is invalid.
pub fn names_of(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()?;
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    Some(names.iter().filter_map(to_text).collect())
}

fn to_text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(text)
        | GeneralName::Rfc822Name(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?;
            Some(ip.to_canonical().to_string())
        }
        _ => None,
    }
}

/// When a certificate expires, in seconds since the epoch. None if it is invalid.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs())
}
