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
    /// The names of its labels, in the order of the exposition; a histogram has `le` besides.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
    /// What it measures with.
    pub kind: Kind,
    /// What part it belongs to.
    pub group: Group,
}

macro_rules! families {
    ($($ident:ident: $group:ident $kind:ident $name:literal $labels:tt $help:literal;)*) => {
        $(
            #[doc = $help]
            pub(super) const $ident: Family = Family {
                name: $name,
                labels: &$labels,
                help: $help,
                kind: Kind::$kind,
                group: Group::$group,
            };
        )*

        /// All families that are worked out from the inventory, in the order of the exposition.
        pub const FAMILIES: &[Family] = &[$($ident),*];
    };
}

families! {
    UP: Network Gauge "wickr_up" ["network_id"]
        "Whether the last poll read every user of the network.";
    NETWORK_INFO: Network Gauge "wickr_network_info" ["network_id", "network_name", "region"]
        "A network and its name, always 1.";
    NETWORK_USERS: Network Gauge "wickr_network_users" ["network_id", "freshness"]
        "Users to poll: fresh (read in the last poll), stale (last known data served) or missing (no data).";
    NETWORK_DEVICES: Network Gauge "wickr_network_devices" ["network_id", "device_type"]
        "Devices of the network's users.";
    NETWORK_DEVICES_SUSPENDED: Network Gauge "wickr_network_devices_suspended" ["network_id", "device_type"]
        "Devices that are suspended.";
    NETWORK_DEVICES_RESET: Network Gauge "wickr_network_devices_reset" ["network_id", "device_type"]
        "Devices that are marked for reset.";
    NETWORK_DEVICES_NEVER_LOGGED_IN: Network Gauge "wickr_network_devices_never_logged_in" ["network_id", "device_type"]
        "Devices on which nobody ever logged in.";
    NETWORK_DEVICE_IDLE_SECONDS: Network GaugeHistogram "wickr_network_device_idle_seconds" ["network_id", "device_type"]
        "Devices by the time since their last login; those without one are not in it.";
    NETWORK_DEVICES_SSO_EXPIRED: Network Gauge "wickr_network_devices_sso_expired" ["network_id", "device_type"]
        "Devices that have been idle for longer than SSO sessions of their user may be.";
    SECURITY_GROUP_INFO: Network Gauge "wickr_security_group_info" ["network_id", "group_id", "group_name"]
        "A security group and its name, always 1.";
    SECURITY_GROUP_SSO_MAX_IDLE: Network Gauge "wickr_security_group_sso_max_idle_seconds" ["network_id", "group_id"]
        "After how long an idle SSO session of the group's users ends; absent where the group sets no limit.";
    USER_UP: User Gauge "wickr_user_up" ["network_id", "user_id"]
        "Whether the last poll read this user.";
    USER_LAST_POLL: User Gauge "wickr_user_last_poll_timestamp_seconds" ["network_id", "user_id"]
        "When the user's data was read.";
    USER_INFO: User Gauge "wickr_user_info" ["network_id", "user_id", "username", "status"]
        "What discovery told of a user, always 1; the username only where it is switched on.";
    USER_SSO_MAX_IDLE: User Gauge "wickr_user_sso_max_idle_seconds" ["network_id", "user_id"]
        "After how long an idle SSO session of the user ends: the least of its groups' limits.";
    USER_DEVICES: User Gauge "wickr_user_devices" ["network_id", "user_id", "device_type"]
        "Devices of the user.";
    USER_DEVICES_SUSPENDED: User Gauge "wickr_user_devices_suspended" ["network_id", "user_id", "device_type"]
        "Devices of the user that are suspended.";
    USER_LAST_LOGIN: User Gauge "wickr_user_last_login_timestamp_seconds" ["network_id", "user_id"]
        "The newest last login of the user's devices.";
    USER_IDLE: User Gauge "wickr_user_idle_seconds" ["network_id", "user_id"]
        "Time since the user's newest last login.";
    DEVICE_INFO: Device Gauge "wickr_device_info" ["network_id", "user_id", "app_id", "device_type", "status"]
        "A device and its status, always 1.";
    DEVICE_SUSPENDED: Device Gauge "wickr_device_suspended" ["network_id", "user_id", "app_id", "device_type"]
        "Whether the device is suspended.";
    DEVICE_CREATED: Device Gauge "wickr_device_created_timestamp_seconds" ["network_id", "user_id", "app_id", "device_type"]
        "When the device was added.";
    DEVICE_LAST_LOGIN: Device Gauge "wickr_device_last_login_timestamp_seconds" ["network_id", "user_id", "app_id", "device_type"]
        "When the user last logged in on the device; absent if never.";
    DEVICE_IDLE: Device Gauge "wickr_device_idle_seconds" ["network_id", "user_id", "app_id", "device_type"]
        "Time since the last login on the device, which is what Wickr calls its SSO idle time; absent if never.";
    POLLS: Exporter Counter "wickr_exporter_polls_total" ["network_id", "result"]
        "Polls that ended: success (every user read), partial (some) or failure (none).";
    POLL_DURATION: Exporter Gauge "wickr_exporter_poll_duration_seconds" ["network_id"]
        "Duration of the last poll of all users.";
    POLL_PROGRESS: Exporter Gauge "wickr_exporter_poll_progress_ratio" ["network_id"]
        "Users done of users to do in the poll under way; 1 between polls.";
    POLL_OVERRUNS: Exporter Counter "wickr_exporter_poll_overruns_total" ["network_id"]
        "Polls that outlasted the interval.";
    LAST_POLL: Exporter Gauge "wickr_exporter_last_poll_timestamp_seconds" ["network_id"]
        "When the last poll ended.";
    LAST_SUCCESS: Exporter Gauge "wickr_exporter_last_success_timestamp_seconds" ["network_id"]
        "When the last poll ended that read every user.";
    USER_FAILURES: Exporter Gauge "wickr_exporter_user_failures" ["network_id", "reason"]
        "Users whose last poll failed, by reason.";
    INVALID_TIMESTAMPS: Exporter Gauge "wickr_exporter_invalid_timestamps" ["network_id", "field"]
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
