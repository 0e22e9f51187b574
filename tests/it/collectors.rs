//! Collectors, from the configuration to the exposition.

use wickr_exporter::simulator::{Fault, Fleet, Network, Operation, Simulator, network, user};

use crate::harness::{Exporter, FAST, config, serving};

const NETWORK: &str = "12345678";

/// A configuration that runs these collectors every second.
fn collecting(simulator: &Simulator, enable: &[&str]) -> String {
    let config = config(&simulator.endpoint(), FAST, NETWORK, &["1"]);
    format!("[collectors]\nenable = {enable:?}\ninterval = \"2s\"\n{config}")
}

fn small() -> Network {
    network(NETWORK).user(user("1")).user(user("2").pending("INVITE-SECRET"))
}

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

const SUCCESS: &str = "wickr_exporter_collector_success";

#[tokio::test(flavor = "multi_thread")]
async fn counts_accounts_and_keeps_them_for_three_intervals_when_refused() {
    let simulator = serving(Fleet::new().network(small())).await;
    let exporter = Exporter::start(&collecting(&simulator, &["accounts"]));
    let samples = exporter.wait_for("accounts", |s| s.has("wickr_network_accounts")).await;
    let accounts = |status| samples.get("wickr_network_accounts", &[("status", status)]);
    assert_eq!(["pending", "active", "rejected"].map(accounts), [Some(1.0), Some(1.0), Some(0.0)]);
    assert_eq!(samples.get("wickr_network_accounts_remaining", &[]), Some(28.0));
    assert_eq!(samples.get(SUCCESS, &[("collector", "accounts")]), Some(1.0));
    simulator.faults().add(fault("forbidden,op=GetUsersCount"));
    let samples = exporter.wait_for("a failure", |s| s.get(SUCCESS, &[]) == Some(0.0)).await;
    assert_eq!(samples.sum("wickr_network_accounts"), 2.0, "the last values stay");
    let samples = exporter.wait_for("expiry", |s| !s.has("wickr_network_accounts")).await;
    let last = samples.get("wickr_exporter_collector_last_success_timestamp_seconds", &[]);
    assert!(last.is_some(), "{samples:?}");
    let samples = exporter.next_poll().await;
    assert_eq!(samples.get("wickr_up", &[]), Some(1.0), "polls do not depend on collectors");
    let log = exporter.log();
    assert_eq!(log.matches("action=wickr:GetUsersCount").count(), 1, "{log}");
    assert!(simulator.requests().count(Operation::GetUsersCount) > 3);
    simulator.faults().clear();
    exporter.wait_for("recovery", |s| s.sum("wickr_network_accounts") == 2.0).await;
}
