//! The client of the AWS Wickr Admin API, version 2024-02-01. It sends only GET requests.
//!
//! In reading order: `operation` builds URLs, `client` runs requests, `paging` bounds lists, and `reads` reads any operation of a network. `retry`
//! decides about retries, `rate` and `concurrency` limit requests, and `credentials`, `service_clock` and
//! `signing` authenticate them. `transport` sends a request. `response` classifies an error response,
//! and `wire` and `timestamp` parse a successful one.
//!
//! This module does not know the configuration, the inventory or a metrics library: options are plain
//! values, and metrics implement [`RequestObserver`].

mod client;
mod concurrency;
mod credentials;
mod endpoint;
mod error;
mod ids;
mod interned;
mod operation;
mod paging;
mod rate;
mod reads;
mod response;
mod retry;
mod service_clock;
mod signing;
mod timestamp;
mod transport;
mod wire;

pub use client::{Client, ClientOptions, Outcome, RequestObserver};
pub use concurrency::{ConcurrencyLimiter, NetworkLimiter, PollGuard};
pub use credentials::{CredentialSource, CredentialStore, Role, region_of_chain};
pub use endpoint::{Endpoint, Partition};
pub(crate) use error::chain;
pub use error::{Error, ErrorKind};
pub use ids::{BadId, NetworkId, UserId};
pub use interned::{InternedStr, Interner};
pub use operation::{ListUsersFilter, Operation};
pub use rate::RateLimiter;
pub use reads::ListPath;
pub use response::{RequestTimes, classify};
pub use signing::sign;
pub use timestamp::ApiTimestamp;
pub use transport::Response;
pub use wire::{
    Device, InvalidField, Network, SecurityGroup, User, devices_page, lenient, networks_page,
    security_groups_page, users_page,
};

#[cfg(test)]
mod properties;
