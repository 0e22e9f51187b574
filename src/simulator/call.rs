//! Parsing a request into an operation, its resource and its parameters.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use percent_encoding::percent_decode_str;

use super::errors::ApiError;
use super::paging::ListOrder;

macro_rules! operations {
    ($($name:ident = $path:literal,)*) => {
        /// An operation that the simulator implements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation {
            $(
                #[doc = concat!("`GET ", $path, "`")]
                $name,
            )*
        }

        impl Operation {
            /// All operations.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in the API reference.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Its path in the API reference.
            const fn path(self) -> &'static str {
                match self {
                    $(Self::$name => $path,)*
                }
            }
        }
    };
}

operations! {
    ListNetworks = "/networks",
    ListUsers = "/networks/{networkId}/users",
    ListDevicesForUser = "/networks/{networkId}/users/{userId}/devices",
    ListSecurityGroups = "/networks/{networkId}/security-groups",
    GetUsersCount = "/networks/{networkId}/users/count",
    ListBots = "/networks/{networkId}/bots",
    GetDataRetentionBot = "/networks/{networkId}/data-retention-bots",
    GetGuestUserHistoryCount = "/networks/{networkId}/guest-users/count",
    ListBlockedGuestUsers = "/networks/{networkId}/guest-users/blocklist",
    GetNetwork = "/networks/{networkId}",
    GetNetworkSettings = "/networks/{networkId}/settings",
    GetOidcInfo = "/networks/{networkId}/oidc",
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().copied();
        known.clone().find(|operation| operation.name() == text).ok_or_else(|| {
            let names: Vec<&str> = known.map(Self::name).collect();
            format!("unknown operation `{text}`; known are {}", names.join(", "))
        })
    }
}

/// A parsed request. The ids are decoded but not validated.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    pub(super) network: String,
    pub(super) user: String,
    query: HashMap<String, String>,
}

impl Call {
    /// Parses an encoded path and query. `None` if the path matches no operation.
    pub(super) fn parse(path: &str, query: &str) -> Option<Self> {
        let segments: Vec<String> = path.split('/').map(decode).collect();
        let (operation, ids) = Operation::ALL
            .iter()
            .find_map(|operation| Some((*operation, ids(operation.path(), &segments)?)))?;
        let mut ids = ids.into_iter();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Some(Self {
            operation,
            network: ids.next().unwrap_or_default(),
            user: ids.next().unwrap_or_default(),
            query: query.collect(),
        })
    }

    /// A query parameter; `None` if it is absent or empty.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.parameter("nextToken")
    }

    /// What a token is bound to: the list, its order and its filters, but not its page size.
    pub(super) fn scope(&self) -> String {
        let names = ["sortFields", "sortDirection"].iter().chain(Self::FILTERS);
        let parameters: Vec<Option<&str>> = names.map(|name| self.parameter(name)).collect();
        format!("{}\n{}\n{}\n{parameters:?}", self.operation, self.network, self.user)
    }

    const FILTERS: &[&str] =
        &["status", "groupId", "username", "firstName", "lastName", "displayName", "admin"];

    /// Validates ids and parameters, or returns 422 with all problems.
    pub(super) fn validate(&self, sortable: &[&str]) -> Result<Parameters, ApiError> {
        let mut problems: Vec<(&str, String)> = Vec::new();
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if self.operation != Operation::ListNetworks
            && !(self.network.len() == 8 && digits(&self.network))
        {
            problems.push(("networkId", "must be 8 digits".to_owned()));
        }
        if self.operation == Operation::ListDevicesForUser
            && !((1..=10).contains(&self.user.len()) && digits(&self.user))
        {
            problems.push(("userId", "must be 1 to 10 digits".to_owned()));
        }
        let size = match self.parameter("maxResults").map_or(Ok(10), str::parse) {
            Ok(size @ 1..=100) => size,
            _ => {
                problems.push(("maxResults", "must be between 1 and 100".to_owned()));
                0
            }
        };
        let fields = self.parameter("sortFields").unwrap_or_default();
        let fields: Vec<String> =
            fields.split('+').filter(|field| !field.is_empty()).map(str::to_owned).collect();
        for field in fields.iter().filter(|field| !sortable.contains(&field.as_str())) {
            problems.push(("sortFields", format!("cannot sort by '{field}'")));
        }
        let descending = match self.parameter("sortDirection") {
            None | Some("ASC") => false,
            Some("DESC") => true,
            Some(_) => {
                problems.push(("sortDirection", "must be ASC or DESC".to_owned()));
                false
            }
        };
        let status = self.parameter("status").map(str::parse::<i64>).transpose();
        if status.is_err() {
            problems.push(("status", "must be an integer".to_owned()));
        }
        if !problems.is_empty() {
            return Err(ApiError::validation(&problems));
        }
        Ok(Parameters {
            size,
            sort: ListOrder { fields, descending },
            status: status.ok().flatten(),
        })
    }
}

/// The ids in the segments of a path. `None` if `pattern` does not match.
fn ids(pattern: &str, segments: &[String]) -> Option<Vec<String>> {
    let mut parts = pattern.split('/');
    let mut ids = Vec::new();
    for segment in segments {
        match parts.next()? {
            part if part.starts_with('{') && !segment.is_empty() => ids.push(segment.clone()),
            part if part == segment => {}
            _ => return None,
        }
    }
    parts.next().is_none().then_some(ids)
}

/// Validated parameters.
#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) size: usize,
    pub(super) sort: ListOrder,
    pub(super) status: Option<i64>,
}

/// Lossy: the signature check rejects invalid encodings.
fn decode(text: &str) -> String {
    Cow::into_owned(percent_decode_str(text).decode_utf8_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_paths_of_operations_only() {
        let of = |path| Call::parse(path, "").map(|call| (call.operation, call.network, call.user));
        let found = |operation, network: &str, user: &str| {
            Some((operation, network.to_owned(), user.to_owned()))
        };
        assert_eq!(of("/networks"), found(Operation::ListNetworks, "", ""));
        assert_eq!(of("/networks/1/users"), found(Operation::ListUsers, "1", ""));
        assert_eq!(
            of("/networks/1/users/2/devices"),
            found(Operation::ListDevicesForUser, "1", "2")
        );
        assert_eq!(
            of("/networks/1/security-groups"),
            found(Operation::ListSecurityGroups, "1", "")
        );
        for unknown in [
            "/",
            "/networks/",
            "/networks/1/",
            "/networks/1/users/2",
            "/networks/1/users/2/devices/",
            "/x",
        ] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn validation_reports_all_problems() {
        let call = Call::parse(
            "/networks/1234567x/users/12345678901/devices",
            "maxResults=101&sortFields=created%2Bcolour&sortDirection=UP&status=x",
        );
        let error = call.unwrap().validate(&["created"]).unwrap_err();
        assert_eq!(error.status, 422);
        let fields: Vec<&str> = error.body["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reason| reason["field"].as_str().unwrap())
            .collect();
        let all = ["networkId", "userId", "maxResults", "sortFields", "sortDirection", "status"];
        assert_eq!(fields, all);
    }

    #[test]
    fn parameters_default_as_documented() {
        let call = Call::parse("/networks", "").unwrap();
        let parameters = call.validate(&[]).unwrap();
        assert_eq!((parameters.size, parameters.sort), (10, ListOrder::default()));
    }
}
