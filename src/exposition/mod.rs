//! From the inventory to text.
//!
//! [`Exposition::render`] works out every family from one snapshot at one moment and streams it
//! into a sink; nothing is held but a chunk. What has vanished from the inventory has vanished from
//! the text. `fleet` writes what is known, `registry` what the exporter counts of itself, both
//! through `writer`, which alone knows the two formats. `family` has the names.

mod family;
mod fleet;
mod negotiation;
mod registry;
mod writer;

use std::{
    io::{self, Write},
    time::Duration,
};

use prometheus::proto::MetricFamily;

pub use family::{FAMILIES, Family, Group, Kind};
pub use negotiation::{accepts_gzip, format_for};
pub use writer::Format;

use crate::{clock::Millis, inventory::Snapshot};
use fleet::Fleet;
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
    /// Writes it all and gives back the sink.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn render<W: Write>(&self, format: Format, sink: W) -> io::Result<W> {
        let mut writer = Writer::new(format, sink);
        let fleet = Fleet::new(self.snapshot, self.now, self.idle_buckets, self.usernames);
        for group in self.groups {
            fleet.write(*group, &mut writer)?;
            if *group == Group::Exporter {
                registry::write(self.own, &mut writer)?;
            }
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests;
