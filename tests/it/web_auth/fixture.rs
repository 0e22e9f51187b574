//! An exporter with a web configuration, and clients for it.

use super::*;

pub(super) const NETWORK: &str = "12345678";
pub(super) const TLS: &str =
    "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
pub(super) const VERIFY: &str =
    "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
pub(super) const ALICE: (&str, &str) = ("alice", "wonderland");

/// A simulator with one network, one user and one device.
pub(super) async fn one_device() -> Simulator {
    let user = user("1001").device(device("a").kind("iOS"));
    serving(Fleet::new().network(network(NETWORK).user(user))).await
}

/// A cheap hash in the format of `htpasswd`.
pub(super) fn hash(password: &str) -> String {
    bcrypt::hash(password, 5).unwrap().replacen("$2b$", "$2y$", 1)
}

/// `basic_auth_users` with these names and passwords.
pub(super) fn users(users: &[(&str, &str)]) -> String {
    let lines = users.iter().map(|(name, password)| format!("  {name}: {}\n", hash(password)));
    format!("basic_auth_users:\n{}", lines.collect::<String>())
}

/// The directory contains `config.toml`, `web.yml`, `server.crt`, `server.key`, `ca.crt` and the files
/// of `deploy/prometheus`.
pub(super) struct Setup {
    pub(super) simulator: Simulator,
    pub(super) exporter: Exporter,
    pub(super) directory: PathBuf,
    pub(super) keys: Keys,
    pub(super) https: String,
}

impl Setup {
    pub(super) async fn new(web_config: &str) -> Setup {
        Setup::with_arguments(web_config, &[]).await
    }

    pub(super) async fn with_arguments(web_config: &str, arguments: &[&str]) -> Setup {
        let (simulator, directory) = (one_device().await, tempfile::tempdir().unwrap());
        let keys = Keys::generate();
        let path = directory.path().to_owned();
        keys.write_as_deployed(&path);
        let server = keys.server();
        for (name, text) in [
            ("config.toml", config(&simulator.endpoint(), FAST, NETWORK, &["1001"])),
            ("web.yml", web_config.to_owned()),
            ("server.crt", server.certificate),
            ("server.key", server.key),
            ("ca.crt", keys.authority()),
        ] {
            fs::write(path.join(name), text).unwrap();
        }
        let flag = format!("--web.config.file={}", path.join("web.yml").display());
        let arguments = [&[flag.as_str()], arguments].concat();
        let exporter = Exporter::start_in(directory, &arguments, &[]);
        let https = exporter.base.replace("http://", "https://");
        Setup { simulator, exporter, directory: path, keys, https }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
    }

    /// A client that trusts the authority, with its own connections.
    pub(super) fn client(&self, certificate: Option<&Pair>) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(self.keys.authority().as_bytes()).unwrap();
        let mut builder =
            reqwest::Client::builder().no_proxy().timeout(TIMEOUT).tls_certs_only([authority]);
        if let Some(pair) = certificate {
            let identity = reqwest::Identity::from_pem(pair.both().as_bytes()).unwrap();
            builder = builder.identity(identity);
        }
        builder.build().unwrap()
    }

    /// Reads the complete response, so that `client` can reuse the connection.
    pub(super) async fn get(
        &self,
        client: &reqwest::Client,
        path: &str,
        user: Option<(&str, &str)>,
    ) -> reqwest::Result<(StatusCode, String)> {
        let mut request = client.get(format!("{}{path}", self.https));
        if let Some((name, password)) = user {
            request = request.basic_auth(name, Some(password));
        }
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// The status of a request on a new connection; 0 without a response.
    pub(super) async fn status(
        &self,
        path: &str,
        certificate: Option<&Pair>,
        user: Option<(&str, &str)>,
    ) -> u16 {
        let response = self.get(&self.client(certificate), path, user).await;
        response.map_or(0, |(status, _)| status.as_u16())
    }

    /// The value of a series as it is written in the exposition.
    pub(super) async fn metric(&self, series: &str, user: (&str, &str)) -> Option<f64> {
        let (_, text) = self.get(&self.client(None), "/metrics", Some(user)).await.ok()?;
        let line = text.lines().find(|line| line.split(' ').next() == Some(series))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    pub(super) fn curl(&self, curl: &Path, arguments: &[&str], path: &str) -> String {
        let output = Command::new(curl)
            .args(["-sS", "--path-as-is", "--max-time", "30", "--noproxy", "*", "--cacert"])
            .arg(self.directory.join("ca.crt"))
            .args(["-o", "/dev/null", "-w", "%{http_code}"])
            .args(arguments)
            .arg(format!("{}{path}", self.https))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The output of `openssl s_client` after a handshake.
    pub(super) fn s_client(&self, openssl: &Path, arguments: &[&str]) -> String {
        let address = self.https.trim_start_matches("https://");
        let output = Command::new(openssl)
            .args(["s_client", "-connect", address])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let deadline = Instant::now() + TIMEOUT;
    while !holds().await {
        assert!(Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
