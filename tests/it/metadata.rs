//! The real addresses of the metadata of EC2, ECS and EKS, on IPv4 and IPv6, in a network namespace
//! whose loopback interface has them. Requires root.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use crate::{harness::program, identity::Identity, tools};

/// Set in the namespace, where this binary runs again.
const INSIDE: &str = "WICKR_TEST_METADATA";
const ADDRESSES: [&str; 5] =
    ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"];

#[test]
fn metadata_is_reached_at_its_addresses_without_the_proxy() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let Some(unshare) = tools::find("unshare") else { return };
    if tools::find("ip").is_none() {
        return;
    }
    let can = Command::new(&unshare).args(["--net", "true"]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        return tools::skip("this user cannot create a network namespace");
    }
    let name = "metadata::metadata_is_reached_at_its_addresses_without_the_proxy";
    let output = Command::new(unshare)
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::main]
async fn inside() {
    let ip = |arguments: &str| {
        let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip {arguments}");
    };
    ip("link set lo up");
    let mut servers = std::collections::HashMap::new();
    for address in ADDRESSES {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        ip(&format!("address add {address} dev lo{nodad}"));
        let socket = SocketAddr::new(address.parse().unwrap(), 80);
        let identity = Identity::serve(tokio::net::TcpListener::bind(socket).await.unwrap());
        identity.issue("ASIAEXAMPLE", "secret", "token", 3600);
        servers.insert(address, identity);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"https://127.0.0.1:1\"\n[poll]\n\
                max_attempts = 1\n[[network]]\nid = \"12345678\"\nusers = [\"1001\"]\n";
    std::fs::write(&file, text).unwrap();
    for (address, variable, value) in [
        ("169.254.169.254", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv4"),
        ("fd00:ec2::254", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6"),
        ("169.254.170.2", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/container"),
        ("169.254.170.23", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/container"),
        ("fd00:ec2::23", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://[fd00:ec2::23]/container"),
    ] {
        let mut command = program();
        command
            .args(["check", "--online", "--config.file"])
            .arg(&file)
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env_remove("AWS_EC2_METADATA_DISABLED")
            .env(variable, value)
            // Nothing listens there.
            .envs(["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, "127.0.0.1:2")));
        let output = tokio::process::Command::from(command).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // There are credentials: the request to Wickr fails.
        assert!(text.contains("ListDevicesForUser: TCP failed"), "{address}: {text}");
        assert!(!servers[address].requests("GET /").is_empty(), "{address}");
    }
}
