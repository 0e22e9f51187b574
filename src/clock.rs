//! The time of day, corrected by AWS's clock, and a steady clock for ages.
//!
//! The local clock can be wrong and can step. The time of day is that of the local clock until the
//! service has accepted a signature, which proves the time of the signature. From then on, a local clock
//! that differs from the proven time by more than [`TOLERANCE`] is ignored.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// Difference above which a clock is wrong. AWS accepts signatures within five minutes; the AWS SDK for
/// Rust has the same threshold.
pub const TOLERANCE: Millis = 240_000;

/// The offset of a clock whose time is not proven.
const UNPROVEN: Millis = Millis::MIN;

/// One moment, measured by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time of day: to show, and to compare with AWS's times. It can step.
    pub time: Millis,
    /// A time that never steps, for ages within this process. It equals the time of day at the start.
    pub steady: Millis,
}

impl Moment {
    /// A moment of a clock that has never stepped, as in tests and benchmarks.
    pub fn unstepped(time: Millis) -> Moment {
        Moment { time, steady: time }
    }

    /// The moment that is `millis` later.
    pub fn after(self, millis: Millis) -> Moment {
        let Moment { time, steady } = self;
        Moment { time: time.saturating_add(millis), steady: steady.saturating_add(millis) }
    }

    /// The time of day of another moment: as recorded, or corrected if the clock has stepped since.
    pub fn time_of(self, other: Moment) -> Millis {
        let time = self.time_at(other.steady);
        if time.abs_diff(other.time) > 1_000 { time } else { other.time }
    }

    /// The time of day at an earlier or later steady time.
    pub fn time_at(self, steady: Millis) -> Millis {
        self.time.saturating_sub(self.steady.saturating_sub(steady))
    }
}

/// For unit tests only. Elsewhere, a time of day must not pass as a steady time by mistake.
#[cfg(test)]
impl From<Millis> for Moment {
    fn from(time: Millis) -> Moment {
        Moment::unstepped(time)
    }
}

/// A clock. Clones share it.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    /// The proven time of day minus the steady time, or [`UNPROVEN`].
    proven: Arc<AtomicI64>,
    /// Whether a service that verifies the time of signatures has proven it.
    verified: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
enum Source {
    /// The system's clocks. The time of day minus [`uptime`] at the start.
    System(Millis),
    Manual(Arc<ManualClock>),
}

/// A local clock that only tests move.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicI64,
    steady: AtomicI64,
}

impl ManualClock {
    /// A clock that is stopped at `time`.
    pub fn new(time: Millis) -> Arc<ManualClock> {
        Arc::new(ManualClock { wall: AtomicI64::new(time), steady: AtomicI64::new(time) })
    }

    /// Time passes.
    pub fn advance(&self, millis: Millis) {
        self.steady.fetch_add(millis, Ordering::Relaxed);
        self.step(millis);
    }

    /// The local clock is set, forward or back.
    pub fn step(&self, millis: Millis) {
        self.wall.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Clock {
        Clock::of(Source::System(wall().saturating_sub(uptime())))
    }

    /// A clock that only tests move.
    pub fn manual(clock: &Arc<ManualClock>) -> Clock {
        Clock::of(Source::Manual(clock.clone()))
    }

    fn of(source: Source) -> Clock {
        Clock { source, proven: Arc::new(AtomicI64::new(UNPROVEN)), verified: Arc::default() }
    }

    /// The same local clock, with its own proven time.
    pub(crate) fn fork(&self) -> Clock {
        let proven = AtomicI64::new(self.proven.load(Ordering::Relaxed));
        Clock { source: self.source.clone(), proven: Arc::new(proven), verified: Arc::default() }
    }

    /// The current time of day.
    pub fn now(&self) -> Millis {
        self.moment().time
    }

    /// The current moment.
    pub fn moment(&self) -> Moment {
        let (wall, steady) = self.source.read();
        let proven = self.proven.load(Ordering::Relaxed);
        let expected = steady.saturating_add(proven);
        let trusted = proven == UNPROVEN || wall.abs_diff(expected) <= TOLERANCE.unsigned_abs();
        Moment { time: if trusted { wall } else { expected }, steady }
    }

    /// Milliseconds by which the local clock is behind the time of day. 0 if the local clock is used.
    pub(crate) fn behind(&self) -> Millis {
        let (wall, _) = self.source.read();
        let behind = self.now().saturating_sub(wall);
        if behind.unsigned_abs() > TOLERANCE.unsigned_abs() { behind } else { 0 }
    }

    /// The service has proven that this was the time of day.
    pub(crate) fn prove(&self, moment: Moment) {
        let offset = moment.time.saturating_sub(moment.steady);
        self.verified.store(true, Ordering::SeqCst);
        self.proven.store(offset, Ordering::SeqCst);
    }

    /// A service that may not verify the time of signatures accepted this one. It has no effect once a
    /// service that verifies it has proven another.
    pub(crate) fn suggest(&self, moment: Moment) {
        let before = self.proven.load(Ordering::SeqCst);
        if self.verified.load(Ordering::SeqCst) {
            return;
        }
        let offset = moment.time.saturating_sub(moment.steady);
        // Fails if another service proves a time now.
        let _ = self.proven.compare_exchange(before, offset, Ordering::SeqCst, Ordering::SeqCst);
    }
}

impl Source {
    /// The time of day of the local clock, and the steady time.
    fn read(&self) -> (Millis, Millis) {
        match self {
            Source::System(start) => (wall(), start.saturating_add(uptime())),
            Source::Manual(clock) => {
                (clock.wall.load(Ordering::Relaxed), clock.steady.load(Ordering::Relaxed))
            }
        }
    }
}

/// The time of day of the system's clock. A time before 1970 counts as 1970.
fn wall() -> Millis {
    to_millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Milliseconds since some moment in the past, including the time when the machine was suspended.
#[cfg(target_os = "linux")]
fn uptime() -> Millis {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

/// Milliseconds since the first call.
#[cfg(not(target_os = "linux"))]
fn uptime() -> Millis {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    to_millis(START.get_or_init(std::time::Instant::now).elapsed())
}

/// A duration in milliseconds, at most [`Millis::MAX`].
pub fn to_millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Millis = 3_600_000;

    #[test]
    fn an_unproven_clock_follows_the_local_one() {
        let local = ManualClock::new(5 * HOUR);
        let clock = Clock::manual(&local);
        local.advance(10);
        local.step(-2 * HOUR);
        assert_eq!(clock.moment(), Moment { time: 3 * HOUR + 10, steady: 5 * HOUR + 10 });
        assert_eq!(clock.moment().time_at(5 * HOUR), 3 * HOUR);
        assert_eq!(clock.moment().time_of((5 * HOUR).into()), 3 * HOUR);
        let start = Moment { time: 3 * HOUR + 1, steady: 5 * HOUR };
        assert_eq!(clock.moment().time_of(start), 3 * HOUR + 1, "the clocks only tick differently");
        assert_eq!(clock.behind(), 0);
    }

    #[test]
    fn a_proven_clock_ignores_large_steps_and_follows_small_ones() {
        for step in [2 * HOUR, -2 * HOUR, 720 * HOUR, -720 * HOUR, TOLERANCE + 1, -TOLERANCE - 1] {
            let local = ManualClock::new(1_000 * HOUR);
            let clock = Clock::manual(&local);
            clock.prove(clock.moment());
            local.step(step);
            local.advance(5);
            assert_eq!((clock.now(), clock.behind()), (1_000 * HOUR + 5, -step), "{step}");
            local.step(-step);
            assert_eq!((clock.now(), clock.behind()), (1_000 * HOUR + 5, 0), "{step}");
        }
        let local = ManualClock::new(1_000 * HOUR);
        let clock = Clock::manual(&local);
        clock.prove(clock.moment());
        local.step(TOLERANCE);
        assert_eq!((clock.now(), clock.behind()), (1_000 * HOUR + TOLERANCE, 0));
    }

    #[test]
    fn a_correction_holds_until_another_time_is_proven() {
        let local = ManualClock::new(HOUR);
        let clock = Clock::manual(&local);
        let fork = clock.fork();
        fork.prove(Moment { time: 900 * HOUR, ..clock.moment() });
        assert_eq!((fork.now(), clock.now()), (900 * HOUR, HOUR));
        // The local clock is corrected, and later the service moves on, as after a paused machine.
        local.step(899 * HOUR);
        assert_eq!((fork.now(), fork.behind()), (900 * HOUR, 0));
        local.step(HOUR);
        assert_eq!(fork.now(), 900 * HOUR);
        fork.prove(Moment { time: 901 * HOUR, ..fork.moment() });
        assert_eq!((fork.now(), fork.behind()), (901 * HOUR, 0));
    }

    #[test]
    fn a_suggested_time_holds_until_one_is_proven() {
        let local = ManualClock::new(HOUR);
        let clock = Clock::manual(&local);
        clock.suggest(clock.moment());
        local.step(2 * HOUR);
        assert_eq!(clock.now(), HOUR);
        clock.prove(Moment { time: 900 * HOUR, ..clock.moment() });
        clock.suggest(Moment { time: HOUR, ..clock.moment() });
        assert_eq!(clock.now(), 900 * HOUR);
    }

    #[test]
    fn the_system_clock_starts_with_equal_times() {
        let Moment { time, steady } = Clock::system().moment();
        assert!(time.abs_diff(steady) < 60_000, "{time} {steady}");
    }
}
