//! From what is written about TLS to what the TLS library wants.

mod client_certs;

use std::sync::Arc;

use tokio_rustls::rustls::{
    DEFAULT_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use self::client_certs::end_of;
pub use self::client_certs::names_of;
pub(crate) use self::client_certs::{ClientAuth, Clients};
use super::web_config::{
    Files,
    problems::Problems,
    raw::{Pem, TlsWritten},
    table::Spot,
};

/// TLS, ready for handshakes.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) clients: Arc<Clients>,
    /// When our certificate ends to be valid, in seconds since the epoch.
    pub(crate) valid_until: Option<u64>,
}

/// Makes it, from the files that it names too. None if there was something to complain of.
pub(crate) fn build(
    written: &TlsWritten,
    files: &mut Files,
    problems: &mut Problems,
) -> Option<Tls> {
    let chain = certificates(&written.certificate, files, problems);
    let key = private_key(&written.key, files, problems);
    let provider = Arc::new(provider(written));
    let clients = clients(written, &provider, files, problems);
    let (chain, key, clients) = (chain?, key?, Arc::new(clients?));
    let valid_until = chain.first().and_then(end_of);
    let spot = &written.certificate;
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(written))
        .map(|builder| builder.with_client_cert_verifier(clients.clone()))
        .and_then(|builder| builder.with_single_cert(chain, key));
    let mut config = match config {
        Ok(config) => config,
        Err(error) => {
            let message = format!("cannot be used with the key: {error}");
            problems.add(spot.place, &spot.key, message);
            return None;
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = written.server_prefers;
    if written.clients != ClientAuth::No {
        // A session that is resumed brings the certificate along without showing it again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Some(Tls { config: Arc::new(config), clients, valid_until })
}

/// The one provider of the process, held to the suites and curves that are allowed.
fn provider(written: &TlsWritten) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(suites) = &written.cipher_suites {
        // Those of TLS 1.3 cannot be chosen, here as in Go.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend(suites);
    }
    if let Some(curves) = &written.curves {
        provider.kx_groups.clone_from(curves);
    }
    provider
}

fn versions(written: &TlsWritten) -> Vec<&'static SupportedProtocolVersion> {
    let (oldest, newest) = written.versions;
    let no_suite = written.cipher_suites.as_ref().is_some_and(Vec::is_empty);
    let allowed = |version: &&SupportedProtocolVersion| {
        (**version == TLS12 && oldest == 0 && !no_suite) || (**version == TLS13 && newest == 1)
    };
    DEFAULT_VERSIONS.iter().copied().filter(allowed).collect()
}

fn certificates(
    spot: &Spot<Pem>,
    files: &mut Files,
    problems: &mut Problems,
) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = files.pem(spot, problems)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => return Some(found),
        Ok(_) => problems.add(spot.place, &spot.key, "holds no certificate in PEM"),
        Err(_) => problems.add(spot.place, &spot.key, "holds PEM that cannot be read"),
    }
    None
}

fn private_key(
    spot: &Spot<Pem>,
    files: &mut Files,
    problems: &mut Problems,
) -> Option<PrivateKeyDer<'static>> {
    let bytes = files.pem(spot, problems)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => return Some(key),
        Err(pem::Error::NoItemsFound) => problems.add(
            spot.place,
            &spot.key,
            "holds no private key in PEM; one that is encrypted cannot be used",
        ),
        Err(_) => problems.add(spot.place, &spot.key, "holds PEM that cannot be read"),
    }
    None
}

fn clients(
    written: &TlsWritten,
    provider: &Arc<CryptoProvider>,
    files: &mut Files,
    problems: &mut Problems,
) -> Option<Clients> {
    let chains = match &written.client_ca {
        Some(spot) if written.clients.verifies() => {
            Some(verifier(spot, provider, files, problems)?)
        }
        // Reported already; nobody verifies nothing.
        None if written.clients.verifies() => return None,
        _ => None,
    };
    Some(Clients {
        auth: written.clients,
        chains,
        names: written.client_sans.clone(),
        algorithms: provider.signature_verification_algorithms,
    })
}

fn verifier(
    spot: &Spot<Pem>,
    provider: &Arc<CryptoProvider>,
    files: &mut Files,
    problems: &mut Problems,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(spot, files, problems)? {
        if let Err(error) = roots.add(certificate) {
            problems.add(spot.place, &spot.key, format!("holds a bad certificate: {error}"));
            return None;
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    match builder.allow_unauthenticated().build() {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            problems.add(spot.place, &spot.key, format!("cannot be used: {error}"));
            None
        }
    }
}
