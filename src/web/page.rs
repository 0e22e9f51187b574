//! The page at `/`: what this is, how far each network is, and where to go from here.

use std::fmt::Write;

use super::TelemetryPath;
use crate::{
    clock::Millis,
    inventory::{NetworkView, Snapshot},
};

/// The page, whole.
pub(super) fn index(snapshot: &Snapshot, now: Millis, telemetry_path: &TelemetryPath) -> String {
    let mut rows = String::new();
    for network in &snapshot.networks {
        // Writing to a String cannot fail.
        let _ = row(&mut rows, network, now);
    }
    if rows.is_empty() {
        rows.push_str("<tr><td colspan=\"7\">No network is known yet.</td></tr>\n");
    }
    // The path holds nothing that HTML would need escaped.
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>wickr-exporter</title></head>
<body>
<h1>wickr-exporter</h1>
<p>A Prometheus exporter for the devices of AWS Wickr networks, version {version}.</p>
<ul>
<li><a href="{path}">Metrics</a></li>
<li><a href="/-/healthy">Health</a></li>
<li><a href="/-/ready">Readiness</a></li>
</ul>
<table>
<caption>Networks</caption>
<thead><tr><th scope="col">Id</th><th scope="col">Name</th><th scope="col">Last poll</th><th scope="col">Users fresh</th><th scope="col">stale</th><th scope="col">missing</th><th scope="col">Poll under way</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
</body>
</html>
"#,
        version = env!("CARGO_PKG_VERSION"),
        path = telemetry_path.as_str(),
    )
}

fn row(out: &mut String, network: &NetworkView, now: Millis) -> std::fmt::Result {
    let [fresh, stale, missing] = network.users_by_freshness(now);
    let last = match network.polls.last {
        None => "none has ended yet",
        Some(_) if !network.was_polled() => "before the restart",
        Some(_) if network.is_up(now) => "read every user",
        Some(_) => "did not read every user",
    };
    let under_way = match network.polls.under_way {
        Some(poll) => format!("{} of {} users", poll.done, poll.total),
        None => "none".to_owned(),
    };
    let (id, name) = (&network.identity.id, escaped(&network.identity.name));
    writeln!(
        out,
        "<tr><td>{id}</td><td>{name}</td><td>{last}</td><td>{fresh}</td><td>{stale}</td><td>{missing}</td><td>{under_way}</td></tr>"
    )
}

/// A text from outside, as HTML shows it.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inventory::{self, NetworkIdentity};

    #[test]
    fn it_says_how_far_a_network_is_and_escapes_what_comes_from_outside() {
        let (keeper, reader) = inventory::open();
        let path = "/metrics".parse().unwrap();
        assert!(index(&reader.snapshot(), 0, &path).contains("No network is known yet."));
        let mut publisher = keeper.add(
            NetworkIdentity {
                id: "12345678".parse().unwrap(),
                name: "<script>&\"'".into(),
                region: "us-east-1".into(),
                account: String::new(),
                interval: Duration::from_secs(60),
                stale_after: Duration::from_secs(180),
            },
            None,
        );
        publisher.begin(&["1".parse().unwrap(), "2".parse().unwrap()]);
        publisher.read(&"1".parse().unwrap(), vec![], 0);
        publisher.flush();
        let page = index(&reader.snapshot(), 0, &path);
        for part in [
            "&lt;script&gt;&amp;&quot;&#39;",
            "1 of 2 users",
            "none has ended yet",
            "href=\"/metrics\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("<script"));
    }
}
