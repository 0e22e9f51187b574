//! Builds the rustls configuration from the web configuration.

mod client_certs;

use std::sync::Arc;

use tokio_rustls::rustls::{
    DEFAULT_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

pub(super) use self::client_certs::ClientAuth;
pub use self::client_certs::names_of;
use self::client_certs::{ClientCerts, not_after};
use super::web_config::{FilesReader, Pem, RawTls};
use crate::diagnostics::Problems;

#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) client_certs: Arc<ClientCerts>,
    /// When the server certificate expires, in seconds since the epoch.
    pub(super) not_after: Option<u64>,
}

/// Reads the files that `raw` names. None if there was a problem.
pub(super) fn build(raw: &RawTls, files: &mut FilesReader, problems: &Problems) -> Option<Tls> {
    let chain = certificates(&raw.cert, files, problems);
    let key = private_key(&raw.key, files, problems);
    let provider = Arc::new(provider(raw));
    let client_certs = client_certs(raw, &provider, files, problems);
    let (chain, key, client_certs) = (chain?, key?, Arc::new(client_certs?));
    let versions = versions(raw);
    // Reported by the validation of the versions and cipher suites.
    if versions.is_empty() {
        return None;
    }
    let not_after = chain.first().and_then(not_after);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map(|builder| builder.with_client_cert_verifier(client_certs.clone()))
        .and_then(|builder| builder.with_single_cert(chain, key));
    let mut config = match config {
        Ok(config) => config,
        Err(error) => {
            problems.add(&raw.cert.location, format!("cannot be used with the key: {error}"));
            return None;
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = raw.prefer_server_cipher_suites;
    if raw.client_auth != ClientAuth::No {
        // A resumed session would not present the certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Some(Tls { config: Arc::new(config), client_certs, not_after })
}

/// Supports only the configured suites and curves.
fn provider(raw: &RawTls) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(suites) = &raw.cipher_suites {
        // As in Go, the suites of TLS 1.3 are not configurable.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend(suites);
    }
    if let Some(curves) = &raw.curves {
        provider.kx_groups.clone_from(curves);
    }
    provider
}

fn versions(raw: &RawTls) -> Vec<&'static SupportedProtocolVersion> {
    let (min, max) = raw.versions;
    let no_suite = raw.cipher_suites.as_ref().is_some_and(Vec::is_empty);
    let allowed = |version: &&SupportedProtocolVersion| {
        (**version == TLS12 && min == 0 && !no_suite) || (**version == TLS13 && max == 1)
    };
    DEFAULT_VERSIONS.iter().copied().filter(allowed).collect()
}

fn certificates(
    pem: &Pem,
    files: &mut FilesReader,
    problems: &Problems,
) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = files.pem(pem, problems)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => return Some(certificates),
        Ok(_) => problems.add(&pem.location, "contains no PEM certificate"),
        Err(_) => problems.add(&pem.location, "contains invalid PEM"),
    }
    None
}

fn private_key(
    pem: &Pem,
    files: &mut FilesReader,
    problems: &Problems,
) -> Option<PrivateKeyDer<'static>> {
    let bytes = files.pem(pem, problems)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => return Some(key),
        Err(pem::Error::NoItemsFound) => {
            problems.add(&pem.location, "contains no unencrypted PEM private key");
        }
        Err(_) => problems.add(&pem.location, "contains invalid PEM"),
    }
    None
}

fn client_certs(
    raw: &RawTls,
    provider: &Arc<CryptoProvider>,
    files: &mut FilesReader,
    problems: &Problems,
) -> Option<ClientCerts> {
    let chain_verifier = match &raw.client_ca {
        _ if !raw.client_auth.verifies() => None,
        Some(pem) => Some(chain_verifier(pem, provider, files, problems)?),
        // Reported by the validation of `client_auth_type`.
        None => return None,
    };
    Some(ClientCerts {
        auth: raw.client_auth,
        chain_verifier,
        allowed_sans: raw.allowed_sans.clone(),
        algorithms: provider.signature_verification_algorithms,
    })
}

fn chain_verifier(
    pem: &Pem,
    provider: &Arc<CryptoProvider>,
    files: &mut FilesReader,
    problems: &Problems,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, files, problems)? {
        if let Err(error) = roots.add(certificate) {
            problems.add(&pem.location, format!("contains an invalid certificate: {error}"));
            return None;
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    match builder.allow_unauthenticated().build() {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            problems.add(&pem.location, format!("cannot be used: {error}"));
            None
        }
    }
}
