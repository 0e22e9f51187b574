//! Parsing a request into an operation, its resource and its parameters.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use percent_encoding::percent_decode_str;

use super::errors::ApiError;
use super::paging::Sort;

/// An operation that the simulator implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `GET /networks`
    ListNetworks,
    /// `GET /networks/{networkId}/users`
    ListUsers,
    /// `GET /networks/{networkId}/users/{userId}/devices`
    ListDevicesForUser,
    /// `GET /networks/{networkId}/security-groups`
    ListSecurityGroups,
    /// `GET /networks/{networkId}/users/count`
    GetUsersCount,
    /// `GET /networks/{networkId}/bots`
    ListBots,
    /// `GET /networks/{networkId}/data-retention-bots`
    GetDataRetentionBot,
    /// `GET /networks/{networkId}/guest-users/count`
    GetGuestUserHistoryCount,
    /// `GET /networks/{networkId}/guest-users/blocklist`
    ListBlockedGuestUsers,
    /// `GET /networks/{networkId}`
    GetNetwork,
    /// `GET /networks/{networkId}/settings`
    GetNetworkSettings,
    /// `GET /networks/{networkId}/oidc`
    GetOidcInfo,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 12] = [
        Self::ListNetworks,
        Self::ListUsers,
        Self::ListDevicesForUser,
        Self::ListSecurityGroups,
        Self::GetUsersCount,
        Self::ListBots,
        Self::GetDataRetentionBot,
        Self::GetGuestUserHistoryCount,
        Self::ListBlockedGuestUsers,
        Self::GetNetwork,
        Self::GetNetworkSettings,
        Self::GetOidcInfo,
    ];

    /// The operations of a network without further ids, by the path below the network.
    const OF_NETWORK: &[(&[&str], Self)] = &[
        (&["users"], Self::ListUsers),
        (&["security-groups"], Self::ListSecurityGroups),
        (&["users", "count"], Self::GetUsersCount),
        (&["bots"], Self::ListBots),
        (&["data-retention-bots"], Self::GetDataRetentionBot),
        (&["guest-users", "count"], Self::GetGuestUserHistoryCount),
        (&["guest-users", "blocklist"], Self::ListBlockedGuestUsers),
        (&[], Self::GetNetwork),
        (&["settings"], Self::GetNetworkSettings),
        (&["oidc"], Self::GetOidcInfo),
    ];

    /// Its name in the API reference.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ListNetworks => "ListNetworks",
            Self::ListUsers => "ListUsers",
            Self::ListDevicesForUser => "ListDevicesForUser",
            Self::ListSecurityGroups => "ListSecurityGroups",
            Self::GetUsersCount => "GetUsersCount",
            Self::ListBots => "ListBots",
            Self::GetDataRetentionBot => "GetDataRetentionBot",
            Self::GetGuestUserHistoryCount => "GetGuestUserHistoryCount",
            Self::ListBlockedGuestUsers => "ListBlockedGuestUsers",
            Self::GetNetwork => "GetNetwork",
            Self::GetNetworkSettings => "GetNetworkSettings",
            Self::GetOidcInfo => "GetOidcInfo",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|operation| operation.name() == text);
        known.ok_or_else(|| {
            format!(
                "unknown operation `{text}`; known are {}",
                Self::ALL.map(Self::name).join(", ")
            )
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
        let segments: Vec<String> = path.strip_prefix('/')?.split('/').map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (operation, network, user) = match segments[..] {
            ["networks"] => (Operation::ListNetworks, "", ""),
            ["networks", network, "users", user, "devices"] => {
                (Operation::ListDevicesForUser, network, user)
            }
            ["networks", network, ref rest @ ..] if !network.is_empty() => {
                let known = Operation::OF_NETWORK.iter().find(|(path, _)| *path == rest);
                (known?.1, network, "")
            }
            _ => return None,
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Some(Self {
            operation,
            network: network.to_owned(),
            user: user.to_owned(),
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
        Ok(Parameters { size, sort: Sort { fields, descending }, status: status.ok().flatten() })
    }
}

/// Validated parameters.
#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) size: usize,
    pub(super) sort: Sort,
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
        assert_eq!((parameters.size, parameters.sort), (10, Sort::default()));
    }
}
