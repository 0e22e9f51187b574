//! Errors of requests, classified by what the caller can do.

use std::{fmt, time::Duration};

use super::Operation;

/// The kind of an error, a closed set. Metrics use it as the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ErrorKind {
    /// The service does not know the user or network. Permanent.
    NotFound,
    /// The credentials are valid but lack a permission: change a policy.
    Forbidden,
    /// The credentials are missing, expired or wrong: change them.
    Unauthorized,
    /// Throttled: retry at a lower rate.
    RateLimited,
    /// The service rejects the request. Permanent.
    InvalidRequest,
    /// The service failed: retry.
    ServerError,
    /// No response in time: retry.
    Timeout,
    /// The connection failed: retry.
    Connection,
    /// The response cannot be parsed, or the list does not end.
    InvalidResponse,
}

impl ErrorKind {
    /// All kinds, in the order of declaration.
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

    /// The value of the label `reason`.
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

    /// What an operator can do.
    pub fn remedy(self) -> &'static str {
        match self {
            ErrorKind::NotFound => {
                "Check the ids of the network and its users, and the account and region of the network."
            }
            ErrorKind::Forbidden => {
                "The credentials lack a permission, or the network is deleted or belongs to another account or region: compare `check --iam-policy`, the VPC endpoint policy and the id of the network."
            }
            ErrorKind::Unauthorized => {
                "The credentials are missing, expired or wrong, or the network is deleted or belongs to another account or region: `aws sts get-caller-identity` prints the identity."
            }
            ErrorKind::RateLimited => {
                "The service throttles requests: lower poll.requests_per_second."
            }
            ErrorKind::InvalidRequest => {
                "The service rejects the request: check the id of the network."
            }
            ErrorKind::ServerError => "The service failed: try again later.",
            ErrorKind::Timeout | ErrorKind::Connection => {
                "The endpoint cannot be reached: check the region, proxies, firewalls and the VPC endpoint."
            }
            ErrorKind::InvalidResponse => {
                "The response is not from the Wickr API: check endpoint_url and proxies."
            }
        }
    }

    /// Whether a request can be retried after this error.
    pub fn may_be_retried(self) -> bool {
        use ErrorKind::{Connection, RateLimited, ServerError, Timeout};
        self.is_refusal() || matches!(self, RateLimited | ServerError | Timeout | Connection)
    }

    /// Whether the service refused the credentials.
    pub fn is_refusal(self) -> bool {
        matches!(self, ErrorKind::Unauthorized | ErrorKind::Forbidden)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The step of a request that failed before there was a response of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The name of the host has no address.
    Resolve,
    /// The host does not accept a connection.
    Connect,
    /// The proxy refuses, or cannot be reached.
    Proxy,
    /// The certificate is not trusted, or TLS fails.
    Tls,
    /// No provider has credentials, or a provider fails.
    Credentials,
    /// STS refuses the role.
    AssumeRole,
}

impl Step {
    /// Whether the step belongs to a connection.
    pub fn is_connection(self) -> bool {
        !matches!(self, Step::Credentials | Step::AssumeRole)
    }

    /// What an operator can do.
    pub fn remedy(self) -> &'static str {
        match self {
            Step::Resolve => {
                "DNS does not know the host: check the region and endpoint_url, the DNS servers, and whether a VPC endpoint has private DNS names."
            }
            Step::Connect => {
                "The host does not accept the connection: check routes, firewalls, security groups and the VPC endpoint, or set HTTPS_PROXY."
            }
            Step::Proxy => {
                "The proxy refuses the connection or cannot be reached: check HTTPS_PROXY with its username and password, what the proxy allows, and NO_PROXY."
            }
            Step::Tls => {
                "The certificate of the host is not trusted: if a proxy inspects TLS, set AWS_CA_BUNDLE to its certificate authorities; also check the clock."
            }
            Step::Credentials => {
                "Check the source of credentials that the exporter must use: environment variables, AWS_PROFILE and its files, the role of the service account, task or instance. In a container on EC2, the instance metadata needs a hop limit of 2."
            }
            Step::AssumeRole => {
                "STS refuses role_arn: the caller needs sts:AssumeRole, and the trust policy of the role must allow the caller with this external_id."
            }
        }
    }
}

/// The error of a request, after retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The operation.
    pub operation: Operation,
    /// The kind.
    pub kind: ErrorKind,
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    /// The error name of the service, such as `RateLimitError`.
    pub code: Option<String>,
    /// The message of the service or of the cause: one line of bounded length, without secrets.
    pub message: String,
    /// The value of `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Seconds by which the service's clock is ahead of the signature's time, if that can be the cause of
    /// the error.
    pub clock_ahead: Option<i64>,
    /// The step that failed, if there was no response and the step is known.
    pub step: Option<Step>,
}

impl Error {
    /// What an operator can do.
    pub fn remedy(&self) -> &'static str {
        self.step.map_or_else(|| self.kind.remedy(), Step::remedy)
    }

    /// An error with this kind and message; the message is cut to one short line.
    pub fn new(operation: Operation, kind: ErrorKind, message: impl AsRef<str>) -> Error {
        Error {
            operation,
            kind,
            status: None,
            code: None,
            message: one_line(message.as_ref()),
            retry_after: None,
            clock_ahead: None,
            step: None,
        }
    }

    /// Without the message of the service, for a response that can contain secrets.
    pub(super) fn without_message(self) -> Error {
        Error { message: "the message of the service is not shown".into(), ..self }
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

/// Limit of characters.
const MAX_MESSAGE: usize = 300;

/// Replaces control characters with spaces and truncates to [`MAX_MESSAGE`].
pub(super) fn one_line(text: &str) -> String {
    shortened(text, MAX_MESSAGE)
}

/// Replaces control characters with spaces and truncates to `limit` characters.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect();
    if text.chars().nth(limit).is_some() {
        line.push('…');
    }
    line
}

/// The error and its causes, without repetition.
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
    fn kinds_have_retries_remedies_and_distinct_label_values() {
        use ErrorKind::*;
        let retried = [Unauthorized, Forbidden, RateLimited, ServerError, Timeout, Connection];
        for kind in ErrorKind::ALL {
            assert_eq!(kind.may_be_retried(), retried.contains(&kind), "{kind}");
            assert_eq!(kind.is_refusal(), [Unauthorized, Forbidden].contains(&kind));
            assert!(kind.remedy().len() > 20 && kind.remedy().ends_with('.'), "{kind}");
        }
        let names = ErrorKind::ALL.map(|kind| kind.to_string());
        let is_label = |name: &String| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(names.iter().all(is_label), "{names:?}");
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn messages_are_one_line_and_truncated() {
        assert_eq!(one_line("a\tb\r\nc\u{1b}[31m"), "a b  c [31m");
        let longest = "ä".repeat(MAX_MESSAGE);
        assert_eq!(one_line(&longest), longest);
        assert_eq!(one_line(&format!("{longest}x")), format!("{longest}…"));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn chain_contains_each_cause_once() {
        let link = |text, source: Option<Link>| Link { text, source: source.map(Box::new) };
        let deepest = link("refused", None);
        let middle = link("cannot connect: refused", Some(deepest));
        let outer = link("sending failed", Some(middle));
        assert_eq!(chain(&link("alone", None)), "alone");
        assert_eq!(chain(&outer), "sending failed: cannot connect: refused");
    }
}
