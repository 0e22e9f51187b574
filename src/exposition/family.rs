//! The names, types, labels and help texts of the metric families that come from the inventory.
//! [`crate::telemetry`] has the exporter's own.

pub use crate::family::{Family, Group, Kind};

macro_rules! families {
    ($(
        $ident:ident:
        $($group:ident $kind:ident $name:literal $labels:tt $help:literal)?
        $(= $shared:path)?;
    )*) => {
        $(
            $(#[doc = $help])?
            pub(super) const $ident: Family = $(Family {
                name: $name,
                labels: &$labels,
                help: $help,
                kind: Kind::$kind,
                group: Group::$group,
            })? $($shared)?;
        )*

        /// All families that come from the inventory, in the order of the exposition.
        pub const FAMILIES: &[Family] = &[$($ident),*];
    };
}

families! {
    UP: Network Gauge "wickr_up" ["network_id"]
        "Whether the last poll read every user of the network.";
    NETWORK_INFO: Network Gauge "wickr_network_info" ["network_id", "network_name", "region", "account_id", "access_level"]
        "Name, region and, from the collector `network`, AWS account and access level of the network; always 1.";
    NETWORK_USERS: Network Gauge "wickr_network_users" ["network_id", "freshness"]
        "Users to poll: fresh (read in the last poll), stale (last known data served) or missing (no data).";
    NETWORK_USERS_SUSPENDED: Network Gauge "wickr_network_users_suspended" ["network_id"]
        "Suspended accounts among the discovered users.";
    NETWORK_ADMINS: Network Gauge "wickr_network_admins" ["network_id"]
        "Administrators among the discovered users.";
    NETWORK_INVITES_EXPIRED: Network Gauge "wickr_network_invites_expired" ["network_id"]
        "Invited users among the discovered users whose invitation has expired.";
    NETWORK_DEVICES: Network Gauge "wickr_network_devices" ["network_id", "device_type"]
        "Devices of the network's users.";
    NETWORK_DEVICES_SUSPENDED: Network Gauge "wickr_network_devices_suspended" ["network_id", "device_type"]
        "Suspended devices.";
    NETWORK_DEVICES_RESET: Network Gauge "wickr_network_devices_reset" ["network_id", "device_type"]
        "Devices marked for reset.";
    NETWORK_DEVICES_NEVER_LOGGED_IN: Network Gauge "wickr_network_devices_never_logged_in" ["network_id", "device_type"]
        "Devices without any login.";
    NETWORK_DEVICE_IDLE_SECONDS: Network GaugeHistogram "wickr_network_device_idle_seconds" ["network_id", "device_type"]
        "Devices by time since their last login; excludes devices without one.";
    NETWORK_DEVICES_SSO_EXPIRED: Network Gauge "wickr_network_devices_sso_expired" ["network_id", "device_type"]
        "Devices that have been idle for longer than the SSO limit of their user.";
    NETWORK_DEVICES_SSO_EXPIRING: Network Gauge "wickr_network_devices_sso_expiring" ["network_id", "device_type", "within"]
        "Devices whose SSO session has not expired and ends within this time unless the user logs in.";
    NETWORK_DEVICE_CHANGES: Network Counter "wickr_network_device_changes_total" ["network_id", "change"]
        "Changes of devices between two reads of the same user.";
    SECURITY_GROUP_INFO: = crate::family::SECURITY_GROUP_INFO;
    SECURITY_GROUP_SSO_MAX_IDLE: Network Gauge "wickr_security_group_sso_max_idle_seconds" ["network_id", "group_id"]
        "Idle time after which SSO sessions of the group's users end; absent if the group sets no limit.";
    USER_UP: User Gauge "wickr_user_up" ["network_id", "user_id"]
        "Whether the last poll read this user.";
    USER_LAST_POLL: User Gauge "wickr_user_last_poll_timestamp_seconds" ["network_id", "user_id"]
        "When the user's data was read.";
    USER_INFO: User Gauge "wickr_user_info" ["network_id", "user_id", "username", "status"]
        "Status and, if enabled, username of the user; always 1.";
    USER_SUSPENDED: User Gauge "wickr_user_suspended" ["network_id", "user_id"]
        "Whether the account of the user is suspended.";
    USER_ADMIN: User Gauge "wickr_user_admin" ["network_id", "user_id"]
        "Whether the user is an administrator of the network.";
    USER_SSO_MAX_IDLE: User Gauge "wickr_user_sso_max_idle_seconds" ["network_id", "user_id"]
        "Idle time after which SSO sessions of the user end: the shortest limit of its groups, or the configured limit.";
    USER_SSO_EXPIRY: User Gauge "wickr_user_sso_expiry_timestamp_seconds" ["network_id", "user_id"]
        "When the next of the user's SSO sessions ends; excludes expired sessions.";
    USER_DEVICES: User Gauge "wickr_user_devices" ["network_id", "user_id", "device_type"]
        "Devices of the user.";
    USER_DEVICES_SUSPENDED: User Gauge "wickr_user_devices_suspended" ["network_id", "user_id", "device_type"]
        "Suspended devices of the user.";
    USER_LAST_LOGIN: User Gauge "wickr_user_last_login_timestamp_seconds" ["network_id", "user_id"]
        "The latest login on any device of the user.";
    USER_IDLE: User Gauge "wickr_user_idle_seconds" ["network_id", "user_id"]
        "Time since the latest login on any device of the user.";
    DEVICE_INFO: Device Gauge "wickr_device_info" ["network_id", "user_id", "app_id", "device_type", "status"]
        "Status of the device; always 1.";
    DEVICE_SUSPENDED: Device Gauge "wickr_device_suspended" ["network_id", "user_id", "app_id", "device_type"]
        "Whether the device is suspended.";
    DEVICE_CREATED: Device Gauge "wickr_device_created_timestamp_seconds" ["network_id", "user_id", "app_id", "device_type"]
        "When the device was added.";
    DEVICE_LAST_LOGIN: Device Gauge "wickr_device_last_login_timestamp_seconds" ["network_id", "user_id", "app_id", "device_type"]
        "When the user last logged in on the device; absent if never.";
    DEVICE_IDLE: Device Gauge "wickr_device_idle_seconds" ["network_id", "user_id", "app_id", "device_type"]
        "Time since the last login on the device, which Wickr calls SSO idle time; absent if never.";
    POLLS: Exporter Counter "wickr_exporter_polls_total" ["network_id", "result"]
        "Polls that ended: success (every user read), partial (some) or failure (none).";
    POLL_DURATION: Exporter Gauge "wickr_exporter_poll_duration_seconds" ["network_id"]
        "Duration of the last poll of all users.";
    POLL_INTERVAL: Exporter Gauge "wickr_exporter_poll_interval_seconds" ["network_id"]
        "The configured time from the start of one poll to the start of the next.";
    POLL_PROGRESS: Exporter Gauge "wickr_exporter_poll_progress_ratio" ["network_id"]
        "Fraction of users that the current poll has completed; 1 between polls.";
    POLL_OVERRUNS: Exporter Counter "wickr_exporter_poll_overruns_total" ["network_id"]
        "Polls that took longer than the interval.";
    LAST_POLL: Exporter Gauge "wickr_exporter_last_poll_timestamp_seconds" ["network_id"]
        "When the last poll ended.";
    LAST_SUCCESS: Exporter Gauge "wickr_exporter_last_success_timestamp_seconds" ["network_id"]
        "When the last successful poll ended.";
    USER_FAILURES: Exporter Gauge "wickr_exporter_user_failures" ["network_id", "reason"]
        "Users whose last poll failed, by reason.";
    COLLECTOR_SUCCESS: Exporter Gauge "wickr_exporter_collector_success" ["network_id", "collector"]
        "Whether the last run of the collector succeeded; otherwise its last values stay for three intervals.";
    COLLECTOR_DURATION: Exporter Gauge "wickr_exporter_collector_duration_seconds" ["network_id", "collector"]
        "Duration of the collector's last run.";
    COLLECTOR_LAST_SUCCESS: Exporter Gauge "wickr_exporter_collector_last_success_timestamp_seconds" ["network_id", "collector"]
        "When the collector's last successful run ended.";
    INVALID_TIMESTAMPS: Exporter Gauge "wickr_exporter_invalid_timestamps" ["network_id", "field"]
        "Devices with an invalid timestamp, by field.";
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
