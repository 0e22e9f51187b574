//! The API operations and their URLs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{NetworkId, UserId};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A read-only operation. All are GET requests.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// All operations.
            pub const ALL: [Operation; [$(stringify!($name)),*].len()] = [$(Operation::$name),*];

            /// The name in the API reference, in IAM actions and in the label `operation`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Operation::$name => stringify!($name),)*
                }
            }
        }
    };
}

operations! {
    /// The devices of one user.
    ListDevicesForUser,
    /// The users of one network.
    ListUsers,
    /// The networks of the account in the region.
    ListNetworks,
    /// The security groups of one network.
    ListSecurityGroups,
    /// The number of a network's users, by status.
    GetUsersCount,
    /// The bots of a network.
    ListBots,
    /// The data retention bot of a network.
    GetDataRetentionBot,
    /// The number of guest users by billing period.
    GetGuestUserHistoryCount,
    /// The guest users that a network blocks.
    ListBlockedGuestUsers,
    /// One network.
    GetNetwork,
    /// The settings of one network.
    GetNetworkSettings,
    /// The SSO configuration of a network. The response can carry client secrets.
    GetOidcInfo,
}

/// A resource that can be requested: a list, or a single response.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) operation: Operation,
    /// The path below the endpoint, which needs no encoding, and the encoded query without the token.
    target: String,
}

impl List {
    /// Sorted by creation time, which does not change: a login between two pages neither skips nor
    /// repeats a device.
    pub(super) fn devices(network: &NetworkId, user: &UserId, page_size: u16) -> List {
        List {
            operation: Operation::ListDevicesForUser,
            target: format!(
                "/networks/{network}/users/{user}/devices\
                 ?maxResults={page_size}&sortDirection=ASC&sortFields=created"
            ),
        }
    }

    /// Sorted, because page tokens are offsets: without a stable order, a page can skip entries.
    pub(super) fn users(network: &NetworkId, filter: &ListUsersFilter, page_size: u16) -> List {
        let mut target = format!(
            "/networks/{network}/users?maxResults={page_size}&sortDirection=ASC&sortFields=username"
        );
        if let Some(status) = filter.status {
            target.push_str(&format!("&status={status}"));
        }
        if let Some(group) = &filter.group {
            target.push_str("&groupId=");
            target.extend(encode(group));
        }
        List { operation: Operation::ListUsers, target }
    }

    pub(super) fn networks(page_size: u16) -> List {
        List {
            operation: Operation::ListNetworks,
            target: format!(
                "/networks?maxResults={page_size}&sortDirection=ASC&sortFields=networkId"
            ),
        }
    }

    pub(super) fn security_groups(network: &NetworkId, page_size: u16) -> List {
        List {
            operation: Operation::ListSecurityGroups,
            target: format!(
                "/networks/{network}/security-groups\
                 ?maxResults={page_size}&sortDirection=ASC&sortFields=id"
            ),
        }
    }

    /// A list or a single response of a network, from `path` below `/networks/{networkId}/`.
    pub(super) fn of_network(
        operation: Operation,
        network: &NetworkId,
        path: &str,
        query: &str,
    ) -> List {
        let below = if path.is_empty() { "" } else { "/" };
        let before = if query.is_empty() { "" } else { "?" };
        List { operation, target: format!("/networks/{network}{below}{path}{before}{query}") }
    }

    /// The path without the query.
    pub(super) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }

    /// The URL of the page of `token`, or of the first page.
    pub(super) fn url(&self, endpoint: &str, token: Option<&str>) -> String {
        let mut url = [endpoint, &self.target].concat();
        if let Some(token) = token {
            url.push_str("&nextToken=");
            url.extend(encode(token));
        }
        url
    }
}

/// Filters of ListUsers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListUsersFilter {
    /// 1 for pending, 2 for active.
    pub status: Option<u8>,
    /// The id of a security group.
    pub group: Option<String>,
}

/// All except RFC 3986's unreserved characters, as SigV4 requires.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn encode(text: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(text, RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_page_tokens_for_sigv4() {
        let list = List::devices(&"12345678".parse().unwrap(), &"1001".parse().unwrap(), 100);
        let base = "http://h/networks/12345678/users/1001/devices?maxResults=100&sortDirection=ASC&sortFields=created";
        assert_eq!(list.url("http://h", None), base);
        assert_eq!(
            list.url("http://h", Some("v1:a+b/c=&% é*~-._'")),
            format!("{base}&nextToken=v1%3Aa%2Bb%2Fc%3D%26%25%20%C3%A9%2A~-._%27")
        );
    }

    #[test]
    fn encodes_user_filters() {
        let filter = ListUsersFilter { status: Some(2), group: Some("a b+c".into()) };
        assert_eq!(
            List::users(&"12345678".parse().unwrap(), &filter, 50).url("", None),
            "/networks/12345678/users?maxResults=50&sortDirection=ASC&sortFields=username&status=2&groupId=a%20b%2Bc"
        );
    }
}
