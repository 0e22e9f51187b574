//! Selection and combination of faults.

use super::*;

fn call(path: &str) -> Call {
    Call::parse(path, "").unwrap()
}

fn applications(fault: &str, path: &str, page: u32, count: usize) -> Vec<bool> {
    let faults = Faults::new(&[fault.parse().unwrap()], 1);
    let call = call(path);
    (0..count).map(|_| faults.plan(Some(&call), Some(page)).response.is_some()).collect()
}

#[test]
fn selectors_restrict_faults() {
    for (fault, applied) in [
        ("500", true),
        ("500,op=ListDevicesForUser", true),
        ("500,op=ListUsers", false),
        ("500,network=12345678,user=1001,page=3", true),
        ("500,network=87654321", false),
        ("500,user=1002", false),
        ("500,page=2", false),
        ("refuse-token", false),
    ] {
        let devices = "/networks/12345678/users/1001/devices";
        assert_eq!(applications(fault, devices, 3, 1), [applied], "{fault}");
    }
}

#[test]
fn honors_times_after_and_probability() {
    let hits = applications("500,after=2,times=3", "/networks", 1, 8);
    assert_eq!(hits, [false, false, true, true, true, false, false, false]);
    let hits = applications("500,p=0.25", "/networks", 1, 10_000);
    let count = hits.iter().filter(|hit| **hit).count();
    assert!((2_300..2_700).contains(&count), "{count}");
    assert_eq!(hits, applications("500,p=0.25", "/networks", 1, 10_000), "the same seed");
}

#[test]
fn applies_the_first_response_fault_and_all_delays() {
    let faults = Faults::new(&[], 1);
    let add = |text: &str| faults.add(text.parse().unwrap());
    add("slow:1s");
    add("slow:2s");
    add("skew:-10m");
    add("repeat-token");
    let (first, second) = (add("500,times=1"), add("503"));
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
