//! A proxy that inspects TLS, as in many companies: it answers CONNECT, presents a certificate of
//! its own authority for every host, and forwards what it decrypts to servers on loopback.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, pki_types::pem::PemObject},
};

use crate::keys::Keys;

pub struct InspectingProxy {
    pub port: u16,
    /// Its authority in PEM.
    pub authority: String,
    accepting: JoinHandle<()>,
}

impl Drop for InspectingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl InspectingProxy {
    /// Forwards each host to a server.
    pub async fn start(hosts: &[(&str, SocketAddr)]) -> InspectingProxy {
        let keys = Keys::generate();
        let names: Vec<String> = hosts.iter().map(|(host, _)| (*host).to_owned()).collect();
        let pair = keys.server_for(names);
        let certificate =
            rustls::pki_types::CertificateDer::from_pem_slice(pair.certificate.as_bytes());
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(pair.key.as_bytes());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.unwrap()], key.unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let hosts: Vec<_> =
            hosts.iter().map(|(host, server)| ((*host).to_owned(), *server)).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hosts = Arc::new(hosts);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(forward(stream, acceptor.clone(), hosts.clone()));
            }
        });
        InspectingProxy { port, authority: keys.authority(), accepting }
    }
}

async fn forward(
    mut stream: TcpStream,
    acceptor: TlsAcceptor,
    hosts: Arc<Vec<(String, SocketAddr)>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&request).into_owned();
    let server = hosts.iter().find(|(host, _)| line.starts_with(&format!("CONNECT {host}:443 ")));
    let Some((_, server)) = server else {
        return stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    };
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    let mut decrypted = acceptor.accept(stream).await?;
    let mut server = TcpStream::connect(server).await?;
    copy_bidirectional(&mut decrypted, &mut server).await.map(drop)
}
