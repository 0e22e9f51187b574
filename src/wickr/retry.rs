//! Decides whether and when a failed request is retried.
//!
//! - Throttling, server errors, connection errors and timeouts are retried up to `max_attempts`, with
//!   exponential backoff and full jitter.
//! - `Retry-After` is a minimum wait. If it exceeds 60 seconds, the next poll retries instead.
//! - 401 and 403 are retried once with new credentials, and once with the server's time if the clock
//!   can be the cause.
//! - Other errors are permanent.

use std::time::Duration;

use super::{Error, ErrorKind};

/// Limit of `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Upper bound of the first wait.
const INITIAL_BACKOFF: Duration = Duration::from_millis(200);
/// Upper bound of the first wait after throttling.
const INITIAL_BACKOFF_THROTTLED: Duration = Duration::from_millis(500);
/// Upper bound of every wait, without `Retry-After`.
const MAX_BACKOFF: Duration = Duration::from_secs(20);

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// Return the error.
    GiveUp,
    /// Retry after this time.
    After(Duration),
    /// Retry with the server's time.
    WithServerTime {
        /// Seconds by which the server's clock is ahead of the signature's time.
        ahead: i64,
    },
    /// Get new credentials and retry.
    WithNewCredentials,
}

/// The attempts of one request.
#[derive(Debug)]
pub(super) struct Attempts {
    max: u32,
    /// Attempts that count towards `max`.
    failed: u32,
    new_credentials: bool,
    server_time: bool,
}

impl Attempts {
    pub(super) fn new(max: u32) -> Attempts {
        Attempts { max, failed: 0, new_credentials: false, server_time: false }
    }

    /// Decides after a failed attempt. `random` is uniformly distributed between 0 and 1.
    pub(super) fn decide(&mut self, error: &Error, random: f64) -> RetryDecision {
        if let Some(ahead) = error.clock_ahead
            && !self.server_time
        {
            self.server_time = true;
            return RetryDecision::WithServerTime { ahead };
        }
        if error.kind.is_refusal() && error.status.is_some() && !self.new_credentials {
            self.new_credentials = true;
            return RetryDecision::WithNewCredentials;
        }
        let initial = match error.kind {
            ErrorKind::RateLimited => INITIAL_BACKOFF_THROTTLED,
            ErrorKind::ServerError | ErrorKind::Timeout | ErrorKind::Connection => INITIAL_BACKOFF,
            _ => return RetryDecision::GiveUp,
        };
        self.failed += 1;
        if self.failed >= self.max {
            return RetryDecision::GiveUp;
        }
        let bound = (initial * 2u32.saturating_pow(self.failed - 1).min(1 << 10)).min(MAX_BACKOFF);
        match error.retry_after.unwrap_or_default() {
            retry_after if retry_after > MAX_RETRY_AFTER => RetryDecision::GiveUp,
            retry_after => RetryDecision::After(retry_after + bound.mul_f64(random)),
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
    fn retries_transient_errors_with_exponential_backoff() {
        for kind in [ErrorKind::ServerError, ErrorKind::Timeout, ErrorKind::Connection] {
            let mut attempts = Attempts::new(4);
            let decisions: Vec<_> = (0..4).map(|_| attempts.decide(&error(kind), 1.0)).collect();
            let after = |millis| RetryDecision::After(Duration::from_millis(millis));
            assert_eq!(decisions, [after(200), after(400), after(800), RetryDecision::GiveUp]);
        }
        let throttled = error(ErrorKind::RateLimited);
        let decide = |max| Attempts::new(max).decide(&throttled, 0.0);
        assert_eq!(decide(0), RetryDecision::GiveUp);
        assert_eq!(decide(1), RetryDecision::GiveUp);
        assert_eq!(decide(2), RetryDecision::After(Duration::ZERO));
        let mut attempts = Attempts::new(100);
        for _ in 0..99 {
            let decision = attempts.decide(&throttled, 1.0);
            assert!(matches!(decision, RetryDecision::After(wait) if wait <= MAX_BACKOFF));
        }
    }

    #[test]
    fn does_not_retry_permanent_errors() {
        for kind in [ErrorKind::NotFound, ErrorKind::InvalidRequest, ErrorKind::InvalidResponse] {
            assert_eq!(Attempts::new(5).decide(&error(kind), 0.5), RetryDecision::GiveUp);
        }
    }

    #[test]
    fn retry_after_is_a_minimum_wait_up_to_its_limit() {
        let decide = |seconds, random| {
            let retry_after = Some(Duration::from_secs(seconds));
            let error = Error { retry_after, ..error(ErrorKind::RateLimited) };
            Attempts::new(5).decide(&error, random)
        };
        assert_eq!(decide(3, 0.0), RetryDecision::After(Duration::from_secs(3)));
        assert_eq!(decide(3, 1.0), RetryDecision::After(Duration::from_millis(3500)));
        assert_eq!(decide(60, 0.0), RetryDecision::After(MAX_RETRY_AFTER));
        assert_eq!(decide(61, 0.0), RetryDecision::GiveUp);
        assert_eq!(decide(u64::MAX, 0.0), RetryDecision::GiveUp);
    }

    #[test]
    fn retries_refusals_once_with_server_time_and_once_with_new_credentials() {
        let mut attempts = Attempts::new(5);
        let clock = Error { clock_ahead: Some(600), ..error(ErrorKind::Unauthorized) };
        assert_eq!(attempts.decide(&clock, 0.0), RetryDecision::WithServerTime { ahead: 600 });
        assert_eq!(attempts.decide(&clock, 0.0), RetryDecision::WithNewCredentials);
        assert_eq!(attempts.decide(&error(ErrorKind::Forbidden), 0.0), RetryDecision::GiveUp);
        let no_credentials = Error { status: None, ..error(ErrorKind::Unauthorized) };
        assert_eq!(Attempts::new(5).decide(&no_credentials, 0.0), RetryDecision::GiveUp);
    }
}
