//! Changes to the fleet over time: logins, additions, removals, suspensions and resets.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;

use super::fleet::Fleet;
use super::generate::generate_device;
use super::state::State;
use super::user::User;

/// Events above 50 per second are batched, so that not each of them takes the lock.
const MIN_TICK: Duration = Duration::from_millis(20);
const MAX_TICK: Duration = Duration::from_secs(3600);
/// Changes to other data per second, at most: few things change there.
const MAX_ORGANISATION_RATE: f64 = 1.0;
/// Limits the time a tick holds the lock; faster rates are not reached.
const MAX_EVENTS_PER_TICK: f64 = 10_000.0;

/// Applies events until the simulator stops.
pub(super) async fn run(state: Arc<State>) {
    let churn = state.options.churn;
    let tick = Duration::try_from_secs_f64(1.0 / churn).unwrap_or(MAX_TICK);
    let tick = tick.clamp(MIN_TICK, MAX_TICK);
    let mut rng = Rng::with_seed(state.options.seed ^ 0xC0FFEE);
    let mut interval = tokio::time::interval(tick);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    interval.tick().await;
    // A generator of its own, so that the changes of devices are the same without these.
    let mut organisation_rng = Rng::with_seed(state.options.seed ^ 0x0126);
    let (mut due, mut organisation_due) = (0.0, 0.0);
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        due += (churn * tick.as_secs_f64()).min(MAX_EVENTS_PER_TICK);
        let mut fleet = state.fleet.write().unwrap_or_else(PoisonError::into_inner);
        while due >= 1.0 {
            due -= 1.0;
            apply_event(&mut fleet, state.options.devices_per_user.max, &mut rng);
        }
        organisation_due += (churn.min(MAX_ORGANISATION_RATE) * tick.as_secs_f64()).min(1.0);
        if organisation_due >= 1.0 {
            organisation_due -= 1.0;
            change_organisation(&mut fleet, &mut organisation_rng);
        }
    }
}

fn apply_event(fleet: &mut Fleet, max_devices: u32, rng: &mut Rng) {
    let networks = fleet.networks().count();
    if networks == 0 {
        return;
    }
    let network = fleet.network_at_mut(rng.usize(..networks));
    let Some(user) = network.and_then(|network| network.user_near_mut(rng.f64())) else { return };
    if user.status != 2 {
        return;
    }
    match rng.u8(..100) {
        0..5 => add_device(user, max_devices, rng),
        5..10 => remove_device(user, rng),
        _ => change_device(user, rng),
    }
}

/// Changes accounts, security groups, or bots, guests, settings and the like.
fn change_organisation(fleet: &mut Fleet, rng: &mut Rng) {
    let networks = fleet.networks().count();
    let network = (networks > 0).then(|| fleet.network_at_mut(rng.usize(..networks))).flatten();
    let Some(network) = network else { return };
    let now = Timestamp::now();
    match rng.u8(..10) {
        0..2 => {
            return network
                .user_near_mut(rng.f64())
                .into_iter()
                .for_each(|u| change_account(u, rng));
        }
        2..9 => return network.organisation.change(now, rng),
        _ => {}
    }
    let groups = network.groups_mut();
    if !groups.is_empty() {
        let at = rng.usize(..groups.len());
        if let Some(group) = groups.get_mut(at) {
            group.modified = now.as_second();
            let federates = group.settings.get("globalFederation") != Some(&true.into());
            group.settings.insert("globalFederation".to_owned(), federates.into());
        }
    }
}

/// About one account in ten is suspended, and one in ten is an administrator.
fn change_account(user: &mut User, rng: &mut Rng) {
    let likely = |set: bool, rng: &mut Rng| if set { rng.bool() } else { rng.u8(..20) == 0 };
    if user.status == 1 {
        user.invite_expired = rng.bool();
    } else if rng.bool() {
        user.suspended = likely(user.suspended, rng);
    } else {
        user.admin = likely(user.admin, rng);
    }
}

fn add_device(user: &mut User, max_devices: u32, rng: &mut Rng) {
    // The limit keeps the memory of a long-running demo bounded.
    if user.devices.write().len() < max_devices.max(1) as usize {
        let now = Timestamp::now().as_millisecond();
        let mut device = generate_device(0, now, rng);
        device.created_ms = now;
        device.set_suspended(false);
        device.log_in();
        user.add_device(device);
    }
}

fn remove_device(user: &mut User, rng: &mut Rng) {
    let devices = user.devices.write();
    if !devices.is_empty() {
        devices.remove(rng.usize(..devices.len()));
    }
}

fn change_device(user: &mut User, rng: &mut Rng) {
    let devices = user.devices.write();
    if devices.is_empty() {
        return;
    }
    let at = rng.usize(..devices.len());
    let Some(device) = devices.get_mut(at) else { return };
    match (rng.u8(..100), device.suspend) {
        // These rates keep about one device in twenty suspended.
        (0..50, true) => device.set_suspended(false),
        (_, true) => {}
        (0..3, false) => device.set_suspended(true),
        (3..7, false) => "Reset".clone_into(device.status.to_mut()),
        (_, false) if is_unused(device.app_id()) => {}
        (_, false) => {
            device.log_in();
            device.set_suspended(false);
        }
    }
}

/// About a third of the devices, which never log in: otherwise no device would be idle.
fn is_unused(app_id: Option<&str>) -> bool {
    matches!(app_id.and_then(|id| id.as_bytes().last()), Some(b'0'..=b'4'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Options;
    use crate::simulator::generate::generate_fleet;

    #[test]
    fn all_kinds_of_events_occur_within_bounds() {
        let options = Options { users: 50, ..Options::default() };
        let start = Timestamp::now().as_millisecond();
        let mut fleet = generate_fleet(&options, start);
        let before = fleet.clone();
        let mut rng = Rng::with_seed(1);
        for _ in 0..20_000 {
            apply_event(&mut fleet, options.devices_per_user.max, &mut rng);
        }
        let (mut suspended, mut reset, mut logins, mut added, mut removed) = (0, 0, 0, 0, 0);
        for (user, old) in
            fleet.networks().flat_map(|n| n.users()).zip(before.networks().flat_map(|n| n.users()))
        {
            let (now, old) = (user.devices(), old.devices());
            assert!(now.len() <= 8);
            suspended += now.iter().filter(|device| device.suspend).count();
            reset += now.iter().filter(|device| device.status == "Reset").count();
            logins += now.iter().filter(|device| device.last_login_ms >= Some(start)).count();
            let missing =
                |in_: &[crate::simulator::Device], id| in_.iter().all(|d| d.app_id() != id);
            added += now.iter().filter(|device| missing(&old, device.app_id())).count();
            removed += old.iter().filter(|device| missing(&now, device.app_id())).count();
        }
        assert!([suspended, reset, logins, added, removed].iter().all(|count| *count > 0));
        let total = fleet.device_count();
        assert!(suspended * 5 < total && reset * 5 < total, "{suspended} {reset} of {total}");
    }
}
