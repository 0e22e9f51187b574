//! `--web.external-url` and `--web.route-prefix`, behind nginx.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use reqwest::{StatusCode, header};
use tempfile::TempDir;

use crate::{
    harness::{Exporter, http, serving},
    pages::{SLOW, everything, fleet},
    tools,
};

/// An nginx that serves the exporter below `/tools/wickr/`. Dropping it ends it.
struct Nginx {
    child: Child,
    base: String,
    _folder: TempDir,
}

impl Nginx {
    /// `upstream` ends with a slash if nginx removes `/tools/wickr`.
    async fn start(program: &Path, port: u16, upstream: &str) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {path}/{name}; "))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
             events {{}}\nhttp {{ access_log off; {temporary}\n\
             server {{ listen 127.0.0.1:{port};\n\
             location /tools/wickr/ {{ proxy_pass {upstream}; proxy_set_header Host $http_host; }} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let child = Command::new(program).arg("-c").arg(&file).stderr(Stdio::null()).spawn();
        let base = format!("http://127.0.0.1:{port}");
        let nginx = Nginx { child: child.unwrap(), base, _folder: folder };
        for _ in 0..200 {
            if http().get(&nginx.base).send().await.is_ok() {
                return nginx;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("nginx does not respond");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The targets of links and forms on a page.
fn links(page: &str) -> BTreeSet<String> {
    let attributes = ["href=\"", "action=\""]
        .into_iter()
        .flat_map(|name| page.split(name).skip(1).filter_map(|rest| rest.split('"').next()));
    attributes
        .filter(|link| !link.starts_with('#') && !link.contains("://"))
        .map(|link| link.replace("&amp;", "&").replace("&#38;", "&"))
        .collect()
}

/// Every link on every page leads to a page below the prefix, whether nginx removes the prefix or not.
#[tokio::test]
async fn pages_work_below_a_prefix_behind_nginx() {
    let Some(program) = tools::find("nginx") else { return };
    let simulator = serving(fleet()).await;
    let config = everything(&simulator, SLOW, "");
    for (prefix, upstream_path) in [(None, ""), (Some("--web.route-prefix=/"), "/")] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/tools/wickr");
        let external = format!("--web.external-url={url}/");
        let arguments: Vec<_> = std::iter::once(external.as_str()).chain(prefix).collect();
        let exporter = Exporter::start_with(&config, &arguments, &[]);
        let nginx = Nginx::start(&program, port, &(exporter.base.clone() + upstream_path)).await;
        let get = |path: String| http().get(format!("{}{path}", nginx.base)).send();
        let metrics = loop {
            let response = get("/tools/wickr/metrics".into()).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let text = response.text().await.unwrap();
            if text.contains("wickr_up{network_id=\"12345678\"} 1") {
                break text;
            }
        };
        let info = format!("wickr_exporter_info{{external_url=\"{url}\"}} 1");
        assert!(metrics.lines().any(|line| line == info), "{info}");
        let (mut seen, mut open) = (BTreeSet::new(), vec!["/tools/wickr/".to_owned()]);
        while let Some(link) = open.pop() {
            assert!(link.starts_with("/tools/wickr/"), "{link}");
            let response = get(link.clone()).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{link}");
            let is_page =
                response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/html");
            let found =
                if is_page { links(&response.text().await.unwrap()) } else { BTreeSet::new() };
            // Lists with other filters have the same links.
            let is_list = link.contains("/devices?");
            open.extend(found.into_iter().filter(|new| !is_list && seen.insert(new.clone())));
        }
        assert!(seen.len() > 20, "{seen:?}");
        // The form's empty fields lead to a redirect.
        let response = get("/tools/wickr/devices?idle_over=30d&user_id=".into()).await.unwrap();
        assert_eq!(response.url().as_str(), format!("{url}/devices?idle_over=30d"));
    }
}

#[tokio::test]
async fn paths_outside_the_prefix_are_redirected_or_not_found() {
    let simulator = serving(fleet()).await;
    let config = everything(&simulator, SLOW, "");
    let exporter = Exporter::start_with(&config, &["--web.route-prefix=/a/b/"], &[]);
    for (path, target) in [("/", "/a/b/"), ("/a/b", "/a/b/"), ("/a/b/-/healthy", "/a/b/-/healthy")]
    {
        let response = exporter.get(path).await;
        assert_eq!((response.status(), response.url().path()), (StatusCode::OK, target), "{path}");
    }
    for path in ["/metrics", "/-/healthy", "/-/ready", "/a", "/a/bc", "/devices"] {
        assert_eq!(exporter.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    // A proxy adds /b to the path, and people reach it below /x.
    let external = ["--web.route-prefix=/b", "--web.external-url=https://example.org/x/b"];
    let proxied = Exporter::start_with(&config, &external, &[]);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    let response = client.build().unwrap().get(&proxied.base).send().await.unwrap();
    assert_eq!(response.headers()[header::LOCATION], "/x/b/");
    let text = exporter.text("/a/b/metrics").await;
    assert!(!text.contains("wickr_exporter_info{"), "{text}");
}

#[tokio::test]
async fn pages_with_a_slash_at_the_end_redirect_to_the_page() {
    let simulator = serving(fleet()).await;
    let config = everything(&simulator, SLOW, "");
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    let client = client.build().unwrap();
    let external = ["--web.route-prefix=/b", "--web.external-url=https://example.org/x/b"];
    for (arguments, routes, links) in
        [(&["--web.telemetry-path=/"][..], "", ""), (&external, "/b", "/x/b")]
    {
        let exporter = Exporter::start_with(&config, arguments, &[]);
        let get = async |path: &str| {
            client.get(format!("{}{routes}{path}", exporter.base)).send().await.unwrap()
        };
        let pages = ["/docs", "/docs/runbooks", "/devices", "/devices?idle_over=30d&user_id=1"];
        for page in pages.into_iter().chain(routes.is_empty().then_some("/status")) {
            let (path, query) = page.split_once('?').unwrap_or((page, ""));
            let separator = if query.is_empty() { "" } else { "?" };
            let response = get(&format!("{path}/{separator}{query}")).await;
            assert_eq!(response.status(), StatusCode::SEE_OTHER, "{page}");
            assert_eq!(response.headers()[header::LOCATION], format!("{links}{page}"));
            assert_eq!(get(page).await.status(), StatusCode::OK, "{page}");
        }
        for path in ["/docs//", "/docs/nothing/", "//example.org/", "/api/v1/status/"] {
            assert_eq!(get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
