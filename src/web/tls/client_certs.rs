//! Who may come in by a certificate of their own.
//!
//! A certificate is always optional for the handshake, for the health paths answer without one. What
//! is presented must be good there and then, or there is no connection; that one was presented is
//! seen to with each request, as is whether it is still good by the settings of that moment.

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

/// What is asked of clients, by the names that Go has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    No,
    /// Asked for and not looked at.
    Request,
    /// Any will do, whoever made it.
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

impl ClientAuth {
    pub(crate) fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify)
    }

    pub(crate) fn requires(self) -> bool {
        matches!(self, ClientAuth::RequireAny | ClientAuth::RequireAndVerify)
    }

    /// How much it keeps out. More is stricter.
    pub(crate) fn strictness(self) -> u8 {
        match self {
            ClientAuth::No | ClientAuth::Request | ClientAuth::VerifyIfGiven => 0,
            ClientAuth::RequireAny => 1,
            ClientAuth::RequireAndVerify => 2,
        }
    }
}

/// Judges certificates of clients.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) auth: ClientAuth,
    /// Who verifies chains, where that is asked for.
    pub(crate) chains: Option<Arc<dyn ClientCertVerifier>>,
    /// Names one of which a certificate must have, where any are asked for.
    pub(crate) names: Option<Vec<String>>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    /// Whether a connection on which this chain was presented may ask for more than its health.
    pub(crate) fn admits(&self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        match chain.and_then(|chain| chain.split_first()) {
            Some((own, others)) => {
                let now = UnixTime::now();
                !self.auth.requires() || self.verify_client_cert(own, others, now).is_ok()
            }
            None => !self.auth.requires(),
        }
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.auth != ClientAuth::No
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.as_ref().map_or(&[], |chains| chains.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chains) = &self.chains {
            chains.verify_client_cert(own, others, now)?;
        }
        if let Some(allowed) = &self.names {
            let names = names_of(own).ok_or(CertificateError::BadEncoding)?;
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

/// The subject alternative names that the toolkit compares: DNS names, e-mail addresses, addresses
/// and URIs. None if it is no certificate.
pub fn names_of(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()?;
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    Some(names.iter().filter_map(text_of).collect())
}

fn text_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(text)
        | GeneralName::Rfc822Name(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()).map(|ip| ip.to_string()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?;
    Some(address.to_canonical())
}

/// When a certificate ends to be valid, in seconds since the epoch; none if it is none.
pub(crate) fn end_of(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs())
}
