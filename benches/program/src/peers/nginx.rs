//! nginx serving the exporter's responses as static files, as the limit of what is possible.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{net::TcpStream, process::Command, time::sleep};

use super::ServingPeer;
use crate::{children::Child, scrape::Server};

const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join("nginx")).find(|file| file.is_file())
}

/// Serves an exposition as `/metrics`, plain and with gzip.
pub(crate) async fn serve(program: &Path, plain: &[u8], gzip: &[u8]) -> Result<ServingPeer> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("html"))?;
    fs::write(at("html/metrics"), plain)?;
    fs::write(at("html/metrics.gz"), gzip)?;
    // nginx does not report the port if it is 0.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    fs::write(at("nginx.conf"), configuration(folder.path(), address))?;
    let mut command = Command::new(program);
    command.arg("-e").arg("stderr").arg("-c").arg(at("nginx.conf")).arg("-p").arg(folder.path());
    let child = Child::start("nginx", command)?;
    let deadline = Instant::now() + TIMEOUT;
    while TcpStream::connect(address).await.is_err() {
        ensure!(Instant::now() < deadline, child.error("is not listening"));
        sleep(Duration::from_millis(20)).await;
    }
    let server = Server { address, pid: child.pid };
    Ok(ServingPeer { child, server, _folder: Some(folder) })
}

/// A single process, to measure its CPU time and memory.
fn configuration(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\nerror_log stderr;\npid {folder}/nginx.pid;\n\
         events {{ }}\n\
         http {{\n{temporary}    access_log off;\n    sendfile on;\n    tcp_nopush on;\n\
         \x20   gzip_static on;\n    default_type \"text/plain; version=0.0.4; charset=utf-8\";\n\
         \x20   server {{\n        listen {address};\n        root {folder}/html;\n    }}\n}}\n"
    )
}
