//! Networks and devices for tests.

use std::time::Duration;

use super::NetworkIdentity;
use crate::wickr::{ApiTimestamp, Device, DeviceAttributes};

/// A network that is polled every minute.
pub(crate) fn identity(id: &str) -> NetworkIdentity {
    NetworkIdentity {
        id: id.parse().unwrap(),
        name: String::new(),
        region: "us-east-1".into(),
        account: String::new(),
        interval: Duration::from_secs(60),
        stale_after: Duration::from_secs(180),
    }
}

/// An active device that has never logged in.
pub(crate) fn device(app_id: &str) -> Device {
    Device {
        app_id: Some(app_id.into()),
        attributes: DeviceAttributes::new("iOS", "Active", Some(false)).into(),
        created: ApiTimestamp::NEVER,
        last_login: ApiTimestamp::NEVER,
    }
}
