//! The configuration of a simulator.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::credentials::Credential;
use super::faults::Fault;
use super::fleet::Fleet;
use super::timestamps::TimestampForm;

/// The default access key, from AWS's documentation.
pub const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
/// The secret key of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The configuration of a simulator.
///
/// ```
/// use wickr_exporter::simulator::Options;
///
/// let options = Options { users: 500, churn: 2.0, ..Options::default() };
/// # assert_eq!(options.networks, 1);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Serve this fleet instead of a generated one.
    pub fleet: Option<Fleet>,
    /// Networks to generate.
    pub networks: u32,
    /// Users of each generated network.
    pub users: u32,
    /// Devices of each generated user.
    pub devices_per_user: Count,
    /// Seed of the fleet, the changes and the faults' probabilities.
    pub seed: u64,
    /// Changes to devices per second: logins, additions, removals, suspensions. 0 disables them.
    pub churn: f64,
    /// Delay of every response.
    pub latency: Latency,
    /// Requests per second, with a burst of one second's worth. `None` is no limit.
    pub rate_limit: Option<f64>,
    /// Send `Retry-After` beyond the rate limit. The service does not.
    pub retry_after: bool,
    /// Initial faults.
    pub faults: Vec<Fault>,
    /// The region that requests must be signed for.
    pub region: String,
    /// The owner of networks without an account of their own.
    pub account: String,
    /// Accepted credentials.
    pub credentials: Vec<Credential>,
    /// The format of `created` and `lastLogin`.
    pub timestamps: TimestampForm,
    /// The time zone of the formats.
    pub timezone: TimeZone,
    /// Probability (0 to 1) that a page is short or empty although another follows.
    pub empty_pages: f64,
    /// The error for an unknown user.
    pub unknown_user: UnknownUser,
    /// The error for a request whose clock is off.
    pub clock_error: ClockError,
    /// How many requests [`Requests`](super::Requests) retains.
    pub request_log: usize,
}

impl Options {
    /// The defaults, with this fleet.
    pub fn serving(fleet: Fleet) -> Self {
        Self { fleet: Some(fleet), ..Self::default() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fleet: None,
            networks: 1,
            users: 10,
            devices_per_user: Count { min: 0, max: 8 },
            seed: 1,
            churn: 0.0,
            latency: Latency::default(),
            rate_limit: None,
            retry_after: false,
            faults: Vec::new(),
            region: "us-east-1".to_owned(),
            account: "111122223333".to_owned(),
            credentials: vec![Credential::new(ACCESS_KEY, SECRET_KEY)],
            timestamps: TimestampForm::default(),
            timezone: TimeZone::UTC,
            empty_pages: 0.0,
            unknown_user: UnknownUser::default(),
            clock_error: ClockError::default(),
            request_log: 10_000,
        }
    }
}

/// A number (`5`) or an inclusive range (`0..250`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The minimum.
    pub min: u32,
    /// The maximum.
    pub max: u32,
}

impl std::str::FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = parse_range(text, |part| part.parse().ok()).ok_or_else(|| {
            format!("`{text}` is neither a number like 5 nor a range like 0..250")
        })?;
        if min > max {
            return Err(format!("the range `{text}` ends before it starts"));
        }
        Ok(Self { min, max })
    }
}

/// A fixed delay (`20ms`) or an inclusive range (`10ms..80ms`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// The minimum.
    pub min: Duration,
    /// The maximum.
    pub max: Duration,
}

impl From<Duration> for Latency {
    fn from(latency: Duration) -> Self {
        Self { min: latency, max: latency }
    }
}

impl std::str::FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = parse_range(text, |part| humantime::parse_duration(part).ok())
            .ok_or_else(|| {
                format!("`{text}` is neither a duration like 20ms nor a range like 10ms..80ms")
            })?;
        if min > max {
            return Err(format!("the range `{text}` ends before it starts"));
        }
        Ok(Self { min, max })
    }
}

fn parse_range<T: Copy>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<(T, T)> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    Some((parse(min.trim())?, parse(max.trim())?))
}

/// The error for an unknown user; the service's documentation shows both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownUser {
    /// 404 ResourceNotFoundError, `User not found.`
    #[default]
    NotFound,
    /// 400 BadRequestError, `Invalid userId.`
    BadRequest,
}

/// The error for a request whose clock is off by more than five minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockError {
    /// 403 InvalidSignatureException, `Signature expired: …`
    #[default]
    InvalidSignature,
    /// 403 RequestTimeTooSkewed
    RequestTimeTooSkewed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_latencies_parse_as_numbers_or_ranges() {
        assert_eq!("5".parse(), Ok(Count { min: 5, max: 5 }));
        assert_eq!("0..250".parse(), Ok(Count { min: 0, max: 250 }));
        assert!("250..0".parse::<Count>().is_err());
        assert!("many".parse::<Count>().is_err());
        assert_eq!("20ms".parse(), Ok(Latency::from(Duration::from_millis(20))));
        let range: Latency = "10ms..1s".parse().unwrap();
        assert_eq!((range.min, range.max), (Duration::from_millis(10), Duration::from_secs(1)));
        assert!("20".parse::<Latency>().is_err());
    }
}
