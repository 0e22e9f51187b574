//! Time moves on: devices log in, come and go, are suspended and reset.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;

use super::fleet::Fleet;
use super::generate::generate_device;
use super::state::State;
use super::user::User;

/// Events come in batches when there are many, so that a fast pace does not mean a lock for
/// each of them.
const SHORTEST_TICK: Duration = Duration::from_millis(20);
/// The fastest pace that is kept; beyond it the tick would do nothing else.
const MOST_PER_TICK: f64 = 10_000.0;

/// Makes events until the simulator stops.
pub(super) async fn run(state: Arc<State>) {
    let churn = state.options.churn;
    let tick = Duration::try_from_secs_f64(1.0 / churn).unwrap_or(Duration::from_secs(3600));
    let tick = tick.clamp(SHORTEST_TICK, Duration::from_secs(3600));
    let mut rng = Rng::with_seed(state.options.seed ^ 0xC0FFEE);
    let mut interval = tokio::time::interval(tick);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    interval.tick().await;
    let mut due = 0.0;
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        due += (churn * tick.as_secs_f64()).min(MOST_PER_TICK);
        let mut fleet = state.fleet.write().unwrap_or_else(PoisonError::into_inner);
        while due >= 1.0 {
            due -= 1.0;
            event(&mut fleet, state.options.devices_per_user.max, &mut rng);
        }
    }
}

/// One event, to somebody.
fn event(fleet: &mut Fleet, most_devices: u32, rng: &mut Rng) {
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
        0..5 => appear(user, most_devices, rng),
        5..10 => vanish(user, rng),
        _ => happen_to_a_device(user, rng),
    }
}

fn appear(user: &mut User, most_devices: u32, rng: &mut Rng) {
    // Without a bound, a demo that runs for weeks would grow for weeks.
    if user.devices.write().len() < most_devices.max(1) as usize {
        let now = Timestamp::now().as_millisecond();
        let mut device = generate_device(0, now, rng);
        device.created_ms = now;
        device.set_suspended(false);
        device.log_in();
        user.add_device(device);
    }
}

fn vanish(user: &mut User, rng: &mut Rng) {
    let devices = user.devices.write();
    if !devices.is_empty() {
        devices.remove(rng.usize(..devices.len()));
    }
}

fn happen_to_a_device(user: &mut User, rng: &mut Rng) {
    let devices = user.devices.write();
    if devices.is_empty() {
        return;
    }
    let at = rng.usize(..devices.len());
    let Some(device) = devices.get_mut(at) else { return };
    match (rng.u8(..100), device.suspend) {
        // Suspensions are rare and end soon, so that about one device in twenty is suspended.
        (0..50, true) => device.set_suspended(false),
        (_, true) => {}
        (0..3, false) => device.set_suspended(true),
        (3..5, false) => "Reset".clone_into(device.status.to_mut()),
        (_, false) if is_forgotten(device.app_id()) => {}
        (_, false) => {
            device.log_in();
            device.set_suspended(false);
        }
    }
}

/// A third of all devices lie in a drawer: nobody logs in on them, or soon none would be idle.
fn is_forgotten(app_id: Option<&str>) -> bool {
    matches!(app_id.and_then(|id| id.as_bytes().last()), Some(b'0'..=b'4'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Options;
    use crate::simulator::generate::generate_fleet;

    #[test]
    fn everything_happens_and_nothing_runs_away() {
        let options = Options { users: 50, ..Options::default() };
        let start = Timestamp::now().as_millisecond();
        let mut fleet = generate_fleet(&options, start);
        let before = fleet.clone();
        let mut rng = Rng::with_seed(1);
        for _ in 0..20_000 {
            event(&mut fleet, options.devices_per_user.max, &mut rng);
        }
        let (mut suspended, mut reset, mut fresh, mut new, mut gone) = (0, 0, 0, 0, 0);
        for (user, old) in
            fleet.networks().flat_map(|n| n.users()).zip(before.networks().flat_map(|n| n.users()))
        {
            let (now, old) = (user.devices(), old.devices());
            assert!(now.len() <= 8);
            suspended += now.iter().filter(|device| device.suspend).count();
            reset += now.iter().filter(|device| device.status == "Reset").count();
            fresh += now.iter().filter(|device| device.last_login_ms >= Some(start)).count();
            let missing =
                |in_: &[crate::simulator::Device], id| in_.iter().all(|d| d.app_id() != id);
            new += now.iter().filter(|device| missing(&old, device.app_id())).count();
            gone += old.iter().filter(|device| missing(&now, device.app_id())).count();
        }
        assert!([suspended, reset, fresh, new, gone].iter().all(|count| *count > 0));
        let total = fleet.device_count();
        assert!(suspended * 5 < total && reset * 5 < total, "{suspended} {reset} of {total}");
    }
}
