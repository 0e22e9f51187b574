//! Exporters and a Prometheus for tests of queries. Each family has samples: two networks, two
//! shards, SSO limits, collectors, usernames, a state file, throttling, failed lookups, a user with
//! errors and an invalid timestamp.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use wickr_exporter::simulator::{Fault, Options, Simulator, user};

use crate::{
    harness::{Exporter, simulator},
    prometheus::Prometheus,
};

/// The external URL of the second exporter.
pub const EXTERNAL_URL: &str = "https://example.com/wickr";

pub struct Stage {
    pub prometheus: Prometheus,
    _exporters: [Exporter; 2],
    _simulator: Simulator,
    _states: TempDir,
}

impl Stage {
    /// Starts all with this level of detail, and waits until Prometheus has the errors.
    pub async fn start(program: &Path, detail: &str) -> Stage {
        let simulator = simulator(Options { networks: 2, users: 40, ..Options::default() }).await;
        let odd = json!({"appId": "odd", "type": "iOS", "lastLogin": "some day"});
        simulator.change_fleet(|fleet| {
            fleet.get_mut("12345678").unwrap().add_user(user("999999").device_raw(odd));
        });
        let states = tempfile::tempdir().unwrap();
        let exporters = [0, 1].map(|shard| {
            let state = states.path().join(shard.to_string());
            let config = format!(
                "[aws]\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\n\
                 [poll]\ninterval = \"1s\"\nstale_after = \"10m\"\nrequests_per_second = 500\nmax_attempts = 2\n\
                 [discovery]\ninterval = \"1s\"\n\
                 [metrics]\nusername = true\ndetail = \"{detail}\"\n\
                 [sso]\nmax_idle = \"security-groups\"\n\
                 [collectors]\nenable = [\"accounts\", \"bots\", \"data-retention\", \"guests\", \"network\", \
                 \"security-groups\", \"sso\"]\n\
                 [state]\npath = \"{}\"\n\
                 [shard]\nindex = {shard}\ntotal = 2\n\
                 [[network]]\nid = \"all\"\nusers = \"all\"\n",
                simulator.endpoint(),
                state.display(),
            );
            let external = format!("--web.external-url={EXTERNAL_URL}");
            let arguments = [external.as_str(), "--web.route-prefix=/"];
            Exporter::start_with(&config, if shard == 1 { &arguments } else { &[] }, &[])
        });
        for exporter in &exporters {
            exporter.wait_for("a poll of each network", |s| s.sum("wickr_up") == 2.0).await;
        }
        for fault in ["500,user=1001", "429,user=1002", "500,op=ListNetworks,p=0.7"] {
            simulator.faults().add(fault.parse::<Fault>().unwrap());
        }
        let addresses = exporters.each_ref().map(|e| e.base.trim_start_matches("http://"));
        let prometheus = Prometheus::scraping(program, &addresses).await;
        prometheus.wait_for("wickr_exporter_user_failures{reason=\"rate_limited\"} > 0").await;
        prometheus.wait_for("wickr_exporter_discovery_failures_total > 1").await;
        Stage { prometheus, _exporters: exporters, _simulator: simulator, _states: states }
    }
}
