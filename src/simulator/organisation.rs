//! What a network has beyond users, devices and security groups, and its JSON.

use serde_json::{Value, json};

use super::fleet::{Network, Overrides};
use super::options::Options;

/// Users that a network can have in total.
const SEATS: i64 = 30;

/// The organisation of a network. Responses can be overridden member by member.
#[derive(Clone, Debug, Default)]
pub(super) struct Organisation {
    pub(super) rejected: i64,
    pub(super) overrides: std::collections::BTreeMap<super::call::Operation, Overrides>,
}

impl Organisation {
    fn finish(&self, operation: super::call::Operation, mut response: Value) -> Value {
        if let Some(overrides) = self.overrides.get(&operation) {
            overrides.apply(&mut response);
        }
        response
    }
}

pub(super) fn users_count(network: &Network, _: &Options) -> Value {
    let count = |status| network.users().filter(|user| user.status == status).count() as i64;
    let (pending, active) = (count(1), count(2));
    let total = pending + active;
    let response = json!({
        "pending": pending,
        "active": active,
        "rejected": network.organisation.rejected,
        "remaining": (SEATS - total).max(0),
        "total": total,
    });
    network.organisation.finish(super::call::Operation::GetUsersCount, response)
}
