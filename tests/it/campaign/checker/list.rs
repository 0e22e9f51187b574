//! Responses of `/api/v1/devices`.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::{
        expected::{ExpectedDevice, Ms},
        scrape::{ExposedDevice, millis},
    },
    Context, matches,
};

/// All violations in a response of `/api/v1/devices` that was received at `to`.
pub fn check_device_list(list: &Value, to: Ms, context: &Context<'_>) -> Vec<String> {
    let mut violations = Vec::new();
    let devices = list["devices"].as_array().map_or(&[][..], |devices| devices);
    if list["matched"].as_u64() != Some(devices.len() as u64) {
        violations.push(format!("{} devices, but {} matched", devices.len(), list["matched"]));
    }
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let time = |of: &Value, field: &str| -> Option<Ms> {
        Some(of[field].as_str()?.parse::<Timestamp>().ok()?.as_millisecond())
    };
    let generated_at = time(list, "generated_at").unwrap_or_default();
    for device in devices {
        let key = (text(device, "network_id"), text(device, "user_id"));
        let read_at = time(device, "read_at").unwrap_or_default();
        let exposed = ExposedDevice {
            device_type: text(device, "device_type"),
            status: Some(text(device, "status")),
            suspended: device["suspended"].as_bool().map(f64::from),
            created: time(device, "created"),
            last_login: time(device, "last_login"),
            idle: device["idle_seconds"].as_f64().map(millis),
        };
        let is_match = |expected: &Arc<ExpectedDevice>| {
            expected.app_id.as_deref() == device["app_id"].as_str()
                && matches(&exposed, expected)
                && exposed.idle == exposed.last_login.map(|at| (generated_at - at).max(0))
        };
        let possible = context.possible_devices(&key, read_at);
        let is_correct = possible.iter().any(|devices| devices.iter().any(is_match));
        let is_current = match device["freshness"].as_str() {
            Some("fresh") => true,
            Some("stale") => context
                .overdue
                .since(&key, read_at)
                .is_none_or(|since| generated_at - since <= context.stale_after),
            _ => false,
        };
        if !is_correct || !is_current || read_at > to {
            violations.push(format!("listed at {generated_at}: {device}"));
        }
    }
    violations
}
