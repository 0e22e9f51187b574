//! HTTP/2 over TLS to the service: one connection for all requests, which is replaced when it stalls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::Version, routing::any};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::{
    harness::{Exporter, Samples, config},
    keys::Keys,
};

/// A service with HTTP/2 over TLS.
async fn service(keys: &Keys) -> (String, Arc<AtomicUsize>) {
    let pair = keys.server();
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let mut tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(tls));
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let respond = async move |version: Version| {
        assert_eq!(version, Version::HTTP_2);
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        "{\"devices\": []}"
    };
    let router = Router::new().fallback(any(respond));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, router) = (tls.clone(), router.clone());
            tokio::spawn(async move {
                let stream = TokioIo::new(tls.accept(stream).await.unwrap());
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(stream, TowerToHyperService::new(router))
                    .await;
            });
        }
    });
    (address, requests)
}

/// A proxy in front of a service. It can stall: then it still receives, but forwards nothing.
#[derive(Default)]
struct Proxy {
    connections: AtomicUsize,
    /// Connections up to this number stall.
    stalled: AtomicUsize,
}

impl Proxy {
    async fn start(service: String) -> (Arc<Proxy>, u16) {
        let proxy = Arc::new(Proxy::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let number = this.connections.fetch_add(1, Ordering::Relaxed) + 1;
                let server = TcpStream::connect(&service).await.unwrap();
                let (client, server) = (client.into_split(), server.into_split());
                tokio::spawn(this.clone().forward(number, client.0, server.1));
                tokio::spawn(this.clone().forward(number, server.0, client.1));
            }
        });
        (proxy, port)
    }

    async fn forward(
        self: Arc<Proxy>,
        number: usize,
        mut from: impl AsyncReadExt + Unpin,
        mut to: impl AsyncWriteExt + Unpin,
    ) {
        let mut buffer = vec![0; 65_536];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) if number <= self.stalled.load(Ordering::Relaxed) => {}
                Ok(length) => {
                    if to.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn stall(&self) {
        self.stalled.store(self.connections.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replaces_a_stalled_http2_connection() {
    let keys = Keys::generate();
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, keys.authority()).unwrap();
    let (address, requests) = service(&keys).await;
    let (proxy, port) = Proxy::start(address).await;

    let poll = "interval = \"1s\"\nrequests_per_second = 10000\nrequest_timeout = \"2s\"\n\
                max_attempts = 1";
    let users: Vec<_> = (1..=40).map(|id| id.to_string()).collect();
    let text = config(&format!("https://localhost:{port}"), poll, "12345678", &users);
    let environment = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    let exporter = Exporter::start_with(&text, &[], &environment);
    let is_up = |s: &Samples| s.get("wickr_up", &[]) == Some(1.0);
    exporter.wait_for("a successful poll", is_up).await;
    // The first requests connect before the protocol is known.
    let connections = proxy.connections.load(Ordering::Relaxed);
    exporter.next_poll().await;
    assert!(requests.load(Ordering::Relaxed) >= 80);
    assert_eq!(proxy.connections.load(Ordering::Relaxed), connections);

    proxy.stall();
    exporter.wait_for("a failure", |s| !is_up(s)).await;
    exporter.wait_for("a successful poll", is_up).await;
    assert!(proxy.connections.load(Ordering::Relaxed) > connections);
}
