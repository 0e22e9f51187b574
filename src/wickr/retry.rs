//! Whether and when a failed request is sent again. The policy alone: nothing here sends.
//!
//! - Throttling, server errors, broken connections and time-outs are repeated, up to a number of
//!   attempts, after a wait drawn evenly from zero to a bound that doubles (full jitter: clients
//!   that failed together do not come back together).
//! - A `Retry-After` is honoured as a least wait. One that is longer than a poll should stand still
//!   for ends the attempts: the next poll will ask again.
//! - A refusal of the caller (401, 403) is repeated once, for credentials may have been replaced;
//!   a refusal for the clock is repeated once, with the server's time.
//! - Everything else would fail the same way again.

use std::time::Duration;

use super::{Error, ErrorKind};

/// The longest `Retry-After` that is waited for.
const LONGEST_HINT: Duration = Duration::from_secs(60);
/// The bound of the first wait.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The bound of the first wait after throttling: what was too fast wants more than a blink.
const FIRST_WAIT_THROTTLED: Duration = Duration::from_millis(500);
/// The bound of all waits without a hint.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// What to do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stands.
    GiveUp,
    /// Send it again after this long.
    After(Duration),
    /// Set the clock right and send it again.
    WithServerTime {
        /// The seconds by which the server is ahead.
        ahead: i64,
    },
    /// Fetch credentials anew and send it again.
    WithNewCredentials,
}

/// What has been tried for one request so far.
#[derive(Debug)]
pub(super) struct Attempts {
    most: u32,
    /// Attempts that count against `most`.
    made: u32,
    refreshed: bool,
    clock_set: bool,
}

impl Attempts {
    /// None yet, of `most`.
    pub(super) fn new(most: u32) -> Attempts {
        Attempts { most, made: 0, refreshed: false, clock_set: false }
    }

    /// Judges a failed attempt; `random` is drawn evenly from 0 to 1.
    pub(super) fn judge(&mut self, error: &Error, random: f64) -> Verdict {
        if let Some(ahead) = error.clock_ahead
            && !self.clock_set
        {
            self.clock_set = true;
            return Verdict::WithServerTime { ahead };
        }
        if error.kind.is_refusal() && error.status.is_some() && !self.refreshed {
            self.refreshed = true;
            return Verdict::WithNewCredentials;
        }
        let first = match error.kind {
            ErrorKind::RateLimited => FIRST_WAIT_THROTTLED,
            ErrorKind::ServerError | ErrorKind::Timeout | ErrorKind::Connection => FIRST_WAIT,
            _ => return Verdict::GiveUp,
        };
        self.made += 1;
        if self.made >= self.most {
            return Verdict::GiveUp;
        }
        let bound = (first * 2u32.saturating_pow(self.made - 1).min(1 << 10)).min(LONGEST_WAIT);
        match error.retry_after.unwrap_or_default() {
            hint if hint > LONGEST_HINT => Verdict::GiveUp,
            hint => Verdict::After(hint + bound.mul_f64(random)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wickr::Operation;

    fn error(kind: ErrorKind) -> Error {
        Error { status: Some(400), ..Error::new(Operation::ListUsers, kind, "x") }
    }

    #[test]
    fn what_may_pass_is_repeated_up_to_the_last_attempt_with_growing_bounds() {
        for kind in [ErrorKind::ServerError, ErrorKind::Timeout, ErrorKind::Connection] {
            let mut attempts = Attempts::new(4);
            let waits: Vec<_> = (0..4).map(|_| attempts.judge(&error(kind), 1.0)).collect();
            let after = |millis| Verdict::After(Duration::from_millis(millis));
            assert_eq!(waits, [after(200), after(400), after(800), Verdict::GiveUp]);
        }
        let throttled = error(ErrorKind::RateLimited);
        assert_eq!(Attempts::new(0).judge(&throttled, 0.0), Verdict::GiveUp);
        assert_eq!(Attempts::new(1).judge(&throttled, 0.0), Verdict::GiveUp);
        assert_eq!(Attempts::new(2).judge(&throttled, 0.0), Verdict::After(Duration::ZERO));
        let mut many = Attempts::new(100);
        for _ in 0..99 {
            assert!(
                matches!(many.judge(&throttled, 1.0), Verdict::After(wait) if wait <= LONGEST_WAIT)
            );
        }
    }

    #[test]
    fn the_rest_is_not_repeated() {
        for kind in [ErrorKind::NotFound, ErrorKind::InvalidRequest, ErrorKind::InvalidResponse] {
            assert_eq!(Attempts::new(5).judge(&error(kind), 0.5), Verdict::GiveUp);
        }
    }

    #[test]
    fn a_hint_is_a_least_wait_and_a_long_one_the_end() {
        let hinted = |seconds| Error {
            retry_after: Some(Duration::from_secs(seconds)),
            ..error(ErrorKind::RateLimited)
        };
        let judge = |e, random| Attempts::new(5).judge(&e, random);
        assert_eq!(judge(hinted(3), 0.0), Verdict::After(Duration::from_secs(3)));
        assert_eq!(judge(hinted(3), 1.0), Verdict::After(Duration::from_millis(3500)));
        assert_eq!(judge(hinted(60), 0.0), Verdict::After(LONGEST_HINT));
        assert_eq!(judge(hinted(61), 0.0), Verdict::GiveUp);
        assert_eq!(judge(hinted(u64::MAX), 0.0), Verdict::GiveUp);
    }

    #[test]
    fn refusals_are_repeated_once_each() {
        let mut attempts = Attempts::new(5);
        let clock = Error { clock_ahead: Some(600), ..error(ErrorKind::Unauthorized) };
        assert_eq!(attempts.judge(&clock, 0.0), Verdict::WithServerTime { ahead: 600 });
        assert_eq!(attempts.judge(&clock, 0.0), Verdict::WithNewCredentials);
        assert_eq!(attempts.judge(&error(ErrorKind::Forbidden), 0.0), Verdict::GiveUp);
        // Credentials that could not be had at all are not asked for twice.
        let none = Error { status: None, ..error(ErrorKind::Unauthorized) };
        assert_eq!(Attempts::new(5).judge(&none, 0.0), Verdict::GiveUp);
    }
}
