//! Queries over a [`Snapshot`]: filter, order and page of a list of devices.
//!
//! The page `/devices`, `/api/v1/devices` and the command `devices` share it. A [`Query`] comes
//! from URL parameters (`params`) or the command line. `select` finds the rows, `scope` reports
//! whether the list is complete, `record` defines the output fields, `output` writes JSON and CSV,
//! and `table` writes to a terminal. It does not depend on HTTP or the configuration.
//!
//! Lists and metrics use the same definitions, so their counts agree.

mod filter;
mod output;
mod params;
mod record;
mod scope;
mod select;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;

pub use filter::Filter;
pub use output::{ListFormat, write_csv, write_json};
pub use params::{BadParameter, Params};
pub use record::{Columns, Listing, Record, iso};
pub use scope::{DiscoveryState, NotKnown, Scope, UserCounts};
pub use select::{QueryResult, Row, find};
pub use table::write_table;

#[cfg(doc)]
use crate::inventory::Snapshot;
use crate::named::named_values;

/// Which devices to list, and in what order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// The devices that match.
    pub filter: Filter,
    /// The field to order by.
    pub sort: Sort,
    /// `None` for the default order of `sort`.
    pub order: Option<Order>,
    /// The page size; `None` for all devices.
    pub limit: Option<usize>,
    /// The page, counted from 1. Ignored without a limit.
    pub page: usize,
}

impl Query {
    /// The effective order.
    pub fn order(&self) -> Order {
        self.order.unwrap_or(self.sort.default_order())
    }

    /// The number of rows on earlier pages.
    pub fn skip(&self) -> usize {
        let earlier_pages = self.page.saturating_sub(1);
        self.limit.map_or(0, |limit| limit.saturating_mul(earlier_pages))
    }
}

named_values! {
    /// The direction of a sort: the parameter `order`.
    pub enum Order {
        /// The smallest value first.
        Ascending = "asc",
        /// The largest value first.
        Descending = "desc",
    }
}

impl Order {
    /// The opposite order.
    pub fn reversed(self) -> Order {
        match self {
            Order::Ascending => Order::Descending,
            Order::Descending => Order::Ascending,
        }
    }
}

macro_rules! sorts {
    ($($(#[$attribute:meta])? $name:ident $text:literal $order:ident,)*) => {
        /// The fields to order by. Devices without a value come last in either order. Equal devices
        /// stay in the order of networks, users and app ids.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum Sort {
            $(#[doc = concat!("The field `", $text, "`.")] $(#[$attribute])? $name,)*
        }

        impl Sort {
            /// All fields.
            pub const ALL: &[Sort] = &[$(Sort::$name,)*];

            /// The value of the parameter `sort`: the name of the field.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Sort::$name => $text,)*
                }
            }

            /// The order if the query sets none.
            pub fn default_order(self) -> Order {
                match self {
                    $(Sort::$name => Order::$order,)*
                }
            }
        }
    };
}

sorts! {
    #[default]
    IdleSeconds "idle_seconds" Descending,
    NetworkId "network_id" Ascending,
    NetworkName "network_name" Ascending,
    UserId "user_id" Ascending,
    Username "username" Ascending,
    AppId "app_id" Ascending,
    DeviceType "device_type" Ascending,
    Status "status" Ascending,
    Suspended "suspended" Descending,
    Created "created" Ascending,
    LastLogin "last_login" Ascending,
    SsoMaxIdleSeconds "sso_max_idle_seconds" Ascending,
    SsoExpired "sso_expired" Descending,
    Freshness "freshness" Descending,
    ReadAt "read_at" Ascending,
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
