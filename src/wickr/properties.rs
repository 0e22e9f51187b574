//! Property tests of rate limits, concurrency limits and retries, with random events on a paused
//! clock.

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
    ConcurrencyLimiter, Error, ErrorKind, Operation, RateLimiter,
    retry::{Attempts, RetryDecision},
};

// Copies of the constants in `rate`, which are documented.
const FLOOR: f64 = 0.5;
const RECOVERY: f64 = 0.05;
const SLACK: f64 = 0.010;
/// The timer resolution.
const TIMER: f64 = 0.001;

/// When a request was sent, in seconds, and the rate at that time.
type Sent = (f64, f64);

/// In every time span, requests are spaced by the rate, except for the slack.
fn assert_within_rate(sent: &[Sent]) {
    for first in 0..sent.len() {
        let mut minimum = 0.0;
        for pair in sent[first..].windows(2) {
            minimum += 1.0 / pair[0].1;
            let took = pair[1].0 - sent[first].0;
            assert!(took + SLACK + TIMER >= minimum, "{took} s from {first}, minimum {minimum} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_never_exceed_the_rate() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut ceiling = [0.2, 1.0, 7.5, 50.0, 900.0, 5_000.0][random.usize(..6)];
        let limiter = RateLimiter::new(ceiling);
        let (start, mut sent) = (Instant::now(), Vec::<Sent>::new());
        let mut tokens = Vec::new();
        let (mut expected, mut since, mut lowered) = (ceiling, start, None);
        for _ in 0..300 {
            let now = Instant::now();
            expected = (expected + (now - since).as_secs_f64() * RECOVERY * ceiling).min(ceiling);
            since = now;
            let rate = limiter.rate();
            assert!((rate - expected).abs() <= 1e-6 * ceiling, "seed {seed}: {rate}, {expected}");
            assert!(rate <= ceiling && rate >= FLOOR.min(ceiling), "seed {seed}: {rate}");
            match random.u8(..12) {
                0 => {
                    let new = ceiling * [0.5, 1.0, 2.0][random.usize(..3)];
                    expected = if expected >= ceiling { new } else { expected.min(new) };
                    ceiling = new;
                    limiter.set_ceiling(ceiling);
                    assert_within_rate(&sent);
                }
                1 | 2 if !tokens.is_empty() => {
                    let (token, at) = tokens[random.usize(..tokens.len())];
                    limiter.throttled(token);
                    if lowered.is_none_or(|lowered| at >= lowered) {
                        expected = (expected / 2.0).max(FLOOR.min(ceiling));
                        lowered = Some(now);
                    }
                }
                3 => tokio::time::sleep(Duration::from_millis(random.u64(..3_000))).await,
                // A cancelled request takes no token and does not block others.
                4 => drop(tokio::time::timeout(Duration::from_millis(1), limiter.acquire()).await),
                _ => {
                    let token = limiter.acquire().await;
                    let at = Instant::now();
                    tokens.push((token, at));
                    sent.push(((at - start).as_secs_f64(), limiter.rate()));
                }
            }
        }
        assert_within_rate(&sent);
    }
}

#[tokio::test(start_paused = true)]
async fn rate_tokens_are_granted_in_request_order() {
    let mut random = fastrand::Rng::with_seed(1);
    let limiter = Arc::new(RateLimiter::new(20.0));
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..200 {
        let (limiter, order) = (limiter.clone(), order.clone());
        let timeout = Duration::from_millis(random.u64(..8_000));
        tasks.push(tokio::spawn(async move {
            if tokio::time::timeout(timeout, limiter.acquire()).await.is_ok() {
                order.lock().unwrap().push(number);
            }
        }));
        // Starts the task, so that the order of calls is known.
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let order = order.lock().unwrap();
    assert!(order.is_sorted() && order.len() > 50, "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_network_without_requests_in_flight_always_gets_a_permit() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut limit, count) = (random.usize(1..12), random.usize(1..8));
        let limiter = ConcurrencyLimiter::new(limit);
        let networks: Vec<_> = (0..count).map(|_| limiter.open()).collect();
        let mut polls: Vec<_> = networks.iter().map(|_| None).collect();
        let mut permits: Vec<Vec<_>> = networks.iter().map(|_| Vec::new()).collect();
        for _ in 0..300 {
            let at = random.usize(..count);
            match random.u8(..8) {
                0 => polls[at] = if polls[at].is_none() { Some(networks[at].poll()) } else { None },
                1 | 2 if !permits[at].is_empty() => {
                    let permit = random.usize(..permits[at].len());
                    permits[at].swap_remove(permit);
                }
                3 => {
                    limit += random.usize(..2);
                    limiter.set_limit(limit);
                }
                _ => {
                    let permit = networks[at].acquire().now_or_never();
                    let own = permits[at].len();
                    assert!(permit.is_some() || own > 0, "seed {seed}: no permit for {at}");
                    if permit.is_some() && own > 0 {
                        let limit = networks[at].limit();
                        assert!(own < limit, "seed {seed}: {own} in flight of {limit}");
                    }
                    permits[at].extend(permit);
                }
            }
            let in_flight: usize = permits.iter().map(Vec::len).sum();
            let reserved = permits.iter().filter(|permits| permits.is_empty()).count();
            let limit = limit.max(count);
            assert!(in_flight + reserved <= limit, "seed {seed}: {in_flight} and {reserved}");
            let polled: Vec<_> = (0..count).filter(|at| polls[*at].is_some()).collect();
            let shared: usize = polled.iter().map(|at| networks[*at].limit()).sum();
            assert!(shared + count - polled.len() <= limit, "seed {seed}: {shared}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_waiting_request_gets_a_permit() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (limit, count) = (random.usize(1..10), random.usize(1..6));
        let limiter = ConcurrencyLimiter::new(limit);
        let networks: Vec<_> = (0..count).map(|_| Arc::new(limiter.open())).collect();
        let (in_flight, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut requests = Vec::new();
        for _ in 0..150 {
            let network = networks[random.usize(..count)].clone();
            let (in_flight, peak) = (in_flight.clone(), peak.clone());
            let (delay, duration) = (random.u64(..200), random.u64(1..50));
            // Some requests are cancelled while they wait or are in flight.
            let timeout =
                Duration::from_millis([u64::MAX / 4, random.u64(1..300)][random.usize(..2)]);
            requests.push(tokio::spawn(tokio::time::timeout(timeout, async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                let _permit = network.acquire().await;
                let now = in_flight.fetch_add(1, Ordering::Relaxed) + 1;
                peak.fetch_max(now, Ordering::Relaxed);
                let _in_flight = InFlight(in_flight);
                tokio::time::sleep(Duration::from_millis(duration)).await;
            })));
        }
        let all = async {
            for request in requests {
                let _ = request.await.unwrap();
            }
        };
        // One after another, they take less than eight seconds.
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("all requests end");
        assert!(peak.load(Ordering::Relaxed) <= limit.max(count), "seed {seed}");
        assert_eq!(in_flight.load(Ordering::Relaxed), 0);
    }
}

struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn attempts_and_waits_are_bounded() {
    let mut random = fastrand::Rng::with_seed(3);
    let (mut decisions, mut jitters) = (HashSet::new(), Vec::new());
    for _ in 0..20_000 {
        let max = random.u32(1..12);
        let (mut attempts, mut sent) = (Attempts::new(max), 0);
        let (mut clocks, mut refreshes, mut retries) = (0, 0, 0);
        loop {
            sent += 1;
            let kind = random.choice(ErrorKind::ALL).unwrap();
            let retry_after = random.bool().then(|| Duration::from_millis(random.u64(..90_000)));
            let error = Error {
                status: [None, Some(400)][random.usize(..2)],
                retry_after,
                clock_ahead: (random.u8(..8) == 0).then(|| random.i64(-9_999..9_999)),
                ..Error::new(Operation::ListUsers, kind, "x")
            };
            let share = random.f64();
            let decision = attempts.decide(&error, share);
            decisions.insert(std::mem::discriminant(&decision));
            match decision {
                RetryDecision::GiveUp => break,
                RetryDecision::WithServerTime { ahead } => {
                    assert_eq!(Some(ahead), error.clock_ahead);
                    clocks += 1;
                }
                RetryDecision::WithNewCredentials => {
                    assert!(kind.is_refusal());
                    refreshes += 1;
                }
                RetryDecision::After(wait) => {
                    assert!(kind.may_be_retried() && !kind.is_refusal());
                    let retry_after = retry_after.unwrap_or_default();
                    assert!(wait >= retry_after && retry_after <= Duration::from_secs(60));
                    let initial = if kind == ErrorKind::RateLimited { 0.5 } else { 0.2 };
                    let bound = (initial * f64::from(1 << retries)).min(20.0);
                    let jitter = (wait - retry_after).as_secs_f64();
                    assert!((jitter - bound * share).abs() < 1e-6, "{jitter} of {bound}");
                    jitters.push(jitter / bound);
                    retries += 1;
                }
            }
            assert!(clocks <= 1 && refreshes <= 1 && retries < max);
            assert!(sent <= max + 2);
        }
    }
    assert_eq!(decisions.len(), 4);
    // The jitter is uniformly distributed.
    let mean = jitters.iter().sum::<f64>() / jitters.len() as f64;
    assert!((mean - 0.5).abs() < 0.02, "{mean} of {}", jitters.len());
}
