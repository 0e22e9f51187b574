//! Metric families: names, types, labels and help texts. `exposition` and `collectors` define theirs.

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A gauge.
    Gauge,
    /// A counter. Its name ends in `_total`.
    Counter,
    /// A distribution of current values: a gaugehistogram in OpenMetrics, a histogram in the text
    /// format, which has no such type.
    GaugeHistogram,
    /// A distribution of events since the start.
    Histogram,
}

/// A part of the exposition that `collect[]` can select.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Families of each network.
    Network,
    /// Families of each user.
    User,
    /// Families of each device.
    Device,
    /// Families about the exporter itself.
    Exporter,
}

impl Group {
    /// All values.
    pub const ALL: [Group; 4] = [Group::Network, Group::User, Group::Device, Group::Exporter];

    /// The value of `collect[]`.
    pub fn as_str(self) -> &'static str {
        match self {
            Group::Network => "network",
            Group::User => "user",
            Group::Device => "device",
            Group::Exporter => "exporter",
        }
    }
}

/// One metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The name, including `_total` of a counter.
    pub name: &'static str,
    /// Its label names in order, without the `le` of a histogram.
    pub labels: &'static [&'static str],
    /// The help text, one sentence.
    pub help: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its group.
    pub group: Group,
}

/// Written by discovery with `[sso]`, or by a collector.
pub const SECURITY_GROUP_INFO: Family = Family::network_gauge(
    "wickr_security_group_info",
    &["network_id", "group_id", "group_name"],
    "Name of the security group; always 1.",
);

impl Family {
    /// A gauge of a collector, in the group `network`. Its first label is `network_id`.
    pub const fn network_gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Family {
        Family { name, labels, help, kind: Kind::Gauge, group: Group::Network }
    }
}
