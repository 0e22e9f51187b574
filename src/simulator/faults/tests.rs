//! Selection and combination of faults.

use super::*;

fn call(path: &str) -> Call {
    Call::parse(path, "").unwrap()
}

fn applications(fault: Fault, path: &str, page: u32, count: usize) -> Vec<bool> {
    let faults = Faults::new(&[fault], 1);
    let call = call(path);
    (0..count).map(|_| faults.plan(Some(&call), Some(page)).response.is_some()).collect()
}

#[test]
fn selectors_restrict_faults() {
    let devices = "/networks/12345678/users/1001/devices";
    let hit = |fault: Fault| applications(fault, devices, 3, 1)[0];
    assert!(hit(Fault::error(500)));
    assert!(hit(Fault::error(500).operation(Operation::ListDevicesForUser)));
    assert!(!hit(Fault::error(500).operation(Operation::ListUsers)));
    assert!(hit(Fault::error(500).network("12345678").user("1001").page(3)));
    assert!(!hit(Fault::error(500).network("87654321")));
    assert!(!hit(Fault::error(500).user("1002")));
    assert!(!hit(Fault::error(500).page(2)));
    assert!(!hit(FaultKind::RefuseToken.into()), "the request has no token");
}

#[test]
fn honours_times_after_and_probability() {
    let hits = applications(Fault::error(500).after(2).times(3), "/networks", 1, 8);
    assert_eq!(hits, [false, false, true, true, true, false, false, false]);
    let random = Fault::error(500).probability(0.25);
    let hits = applications(random.clone(), "/networks", 1, 10_000);
    let count = hits.iter().filter(|hit| **hit).count();
    assert!((2_300..2_700).contains(&count), "{count}");
    assert_eq!(hits, applications(random, "/networks", 1, 10_000), "the same seed");
}

#[test]
fn applies_the_first_response_fault_and_all_delays() {
    let faults = Faults::new(&[], 1);
    faults.add(FaultKind::Slow(Duration::from_secs(1)));
    faults.add(FaultKind::Slow(Duration::from_secs(2)));
    faults.add(FaultKind::Skew(SignedDuration::from_mins(-10)));
    faults.add(FaultKind::RepeatToken);
    let first = faults.add(Fault::error(500).times(1));
    let second = faults.add(Fault::error(503));
    let plan = faults.plan(Some(&call("/networks")), Some(1));
    assert_eq!(plan.delay, Duration::from_secs(3));
    assert_eq!(plan.skew, SignedDuration::from_mins(-10));
    assert_eq!(plan.paging, Some(FaultKind::RepeatToken));
    assert_eq!(plan.error().unwrap().status, 500);
    assert_eq!((faults.hits(first), faults.hits(second)), (Some(1), Some(0)));
    assert_eq!(faults.plan(None, None).error().unwrap().status, 503);
    assert!(faults.remove(second) && !faults.remove(second));
    faults.clear();
    assert!(faults.plan(None, None).error().is_none());
}
