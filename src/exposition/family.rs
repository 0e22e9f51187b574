//! The metric families that are worked out from the inventory: their names, types and meanings.
//!
//! [`FAMILIES`] is the whole list, in the order of the exposition. Those that count what the
//! exporter does, rather than what it knows, are with [`crate::telemetry`].

/// What a family measures with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A value that only goes up while the process lives. Its name ends in `_total`.
    Counter,
    /// A distribution of what is there now: OpenMetrics' gaugehistogram, and a histogram in the
    /// text format, which has no such type.
    GaugeHistogram,
    /// A distribution of what has happened since the start.
    Histogram,
}

/// What part of the exposition a family belongs to: what `collect[]` chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// A handful for each network.
    Network,
    /// A handful for each user.
    User,
    /// A handful for each device.
    Device,
    /// The exporter's own doings and its process.
    Exporter,
}

impl Group {
    /// All of them.
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
    /// The name, with `_total` if it is a counter.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What it measures with.
    pub kind: Kind,
    /// What part it belongs to.
    pub group: Group,
}

macro_rules! families {
    ($($ident:ident: $group:ident $kind:ident $name:literal $help:literal;)*) => {
        $(
            #[doc = $help]
            pub(super) const $ident: Family =
                Family { name: $name, help: $help, kind: Kind::$kind, group: Group::$group };
        )*

        /// All families that are worked out from the inventory, in the order of the exposition.
        pub const FAMILIES: &[Family] = &[$($ident),*];
    };
}

families! {
    UP: Network Gauge "wickr_up"
        "Whether the last poll read every user of the network.";
    NETWORK_INFO: Network Gauge "wickr_network_info"
        "A network and its name, always 1.";
    NETWORK_USERS: Network Gauge "wickr_network_users"
        "Users to poll: fresh (read in the last poll), stale (last known data served) or missing (no data).";
    NETWORK_DEVICES: Network Gauge "wickr_network_devices"
        "Devices of the network's users.";
    NETWORK_DEVICES_SUSPENDED: Network Gauge "wickr_network_devices_suspended"
        "Devices that are suspended.";
    NETWORK_DEVICES_RESET: Network Gauge "wickr_network_devices_reset"
        "Devices that are marked for reset.";
    NETWORK_DEVICES_NEVER_LOGGED_IN: Network Gauge "wickr_network_devices_never_logged_in"
        "Devices on which nobody ever logged in.";
    NETWORK_DEVICE_IDLE_SECONDS: Network GaugeHistogram "wickr_network_device_idle_seconds"
        "Devices by the time since their last login; those without one are not in it.";
    NETWORK_DEVICES_SSO_EXPIRED: Network Gauge "wickr_network_devices_sso_expired"
        "Devices that have been idle for longer than SSO sessions of their user may be.";
    SECURITY_GROUP_INFO: Network Gauge "wickr_security_group_info"
        "A security group and its name, always 1.";
    SECURITY_GROUP_SSO_MAX_IDLE: Network Gauge "wickr_security_group_sso_max_idle_seconds"
        "After how long an idle SSO session of the group's users ends; absent where the group sets no limit.";
    USER_UP: User Gauge "wickr_user_up"
        "Whether the last poll read this user.";
    USER_LAST_POLL: User Gauge "wickr_user_last_poll_timestamp_seconds"
        "When the user's data was read.";
    USER_INFO: User Gauge "wickr_user_info"
        "What discovery told of a user, always 1; the username only where it is switched on.";
    USER_SSO_MAX_IDLE: User Gauge "wickr_user_sso_max_idle_seconds"
        "After how long an idle SSO session of the user ends: the least of its groups' limits.";
    USER_DEVICES: User Gauge "wickr_user_devices"
        "Devices of the user.";
    USER_DEVICES_SUSPENDED: User Gauge "wickr_user_devices_suspended"
        "Devices of the user that are suspended.";
    USER_LAST_LOGIN: User Gauge "wickr_user_last_login_timestamp_seconds"
        "The newest last login of the user's devices.";
    USER_IDLE: User Gauge "wickr_user_idle_seconds"
        "Time since the user's newest last login.";
    DEVICE_INFO: Device Gauge "wickr_device_info"
        "A device and its status, always 1.";
    DEVICE_SUSPENDED: Device Gauge "wickr_device_suspended"
        "Whether the device is suspended.";
    DEVICE_CREATED: Device Gauge "wickr_device_created_timestamp_seconds"
        "When the device was added.";
    DEVICE_LAST_LOGIN: Device Gauge "wickr_device_last_login_timestamp_seconds"
        "When the user last logged in on the device; absent if never.";
    DEVICE_IDLE: Device Gauge "wickr_device_idle_seconds"
        "Time since the last login on the device, which is what Wickr calls its SSO idle time; absent if never.";
    POLLS: Exporter Counter "wickr_exporter_polls_total"
        "Polls that ended: success (every user read), partial (some) or failure (none).";
    POLL_DURATION: Exporter Gauge "wickr_exporter_poll_duration_seconds"
        "How long the last poll took.";
    POLL_PROGRESS: Exporter Gauge "wickr_exporter_poll_progress_ratio"
        "Users done of users to do in the poll under way; 1 between polls.";
    POLL_OVERRUNS: Exporter Counter "wickr_exporter_poll_overruns_total"
        "Polls that outlasted the interval.";
    LAST_POLL: Exporter Gauge "wickr_exporter_last_poll_timestamp_seconds"
        "When the last poll ended.";
    LAST_SUCCESS: Exporter Gauge "wickr_exporter_last_success_timestamp_seconds"
        "When the last poll ended that read every user.";
    USER_FAILURES: Exporter Gauge "wickr_exporter_user_failures"
        "Users whose last poll failed, by reason.";
    INVALID_TIMESTAMPS: Exporter Gauge "wickr_exporter_invalid_timestamps"
        "Devices with a time that cannot be read, by the field that holds it.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus_conventions() {
        for family in FAMILIES {
            let name = family.name;
            assert!(name.starts_with("wickr_"), "{name}");
            assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
            assert!(
                family.help.ends_with('.') && !family.help.contains(['\n', '\\', '"']),
                "{name}"
            );
            assert_eq!(
                name.starts_with("wickr_exporter_"),
                family.group == Group::Exporter,
                "{name}"
            );
            assert_eq!(FAMILIES.iter().filter(|other| other.name == name).count(), 1, "{name}");
        }
    }
}
