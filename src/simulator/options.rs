//! What a simulator is told when it starts.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::credentials::Credential;
use super::faults::Fault;
use super::fleet::Fleet;
use super::timestamps::TimestampForm;

/// The access key that is accepted by default: the one of AWS's own documentation.
pub const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
/// The secret that goes with [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// What to serve, how well and to whom. Fill in what differs from the default:
///
/// ```
/// use wickr_exporter::simulator::Options;
///
/// let options = Options { users: 500, churn: 2.0, ..Options::default() };
/// # assert_eq!(options.networks, 1);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Serve exactly this fleet, in place of one generated from the next four.
    pub fleet: Option<Fleet>,
    /// How many networks to generate.
    pub networks: u32,
    /// How many users in each network.
    pub users: u32,
    /// How many devices each user has.
    pub devices_per_user: Count,
    /// The source of all chance: the fleet, the events, faults with a probability.
    pub seed: u64,
    /// Events a second: devices log in, come and go, are suspended. 0 is a still life.
    pub churn: f64,
    /// How long each answer takes at least.
    pub latency: Latency,
    /// Requests a second over everything, with one second's worth in reserve; none is no
    /// limit.
    pub rate_limit: Option<f64>,
    /// Whether an answer beyond the rate limit says `Retry-After`. The service does not.
    pub retry_after: bool,
    /// Faults from the start; more can be added while it runs.
    pub faults: Vec<Fault>,
    /// The region that requests must be signed for.
    pub region: String,
    /// The account that owns the networks which name none.
    pub account: String,
    /// Who may ask.
    pub credentials: Vec<Credential>,
    /// How `created` and `lastLogin` are written.
    pub timestamps: TimestampForm,
    /// The zone of those forms that name none.
    pub timezone: TimeZone,
    /// How likely a page is short, or empty though another follows (0 to 1).
    pub empty_pages: f64,
    /// What the service says of a user that it does not know.
    pub unknown_user: UnknownUser,
    /// What it says of a request whose clock is wrong.
    pub clock_error: ClockError,
    /// How many requests [`Requests`](super::Requests) remembers.
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

/// A number of something for each: a figure (`5`) or a range, both ends in it (`0..250`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The least.
    pub min: u32,
    /// The most.
    pub max: u32,
}

impl std::str::FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let figure = |part: &str| {
            part.trim()
                .parse::<u32>()
                .map_err(|_| format!("`{text}` is neither a figure like 5 nor a range like 0..250"))
        };
        let (min, max) = span(text, figure)?;
        if min > max {
            return Err(format!("the range `{text}` ends before it begins"));
        }
        Ok(Self { min, max })
    }
}

/// How long an answer takes: always the same (`20ms`) or anything between (`10ms..80ms`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// The least.
    pub min: Duration,
    /// The most.
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
        let duration = |part: &str| {
            humantime::parse_duration(part.trim()).map_err(|_| {
                format!("`{text}` is neither a time like 20ms nor a range like 10ms..80ms")
            })
        };
        let (min, max) = span(text, duration)?;
        if min > max {
            return Err(format!("the range `{text}` ends before it begins"));
        }
        Ok(Self { min, max })
    }
}

/// Both ends of `a..b`, or of `a` alone.
fn span<T: Copy>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<(T, T), String> {
    match text.split_once("..") {
        Some((min, max)) => Ok((parse(min)?, parse(max)?)),
        None => parse(text).map(|figure| (figure, figure)),
    }
}

/// What the service says of a user that it does not know: its documents show both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownUser {
    /// 404 ResourceNotFoundError, `User not found.`
    #[default]
    NotFound,
    /// 400 BadRequestError, `Invalid userId.`
    BadRequest,
}

/// What the service says of a request that is more than five minutes off.
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
    fn counts_and_latencies_are_figures_or_ranges() {
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
