//! From the inventory to text.
//!
//! [`Exposition::render`] works out every family from one snapshot at one moment and streams it
//! into a sink; nothing is held but a chunk, or what a block of users comes to in one family. What has vanished from the inventory has vanished from
//! the text. `fleet` writes what is known, with `columns` for what there is of each user and device,
//! and `registry` what the exporter counts of itself, all through `writer`, which alone knows the two
//! formats. `packing` compresses, and `kept` has what need not be compressed again. `family` has the
//! names.

mod cache;
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

use crate::{clock::Millis, inventory::Snapshot};
use network_families::NetworkFamilies;
use writer::Writer;

/// All that one exposition is made of.
#[derive(Debug)]
pub struct Exposition<'a> {
    /// What is known.
    pub snapshot: &'a Snapshot,
    /// When it is told.
    pub now: Millis,
    /// Bounds of the idle histogram, ascending.
    pub idle_buckets: &'a [Duration],
    /// Whether usernames, which are email addresses, are told.
    pub usernames: bool,
    /// What the exporter counts of itself, sorted by name.
    pub own: &'a [MetricFamily],
    /// What is wanted, ascending.
    pub groups: &'a [Group],
}

impl Exposition<'_> {
    /// Writes it all into a sink, packed with the help of what was kept from former ones.
    ///
    /// # Errors
    ///
    /// The sink's, or the compressor's.
    pub fn render(
        &self,
        format: Format,
        encoding: Encoding,
        kept: &CompressionCache,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        kept.sweep(self.snapshot, self.now);
        let mut writer = Writer::new(format, encoding, kept, self.now, sink)?;
        let fleet =
            NetworkFamilies::new(self.snapshot, self.now, self.idle_buckets, self.usernames);
        for group in self.groups {
            fleet.write(*group, &mut writer)?;
            if *group == Group::Exporter {
                registry::write(self.own, &mut writer)?;
            }
        }
        writer.finish()
    }

    /// Writes it all as text, at once.
    ///
    /// # Errors
    ///
    /// None that anybody has seen.
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
