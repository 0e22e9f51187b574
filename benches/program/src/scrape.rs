//! Scrapes of the exporter and of peers that serve the same series.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    http::{self, Connection},
    usage, verify,
};

/// Between two scrapes, so that each starts on an idle machine.
pub(crate) const PAUSE: Duration = Duration::from_millis(1100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// Its name in the report.
    pub(crate) name: &'static str,
    pub(crate) query: &'static str,
    pub(crate) openmetrics: bool,
    pub(crate) encoding: &'static str,
}

impl Variant {
    pub(crate) const TEXT: Variant =
        Variant { name: "text", query: "", openmetrics: false, encoding: "identity" };
    pub(crate) const GZIP: Variant =
        Variant { name: "text, gzip", encoding: "gzip", ..Variant::TEXT };
    pub(crate) const ZSTD: Variant =
        Variant { name: "text, zstd", encoding: "zstd", ..Variant::TEXT };
    pub(crate) const OPENMETRICS: Variant =
        Variant { name: "OpenMetrics", openmetrics: true, ..Variant::TEXT };
    pub(crate) const OPENMETRICS_GZIP: Variant =
        Variant { name: "OpenMetrics, gzip", encoding: "gzip", ..Variant::OPENMETRICS };
    pub(crate) const DEVICES: Variant =
        Variant { name: "devices only, text", query: "?collect[]=device", ..Variant::TEXT };
    pub(crate) const DEVICES_GZIP: Variant =
        Variant { name: "devices only, gzip", encoding: "gzip", ..Variant::DEVICES };
    pub(crate) const NETWORK: Variant =
        Variant { name: "network only, text", query: "?collect[]=network", ..Variant::TEXT };

    pub(crate) fn path(&self) -> String {
        format!("/metrics{}", self.query)
    }

    pub(crate) fn headers(&self) -> [(&'static str, &'static str); 2] {
        let accept = if self.openmetrics {
            "application/openmetrics-text;version=1.0.0"
        } else {
            "text/plain;version=0.0.4"
        };
        [("accept", accept), ("accept-encoding", self.encoding)]
    }

    fn accepts(&self, encoding: Option<&str>) -> bool {
        encoding.unwrap_or("identity") == self.encoding
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    pub(crate) times: Spread,
    /// CPU time of the server per scrape, if available.
    pub(crate) cpu: Option<Duration>,
    /// Bytes of the encoded body.
    pub(crate) bytes: u64,
    pub(crate) series: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: Duration,
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Spread {
    pub(crate) fn new(mut times: Vec<Duration>) -> Result<Spread> {
        times.sort();
        let ([min, ..], [.., max]) = (times.as_slice(), times.as_slice()) else {
            bail!("nothing was measured");
        };
        let middle = &times[(times.len() - 1) / 2..=times.len() / 2];
        let median = middle.iter().sum::<Duration>() / if middle.len() == 2 { 2 } else { 1 };
        Ok(Spread { median, min: *min, max: *max })
    }
}

/// Scrapes and verifies the response. `None` if the server does not support the encoding.
pub(crate) async fn verified(
    server: Server,
    variant: Variant,
    expected: &[(&str, u64)],
) -> Result<Option<Verified>> {
    let (response, body) = http::fetch(server.address, &variant.path(), &variant.headers()).await?;
    ensure!(response.status == 200, "{}: status {}", variant.name, response.status);
    let encoding = response.header("content-encoding");
    if !variant.accepts(encoding) {
        return Ok(None);
    }
    let plain = verify::decode(body.clone(), encoding).context(variant.name)?;
    let counts = verify::count_samples(&plain, variant.openmetrics).context(variant.name)?;
    let included = |(name, _): &&(&str, u64)| match variant.query {
        "?collect[]=device" => name.starts_with("wickr_device_"),
        "?collect[]=network" => false,
        _ => true,
    };
    let expected: Vec<_> = expected.iter().filter(included).copied().collect();
    counts.check(&expected).context(variant.name)?;
    Ok(Some(Verified { body, series: counts.series }))
}

#[derive(Debug)]
pub(crate) struct Verified {
    /// Still encoded.
    pub(crate) body: Vec<u8>,
    pub(crate) series: u64,
}

/// Scrapes `times` times with this many concurrent clients. Each time is that of the slowest client.
/// `None` if the server does not support the encoding.
pub(crate) async fn measure(
    server: Server,
    variant: Variant,
    clients: u32,
    times: u32,
    expected: &[(&str, u64)],
) -> Result<Option<Scrape>> {
    let Some(verified) = verified(server, variant, expected).await? else { return Ok(None) };
    let (bytes, series) = (verified.body.len() as u64, verified.series);
    drop(verified);
    let before = usage::of(server.pid);
    let mut durations = Vec::new();
    for _ in 0..times {
        sleep(PAUSE).await;
        let started = Instant::now();
        let mut scrapes = JoinSet::new();
        for _ in 0..clients {
            scrapes.spawn(scrape(server, variant, bytes));
        }
        while let Some(result) = scrapes.join_next().await {
            result.context("client failed")??;
        }
        durations.push(started.elapsed());
    }
    let cpu = usage::cpu_between(before, usage::of(server.pid));
    let cpu = cpu.map(|cpu| cpu / times);
    Ok(Some(Scrape { times: Spread::new(durations)?, cpu, bytes, series }))
}

/// Scrapes and discards the body, whose size may differ slightly because idle times grow.
pub(crate) async fn scrape(server: Server, variant: Variant, bytes: u64) -> Result<()> {
    let mut connection = Connection::open(server.address).await?;
    let response = connection.get(&variant.path(), &variant.headers(), |_| ()).await?;
    ensure!(response.status == 200, "{}: status {}", variant.name, response.status);
    ensure!(
        variant.accepts(response.header("content-encoding")),
        "{}: the encoding changed",
        variant.name
    );
    ensure!(
        response.bytes.abs_diff(bytes) <= bytes / 10,
        "{}: {} bytes instead of {bytes}",
        variant.name,
        response.bytes
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_the_median() {
        let median = |millis: &[u64]| {
            let times = millis.iter().map(|millis| Duration::from_millis(*millis)).collect();
            Spread::new(times).map(|spread| spread.median.as_millis()).ok()
        };
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3]), Some(3));
        assert_eq!(median(&[9, 1, 2]), Some(2));
        assert_eq!(median(&[9, 1, 2, 4]), Some(3));
    }
}
