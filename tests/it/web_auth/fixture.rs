//! An exporter behind doors, and clients of it.

use super::*;
pub(super) const NETWORK: &str = "12345678";
pub(super) const TLS: &str =
    "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

pub(super) async fn small() -> Simulator {
    let user = user("1001").device(device("a").kind("iOS"));
    serving(Fleet::new().network(network(NETWORK).user(user))).await
}

/// A hash as `htpasswd` makes it, cheap.
pub(super) fn hash(password: &str) -> String {
    bcrypt::hash(password, 5).unwrap().replacen("$2b$", "$2y$", 1)
}

pub(super) fn users(users: &[(&str, &str)]) -> String {
    let lines = users.iter().map(|(name, password)| format!("  {name}: {}\n", hash(password)));
    format!("basic_auth_users:\n{}", lines.collect::<String>())
}

/// An exporter with a web configuration, and the files that it names.
pub(super) struct House {
    pub(super) simulator: Simulator,
    pub(super) exporter: Exporter,
    pub(super) folder: PathBuf,
    pub(super) keys: Keys,
    pub(super) https: String,
}

impl House {
    pub(super) async fn new(web_config: &str) -> House {
        House::with(web_config, &[]).await
    }

    pub(super) async fn with(web_config: &str, arguments: &[&str]) -> House {
        let (simulator, folder) = (small().await, tempfile::tempdir().unwrap());
        let keys = Keys::generate();
        let path = folder.path().to_owned();
        keys.write_as_deployed(&path);
        let server = keys.server();
        let files = [
            ("config.toml", config(&simulator.endpoint(), FAST, NETWORK, &["1001"])),
            ("web.yml", web_config.to_owned()),
            ("server.crt", server.certificate),
            ("server.key", server.key),
            ("ca.crt", keys.authority()),
        ];
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
        let flag = format!("--web.config.file={}", path.join("web.yml").display());
        let arguments = [&[flag.as_str()], arguments].concat();
        let exporter = Exporter::start_in(folder, &arguments, &[]);
        let https = exporter.base.replace("http://", "https://");
        House { simulator, exporter, folder: path, keys, https }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// A client that trusts the authority and may have a certificate. Each connects anew.
    pub(super) fn client(&self, pair: Option<&Pair>) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(self.keys.authority().as_bytes()).unwrap();
        let mut builder =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only([authority]);
        if let Some(pair) = pair {
            let identity = reqwest::Identity::from_pem(pair.both().as_bytes()).unwrap();
            builder = builder.identity(identity);
        }
        builder.build().unwrap()
    }

    /// The status of a request by a client of its own; none if there was no answer.
    pub(super) async fn status(
        &self,
        path: &str,
        pair: Option<&Pair>,
        user: Option<(&str, &str)>,
    ) -> u16 {
        let mut request = self.client(pair).get(format!("{}{path}", self.https));
        if let Some((name, password)) = user {
            request = request.basic_auth(name, Some(password));
        }
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// A metric without labels, read with a name and a password.
    pub(super) async fn metric(&self, name: &str, user: (&str, &str)) -> Option<f64> {
        let request = self.client(None).get(format!("{}/metrics", self.https));
        let answer = request.basic_auth(user.0, Some(user.1)).send().await.ok()?;
        let text = answer.text().await.ok()?;
        let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    pub(super) fn curl(&self, curl: &Path, arguments: &[&str], path: &str) -> String {
        let output = Command::new(curl)
            .args(["-sS", "--path-as-is", "--max-time", "30", "--noproxy", "*", "--cacert"])
            .arg(self.folder.join("ca.crt"))
            .args(["-o", "/dev/null", "-w", "%{http_code}"])
            .args(arguments)
            .arg(format!("{}{path}", self.https))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Waits until it comes true.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) const ALICE: (&str, &str) = ("alice", "wonderland");

/// What `openssl s_client` says of a handshake.
pub(super) fn s_client(openssl: &Path, house: &House, arguments: &[&str]) -> String {
    let address = house.https.trim_start_matches("https://");
    let output = Command::new(openssl)
        .args(["s_client", "-connect", address])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
