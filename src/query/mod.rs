//! The devices behind a figure: which of those that are known fit a filter, in what order, and a
//! page of them.
//!
//! Plain computing over a [`Snapshot`], shared by the page at `/devices`, by `/api/v1/devices` and
//! by the command `devices`. It knows neither HTTP nor configuration: a [`Query`] comes in, as
//! parameters (`params`) or otherwise, and rows come out (`select`), with what must be known to
//! judge whether they are all that there are (`scope`). `record` has the names of the fields,
//! `output` writes them as JSON and CSV, `table` for a terminal.
//!
//! What counts as what is decided as for the metrics: a list of devices and a gauge that counts
//! them agree.

mod filter;
mod output;
mod params;
mod record;
mod scope;
mod select;
mod table;
#[cfg(test)]
mod tests;
mod visible;
mod words;

use std::fmt;

pub use filter::Filter;
pub use output::{Format, write_csv, write_json};
pub(crate) use params::short;
pub use params::{BadParameter, Params};
pub use record::{Columns, Listing, Record, iso};
pub use scope::{Discovery, NotKnown, Scope, UserCounts};
pub use select::{Found, Row, find};
pub use table::write_table;
pub(crate) use visible::visible;
pub(crate) use words::{counted, grouped};

#[cfg(doc)]
use crate::inventory::Snapshot;

/// Which devices, in what order, and how many of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Which.
    pub filter: Filter,
    /// By what they are ordered.
    pub sort: Sort,
    /// From the greatest to the least; none for the order that people expect of the field.
    pub order: Option<Order>,
    /// At most so many; all without it.
    pub limit: Option<usize>,
    /// Which lot of so many, counted from 1; of no meaning without a limit.
    pub page: usize,
}

impl Query {
    /// The order that is in force.
    pub fn order(&self) -> Order {
        self.order.unwrap_or(self.sort.natural_order())
    }

    /// How many rows come before the first that is wanted.
    pub fn skip(&self) -> usize {
        let before = self.page.saturating_sub(1);
        self.limit.map_or(0, |limit| limit.saturating_mul(before))
    }
}

/// Upwards or downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The least comes first.
    Ascending,
    /// The greatest comes first.
    Descending,
}

impl Order {
    /// The value of the parameter `order`.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::Ascending => "asc",
            Order::Descending => "desc",
        }
    }

    /// The other one.
    pub fn reversed(self) -> Order {
        match self {
            Order::Ascending => Order::Descending,
            Order::Descending => Order::Ascending,
        }
    }
}

macro_rules! sorts {
    ($($name:ident $text:literal $order:ident,)*) => {
        /// The fields that devices can be ordered by. What has no value comes last, whatever the
        /// order; what is equal stays in the order of networks, users and app ids.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum Sort {
            /// How long nobody has logged in.
            #[default]
            IdleSeconds,
            $(#[doc = concat!("The field `", $text, "`.")] $name,)*
        }

        impl Sort {
            /// All of them.
            pub const ALL: &[Sort] = &[Sort::IdleSeconds, $(Sort::$name,)*];

            /// The value of the parameter `sort`: the name of the field.
            pub fn as_str(self) -> &'static str {
                match self {
                    Sort::IdleSeconds => "idle_seconds",
                    $(Sort::$name => $text,)*
                }
            }

            /// The order that people expect.
            pub fn natural_order(self) -> Order {
                match self {
                    Sort::IdleSeconds => Order::Descending,
                    $(Sort::$name => Order::$order,)*
                }
            }
        }
    };
}

sorts! {
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
