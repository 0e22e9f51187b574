//! Random traffic on a clock that stands still until it is moved: what the pace, the places in
//! flight and the waits keep to, whatever happens.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
    ConcurrencyLimiter, Error, ErrorKind, NetworkLimiter, Operation, RateLimiter,
    retry::{Attempts, Verdict},
};

/// The least rate, the share of the ceiling that comes back in a second, and what a late request is
/// forgiven: part of what is promised, and so said here once more.
const FLOOR: f64 = 0.5;
const RECOVERY: f64 = 0.05;
const SLACK: f64 = 0.010;
/// Timers go by the millisecond.
const TIMER: f64 = 0.001;

/// A request that was let through: when, in seconds, and the rate at that moment.
type Passed = (f64, f64);

/// No stretch of time has more requests than the rates in it allow, a late one aside.
fn within_the_rate(passed: &[Passed]) {
    for first in 0..passed.len() {
        let mut least = 0.0;
        for pair in passed[first..].windows(2) {
            least += 1.0 / pair[0].1;
            let took = pair[1].0 - passed[first].0;
            assert!(took + SLACK + TIMER >= least, "{took} s from {first}, {least} s at least");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_stretch_of_time_has_more_requests_than_the_rate_allows() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut ceiling = [0.2, 1.0, 7.5, 50.0, 900.0, 5_000.0][random.usize(..6)];
        let limiter = Arc::new(RateLimiter::new(ceiling));
        let (start, passed) = (Instant::now(), Arc::new(Mutex::new(Vec::<Passed>::new())));
        let mut passes = Vec::new();
        // What the rate should be.
        let (mut rate, mut since, mut lowered) = (ceiling, start, None);
        for _ in 0..300 {
            let now = Instant::now();
            rate = (rate + (now - since).as_secs_f64() * RECOVERY * ceiling).min(ceiling);
            since = now;
            let is = limiter.rate();
            assert!((is - rate).abs() <= 1e-6 * ceiling, "seed {seed}: {is}, should be {rate}");
            assert!(is <= ceiling && is >= FLOOR.min(ceiling), "seed {seed}: {is}");
            match random.u8(..12) {
                0 => {
                    let other = ceiling * [0.5, 1.0, 2.0][random.usize(..3)];
                    rate = if rate >= ceiling { other } else { rate.min(other) };
                    ceiling = other;
                    limiter.set_ceiling(ceiling);
                    // What was sent before by another rate is another matter.
                    within_the_rate(&passed.lock().unwrap());
                }
                1 | 2 if !passes.is_empty() => {
                    let (pass, at) = passes[random.usize(..passes.len())];
                    limiter.throttled(pass);
                    // Of those that were under way together, one counts.
                    if lowered.is_none_or(|lowered| at >= lowered) {
                        rate = (rate / 2.0).max(FLOOR.min(ceiling));
                        lowered = Some(now);
                    }
                }
                3 => tokio::time::sleep(Duration::from_millis(random.u64(..3_000))).await,
                // Who gives up has taken nothing, and holds nobody up.
                4 => drop(tokio::time::timeout(Duration::from_millis(1), limiter.pass()).await),
                _ => {
                    let pass = limiter.pass().await;
                    let at = Instant::now();
                    passes.push((pass, at));
                    passed.lock().unwrap().push(((at - start).as_secs_f64(), limiter.rate()));
                }
            }
        }
        within_the_rate(&passed.lock().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn requests_go_out_in_the_order_in_which_they_asked() {
    let mut random = fastrand::Rng::with_seed(1);
    let limiter = Arc::new(RateLimiter::new(20.0));
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut asked = Vec::new();
    for number in 0..200 {
        let (limiter, order) = (limiter.clone(), order.clone());
        let patience = Duration::from_millis(random.u64(..8_000));
        asked.push(tokio::spawn(async move {
            if tokio::time::timeout(patience, limiter.pass()).await.is_ok() {
                order.lock().unwrap().push(number);
            }
        }));
        // So that they ask one after another.
        tokio::task::yield_now().await;
    }
    for asked in asked {
        asked.await.unwrap();
    }
    let order = order.lock().unwrap();
    assert!(order.is_sorted() && order.len() > 50, "{order:?}");
}

/// Requests that some networks have in flight, as many as there is room for.
struct Traffic {
    lanes: Arc<ConcurrencyLimiter>,
    most: usize,
    lane: Vec<Arc<NetworkLimiter>>,
}

#[tokio::test(start_paused = true)]
async fn a_network_that_has_nothing_in_flight_finds_a_place_whatever_the_others_do() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let most = random.usize(1..12);
        let lanes = ConcurrencyLimiter::new(most);
        let count = random.usize(1..8);
        let traffic =
            Traffic { most, lane: (0..count).map(|_| Arc::new(lanes.open())).collect(), lanes };
        let mut most = traffic.most;
        let mut polls: Vec<_> = traffic.lane.iter().map(|_| None).collect();
        let mut places: Vec<Vec<_>> = traffic.lane.iter().map(|_| Vec::new()).collect();
        for _ in 0..300 {
            let at = random.usize(..count);
            match random.u8(..8) {
                0 => {
                    polls[at] =
                        if polls[at].is_none() { Some(traffic.lane[at].poll()) } else { None }
                }
                1 | 2 if !places[at].is_empty() => {
                    let place = random.usize(..places[at].len());
                    places[at].swap_remove(place);
                }
                3 => {
                    most += random.usize(..2);
                    traffic.lanes.set_most(most);
                }
                _ => {
                    let place = traffic.lane[at].enter().now_or_never();
                    let own = places[at].len();
                    assert!(place.is_some() || own > 0, "seed {seed}: {at} finds no place");
                    if place.is_some() && own > 0 {
                        let width = traffic.lane[at].width();
                        assert!(own < width, "seed {seed}: {own} in flight of {width}");
                    }
                    places[at].extend(place);
                }
            }
            let in_flight: usize = places.iter().map(Vec::len).sum();
            let empty = places.iter().filter(|places| places.is_empty()).count();
            assert!(in_flight + empty <= most.max(count), "seed {seed}: {in_flight} and {empty}");
            let polling: Vec<_> = (0..count).filter(|at| polls[*at].is_some()).collect();
            let shared: usize = polling.iter().map(|at| traffic.lane[*at].width()).sum();
            assert!(shared + count - polling.len() <= most.max(count), "seed {seed}: {shared}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_place_gets_one_and_nobody_is_forgotten() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (most, count) = (random.usize(1..10), random.usize(1..6));
        let lanes = ConcurrencyLimiter::new(most);
        let lane: Vec<_> = (0..count).map(|_| Arc::new(lanes.open())).collect();
        let (in_flight, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut requests = Vec::new();
        for _ in 0..150 {
            let lane = lane[random.usize(..count)].clone();
            let (in_flight, peak) = (in_flight.clone(), peak.clone());
            let (before, takes) = (random.u64(..200), random.u64(1..50));
            // Some give up while they wait, or while they are in flight.
            let patience =
                Duration::from_millis([u64::MAX / 4, random.u64(1..300)][random.usize(..2)]);
            requests.push(tokio::spawn(tokio::time::timeout(patience, async move {
                tokio::time::sleep(Duration::from_millis(before)).await;
                let _place = lane.enter().await;
                let now = in_flight.fetch_add(1, Ordering::Relaxed) + 1;
                peak.fetch_max(now, Ordering::Relaxed);
                let _leaves = Leaves(in_flight);
                tokio::time::sleep(Duration::from_millis(takes)).await;
            })));
        }
        let all = async {
            for request in requests {
                let _ = request.await.unwrap();
            }
        };
        // Even one after another they take less than eight seconds.
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("nobody hangs");
        assert!(peak.load(Ordering::Relaxed) <= most.max(count), "seed {seed}");
        assert_eq!(in_flight.load(Ordering::Relaxed), 0);
    }
}

struct Leaves(Arc<AtomicUsize>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn attempts_end_and_waits_stay_within_their_bounds() {
    let mut random = fastrand::Rng::with_seed(3);
    let (mut verdicts, mut shares) = (HashSet::new(), Vec::new());
    for _ in 0..20_000 {
        let most = random.u32(1..12);
        let (mut attempts, mut sent) = (Attempts::new(most), 0);
        let (mut clocks, mut refreshes, mut repeats) = (0, 0, 0);
        loop {
            sent += 1;
            let kind = random.choice(ErrorKind::ALL).unwrap();
            let hint = random.bool().then(|| Duration::from_millis(random.u64(..90_000)));
            let error = Error {
                status: [None, Some(400)][random.usize(..2)],
                retry_after: hint,
                clock_ahead: (random.u8(..8) == 0).then(|| random.i64(-9_999..9_999)),
                ..Error::new(Operation::ListUsers, kind, "x")
            };
            let share = random.f64();
            let verdict = attempts.judge(&error, share);
            verdicts.insert(std::mem::discriminant(&verdict));
            match verdict {
                Verdict::GiveUp => break,
                Verdict::WithServerTime { ahead } => {
                    assert_eq!(Some(ahead), error.clock_ahead);
                    clocks += 1;
                }
                Verdict::WithNewCredentials => {
                    assert!(kind.is_refusal());
                    refreshes += 1;
                }
                Verdict::After(wait) => {
                    assert!(kind.may_be_retried() && !kind.is_refusal());
                    let hint = hint.unwrap_or_default();
                    assert!(wait >= hint && hint <= Duration::from_secs(60));
                    let first = if kind == ErrorKind::RateLimited { 0.5 } else { 0.2 };
                    let bound = (first * f64::from(1 << repeats)).min(20.0);
                    let jitter = (wait - hint).as_secs_f64();
                    assert!((jitter - bound * share).abs() < 1e-6, "{jitter} of {bound}");
                    shares.push(jitter / bound);
                    repeats += 1;
                }
            }
            assert!(clocks <= 1 && refreshes <= 1 && repeats < most);
            assert!(sent <= most + 2, "as many attempts as are allowed, and one for each of those");
        }
    }
    assert_eq!(verdicts.len(), 4);
    // From nothing to the whole bound, evenly.
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    assert!((mean - 0.5).abs() < 0.02, "{mean} of {}", shares.len());
}
