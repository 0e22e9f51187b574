//! Writes what collectors have read, and the families about their last runs.

use std::{collections::BTreeMap, io};

use super::{
    family::{self, FAMILIES, Family},
    network_families::{NetworkContext, NetworkFamilies},
    value::Value,
    writer::{FamilyWriter, Sink, Writer},
};
use crate::{clock::Moment, inventory::CollectorRecord};

/// The value of a family with at most one sample for each collector.
type RecordValue = fn(&CollectorRecord, Moment) -> Option<Value>;

impl NetworkFamilies<'_> {
    /// Writes the families of collectors.
    pub(super) fn collected_families<S: Sink>(&self, out: &mut Writer<'_, S>) -> io::Result<()> {
        let collected = || self.networks.iter().filter_map(|network| network.collected);
        let collectors: BTreeMap<_, _> = collected()
            .flat_map(|collected| &collected.collectors)
            .map(|(name, record)| (*name, record.families))
            .collect();
        for (name, families) in collectors {
            for family in families.iter().filter(|family| !FAMILIES.contains(family)) {
                let mut writer = out.family(family);
                for network in &self.networks {
                    self.collected_samples(network, name, family, &mut writer)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the samples of a family that collectors share with another part of the exposition.
    pub(super) fn shared_samples<S: Sink>(
        &self,
        network: &NetworkContext<'_>,
        family: &Family,
        out: &mut FamilyWriter<'_, '_, S>,
    ) -> io::Result<()> {
        let records = network.collected.into_iter().flat_map(|collected| &collected.collectors);
        for (name, _) in records.filter(|(_, record)| record.families.contains(family)) {
            self.collected_samples(network, name, family, out)?;
        }
        Ok(())
    }

    /// Writes the samples that a collector has of a family.
    fn collected_samples<S: Sink>(
        &self,
        network: &NetworkContext<'_>,
        collector: &str,
        family: &Family,
        out: &mut FamilyWriter<'_, '_, S>,
    ) -> io::Result<()> {
        let values = network.collected.and_then(|records| records.values(collector, self.now));
        let samples = values.into_iter().flat_map(|values| &values.samples);
        for sample in samples.filter(|sample| sample.family == family.name) {
            let values = sample.labels.iter().map(|value| &**value);
            let pairs: Vec<_> = family.labels[1..].iter().copied().zip(values).collect();
            out.sample(&network.labels.with(&pairs), Value::Float(sample.value))?;
        }
        Ok(())
    }

    /// Writes the families about the last runs of collectors.
    pub(super) fn collector_families<S: Sink>(&self, out: &mut Writer<'_, S>) -> io::Result<()> {
        let families: [(_, RecordValue); 3] = [
            (&family::COLLECTOR_SUCCESS, |record, _| {
                record.last_run.map(|run| run.failure.is_none().into())
            }),
            (&family::COLLECTOR_DURATION, |record, _| {
                record.last_run.map(|run| Value::Float(run.duration.as_secs_f64()))
            }),
            (&family::COLLECTOR_LAST_SUCCESS, |record, now| {
                record.last_success.as_ref().map(|last| Value::Millis(last.time(now)))
            }),
        ];
        for (family, value) in families {
            let mut family = out.family(family);
            for network in &self.networks {
                let records = network.collected.into_iter().flat_map(|c| &c.collectors);
                for (name, record) in records {
                    if let Some(value) = value(record, self.now) {
                        family.sample(&network.labels.with(&[("collector", name)]), value)?;
                    }
                }
            }
        }
        Ok(())
    }
}
