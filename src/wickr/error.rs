//! What can go wrong with a request, named for what can be done about it.

use std::{fmt, time::Duration};

use super::Operation;

/// The kinds of failure: a closed set, which metrics use as the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ErrorKind {
    /// The service does not know the user or network. Asking again will not help.
    NotFound,
    /// Known, but not allowed: a policy is to be changed.
    Forbidden,
    /// Not known, expired or wrongly signed: the credentials are to be changed.
    Unauthorized,
    /// Too fast: ask again, more slowly.
    RateLimited,
    /// The service refuses the request as it stands. Asking again will not help.
    InvalidRequest,
    /// The service failed: ask again.
    ServerError,
    /// No answer in time: ask again.
    Timeout,
    /// No connection, or one that broke: ask again.
    Connection,
    /// An answer that cannot be understood or has no end.
    InvalidResponse,
}

impl ErrorKind {
    /// All of them, in the order of their declaration.
    pub const ALL: [ErrorKind; 9] = [
        ErrorKind::NotFound,
        ErrorKind::Forbidden,
        ErrorKind::Unauthorized,
        ErrorKind::RateLimited,
        ErrorKind::InvalidRequest,
        ErrorKind::ServerError,
        ErrorKind::Timeout,
        ErrorKind::Connection,
        ErrorKind::InvalidResponse,
    ];

    /// The name that metrics and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "not_found",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::InvalidRequest => "invalid_request",
            ErrorKind::ServerError => "server_error",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Connection => "connection",
            ErrorKind::InvalidResponse => "invalid_response",
        }
    }

    /// What its reader can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            ErrorKind::NotFound => {
                "Are the ids of the network and its users right, and is it in this account and region?"
            }
            ErrorKind::Forbidden => {
                "The credentials work but may not do this: see `check --iam-policy`, and the policy of the VPC endpoint if there is one."
            }
            ErrorKind::Unauthorized => {
                "The credentials are missing, expired or wrong: `aws sts get-caller-identity` tells whose they are."
            }
            ErrorKind::RateLimited => "The service throttles: lower poll.requests_per_second.",
            ErrorKind::InvalidRequest => {
                "The service refuses the request as it stands: is the id of the network right?"
            }
            ErrorKind::ServerError => "The service itself fails: try again later.",
            ErrorKind::Timeout | ErrorKind::Connection => {
                "Can this machine reach the endpoint? Check the region, proxies, firewalls and the VPC endpoint."
            }
            ErrorKind::InvalidResponse => {
                "Something else than the Wickr API answers: check endpoint_url and proxies."
            }
        }
    }

    /// Whether a request that failed so may be sent again.
    pub fn may_be_retried(self) -> bool {
        use ErrorKind::{Connection, RateLimited, ServerError, Timeout};
        self.is_refusal() || matches!(self, RateLimited | ServerError | Timeout | Connection)
    }

    /// Whether the caller, and not this one request, is refused.
    pub fn is_refusal(self) -> bool {
        matches!(self, ErrorKind::Unauthorized | ErrorKind::Forbidden)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failed request, after all that could be tried was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What it was that failed.
    pub operation: Operation,
    /// The kind, for metrics and for the caller's decision.
    pub kind: ErrorKind,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The service's own name of the error, where it gave one.
    pub code: Option<String>,
    /// In words: the service's message, or what broke. Bounded, on one line, free of secrets.
    pub message: String,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
    /// Set when the service refused the request for its time: the seconds by which its clock is
    /// ahead of ours.
    pub clock_ahead: Option<i64>,
}

impl Error {
    pub(crate) fn new(operation: Operation, kind: ErrorKind, message: impl AsRef<str>) -> Error {
        Error {
            operation,
            kind,
            status: None,
            code: None,
            message: one_line(message.as_ref()),
            retry_after: None,
            clock_ahead: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.operation.as_str())?;
        match (self.status, &self.code) {
            (Some(status), Some(code)) => write!(f, "{status} {code}: ")?,
            (Some(status), None) => write!(f, "status {status}: ")?,
            (None, _) => {}
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The longest message that is kept of a failure, in characters.
const LONGEST_MESSAGE: usize = 300;

/// `text` on one line, without control characters, of bounded length.
pub(super) fn one_line(text: &str) -> String {
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_MESSAGE).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line
}

/// `error` and its causes in one line, each said once.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_retried_is_what_may_go_better_the_next_time() {
        use ErrorKind::*;
        let retried = [Unauthorized, Forbidden, RateLimited, ServerError, Timeout, Connection];
        for kind in ErrorKind::ALL {
            assert_eq!(kind.may_be_retried(), retried.contains(&kind), "{kind}");
            assert_eq!(kind.is_refusal(), [Unauthorized, Forbidden].contains(&kind));
            assert!(kind.remedy().len() > 20 && kind.remedy().ends_with(['.', '?']), "{kind}");
        }
        let names = ErrorKind::ALL.map(|kind| kind.to_string());
        let is_label = |name: &String| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(names.iter().all(is_label), "{names:?}");
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn a_message_is_one_line_and_says_where_it_was_cut() {
        assert_eq!(one_line("a\tb\r\nc\u{1b}[31m"), "a b  c [31m");
        let whole = "ä".repeat(LONGEST_MESSAGE);
        assert_eq!(one_line(&whole), whole);
        assert_eq!(one_line(&format!("{whole}x")), format!("{whole}…"));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn causes_follow_each_once() {
        let link = |text, source: Option<Link>| Link { text, source: source.map(Box::new) };
        let deepest = link("refused", None);
        let middle = link("cannot connect: refused", Some(deepest));
        let outer = link("sending failed", Some(middle));
        assert_eq!(chain(&link("alone", None)), "alone");
        assert_eq!(chain(&outer), "sending failed: cannot connect: refused");
    }
}
