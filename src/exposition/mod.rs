//! Renders a snapshot of the inventory as text.
//!
//! `family` names the metrics. `network_families` computes them, `columns` those of each user or
//! device, `collected` those of collectors, and `registry` renders the exporter's own. `writer` alone
//! knows the two formats. `compression` compresses chunks, and `cache` stores them between scrapes. At
//! most one chunk, or the lines of one block in one family, is in memory at a time.

mod cache;
mod collected;
mod columns;
mod compression;
mod family;
mod negotiation;
mod network_families;
mod registry;
mod value;
mod writer;

use std::{io, time::Duration};

use prometheus::proto::MetricFamily;

pub use cache::CompressionCache;
pub use compression::Encoding;
pub use family::{FAMILIES, Family, Group, Kind};
pub use negotiation::{encoding_for, format_for};
pub use writer::{Format, Sink};

use crate::{clock::Moment, collectors, inventory::Snapshot};
use network_families::NetworkFamilies;
use writer::Writer;

/// All families that come from the inventory, with those of collectors, in the order of the exposition.
pub fn families() -> impl Iterator<Item = &'static Family> {
    Group::ALL.into_iter().flat_map(|group| {
        FAMILIES.iter().chain(collectors::families()).filter(move |family| family.group == group)
    })
}

/// The input of one exposition.
#[derive(Debug)]
pub struct Exposition<'a> {
    /// The inventory.
    pub snapshot: &'a Snapshot,
    /// The time for which ages are computed.
    pub now: Moment,
    /// Bounds of the idle histogram, ascending.
    pub idle_buckets: &'a [Duration],
    /// Times until the end of SSO sessions, ascending.
    pub sso_horizons: &'a [Duration],
    /// Whether usernames, which are email addresses, are exposed.
    pub usernames: bool,
    /// The exporter's own metrics, sorted by name.
    pub exporter_metrics: &'a [MetricFamily],
    /// The groups to render, ascending.
    pub groups: &'a [Group],
}

impl Exposition<'_> {
    /// Renders into a sink, with cached chunks where the encoding compresses.
    ///
    /// # Errors
    ///
    /// Errors of the sink or the compressor.
    pub fn render(
        &self,
        format: Format,
        encoding: Encoding,
        cache: &CompressionCache,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        cache.evict(self.snapshot, self.now.time);
        let mut writer = Writer::new(format, encoding, cache, sink)?;
        let families = self.families();
        for group in self.groups {
            families.write(*group, &mut writer)?;
            if *group == Group::Exporter {
                registry::write(self.exporter_metrics, &mut writer)?;
            }
        }
        writer.finish()
    }

    /// Compresses what scrapes of the last minutes have requested and polls have changed since, for the
    /// next scrape. Calls `pause` after each block; its error ends the work.
    ///
    /// # Errors
    ///
    /// Those of `pause` or the compressor.
    pub fn recompress(
        &self,
        cache: &CompressionCache,
        mut pause: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        cache.evict(self.snapshot, self.now.time);
        if cache.requests(self.now.time).is_empty() {
            return Ok(());
        }
        let families = self.families();
        families.recompress(Encoding::Gzip, cache, &mut pause)?;
        families.recompress(Encoding::Zstd, cache, &mut pause)
    }

    fn families(&self) -> NetworkFamilies<'_> {
        NetworkFamilies::new(
            self.snapshot,
            self.now,
            self.idle_buckets,
            self.sso_horizons,
            self.usernames,
        )
    }

    /// Renders into memory, without compression.
    ///
    /// # Errors
    ///
    /// Infallible in practice.
    pub fn text(&self, format: Format) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.render(format, Encoding::Identity, &CompressionCache::default(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
