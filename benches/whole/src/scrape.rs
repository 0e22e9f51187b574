//! How long a scrape takes, of the exporter and of whatever else serves the same series.

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

/// What the exporter may share between scrapes of the same second must not make it look fast:
/// scrapes that are measured alone are farther apart.
const APART: Duration = Duration::from_millis(1100);

/// One way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// What it is called in the report.
    pub(crate) name: &'static str,
    pub(crate) query: &'static str,
    pub(crate) openmetrics: bool,
    pub(crate) encoding: &'static str,
}

impl Ask {
    pub(crate) const TEXT: Ask =
        Ask { name: "text", query: "", openmetrics: false, encoding: "identity" };
    pub(crate) const GZIP: Ask = Ask { name: "text, gzip", encoding: "gzip", ..Ask::TEXT };
    pub(crate) const ZSTD: Ask = Ask { name: "text, zstd", encoding: "zstd", ..Ask::TEXT };
    pub(crate) const OPENMETRICS: Ask = Ask { name: "OpenMetrics", openmetrics: true, ..Ask::TEXT };
    pub(crate) const OPENMETRICS_GZIP: Ask =
        Ask { name: "OpenMetrics, gzip", encoding: "gzip", ..Ask::OPENMETRICS };
    pub(crate) const DEVICES: Ask =
        Ask { name: "devices only, text", query: "?collect[]=device", ..Ask::TEXT };
    pub(crate) const DEVICES_GZIP: Ask =
        Ask { name: "devices only, gzip", encoding: "gzip", ..Ask::DEVICES };
    pub(crate) const NETWORK: Ask =
        Ask { name: "network only, text", query: "?collect[]=network", ..Ask::TEXT };

    fn path(&self) -> String {
        format!("/metrics{}", self.query)
    }

    fn headers(&self) -> [(&'static str, &'static str); 2] {
        let accept = if self.openmetrics {
            "application/openmetrics-text;version=1.0.0"
        } else {
            "text/plain;version=0.0.4"
        };
        [("accept", accept), ("accept-encoding", self.encoding)]
    }

    /// The `Content-Encoding` that answers it; none is none.
    fn is_answered_with(&self, encoding: Option<&str>) -> bool {
        encoding.unwrap_or("identity") == self.encoding
    }
}

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

/// What was measured of one way of asking.
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    pub(crate) times: Spread,
    /// CPU time of the server, each; none where the system does not tell.
    pub(crate) cpu: Option<Duration>,
    /// On the wire.
    pub(crate) bytes: u64,
    pub(crate) series: u64,
}

/// Of several times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: Duration,
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

impl Spread {
    pub(crate) fn of(mut times: Vec<Duration>) -> Result<Spread> {
        times.sort();
        let ([least, ..], [.., most]) = (times.as_slice(), times.as_slice()) else {
            bail!("nothing was measured");
        };
        // Of an even number the median is between the two in the middle.
        let middle = &times[(times.len() - 1) / 2..=times.len() / 2];
        let median = middle.iter().sum::<Duration>() / if middle.len() == 2 { 2 } else { 1 };
        Ok(Spread { median, least: *least, most: *most })
    }
}

/// Asks once and keeps all, after it was found to be what it must be. None where the encoding is not
/// offered.
pub(crate) async fn checked(
    server: Server,
    ask: Ask,
    expected: &[(&str, u64)],
) -> Result<Option<Checked>> {
    let (answer, body) = http::fetch(server.address, &ask.path(), &ask.headers()).await?;
    ensure!(answer.status == 200, "{}: status {}", ask.name, answer.status);
    let encoding = answer.header("content-encoding");
    if !ask.is_answered_with(encoding) {
        return Ok(None);
    }
    let plain = verify::decoded(body.clone(), encoding).context(ask.name)?;
    let counted = verify::counted(&plain, ask.openmetrics).context(ask.name)?;
    let wanted = |(name, _): &&(&str, u64)| match ask.query {
        "?collect[]=device" => name.starts_with("wickr_device_"),
        "?collect[]=network" => false,
        _ => true,
    };
    let expected: Vec<_> = expected.iter().filter(wanted).copied().collect();
    counted.matches(&expected).context(ask.name)?;
    Ok(Some(Checked { body, series: counted.series }))
}

/// An answer that was found good.
#[derive(Debug)]
pub(crate) struct Checked {
    /// As it was sent.
    pub(crate) body: Vec<u8>,
    pub(crate) series: u64,
}

/// Scrapes `times` times, with so many clients that begin at the same moment; a time is until all
/// of them have all. None where the encoding is not offered.
pub(crate) async fn measure(
    server: Server,
    ask: Ask,
    clients: u32,
    times: u32,
    expected: &[(&str, u64)],
) -> Result<Option<Scrape>> {
    let Some(checked) = checked(server, ask, expected).await? else { return Ok(None) };
    let (bytes, series) = (checked.body.len() as u64, checked.series);
    drop(checked);
    let before = usage::of(server.pid);
    let mut took = Vec::new();
    for _ in 0..times {
        sleep(APART).await;
        let started = Instant::now();
        let mut scrapes = JoinSet::new();
        for _ in 0..clients {
            scrapes.spawn(timed(server, ask, bytes));
        }
        while let Some(ended) = scrapes.join_next().await {
            ended.context("a client")??;
        }
        took.push(started.elapsed());
    }
    let cpu = usage::cpu_between(before, usage::of(server.pid));
    let cpu = cpu.map(|cpu| cpu / times);
    Ok(Some(Scrape { times: Spread::of(took)?, cpu, bytes, series }))
}

/// One scrape, read and thrown away. Its size is about the one that was looked at: only figures that
/// grow with time differ.
async fn timed(server: Server, ask: Ask, bytes: u64) -> Result<()> {
    let mut connection = Connection::open(server.address).await?;
    let answer = connection.get(&ask.path(), &ask.headers(), |_| ()).await?;
    ensure!(answer.status == 200, "{}: status {}", ask.name, answer.status);
    ensure!(
        ask.is_answered_with(answer.header("content-encoding")),
        "{}: another encoding than before",
        ask.name
    );
    ensure!(
        answer.bytes.abs_diff(bytes) <= bytes / 10,
        "{}: {} bytes, and {bytes} before",
        ask.name,
        answer.bytes
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let median = |millis: &[u64]| {
            let times = millis.iter().map(|millis| Duration::from_millis(*millis)).collect();
            Spread::of(times).map(|spread| spread.median.as_millis()).ok()
        };
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3]), Some(3));
        assert_eq!(median(&[9, 1, 2]), Some(2));
        assert_eq!(median(&[9, 1, 2, 4]), Some(3));
    }
}
