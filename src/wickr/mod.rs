//! The client of the AWS Wickr Admin API, version 2024-02-01. It sends only GET requests.
//!
//! In reading order: `operation` builds URLs, `client` runs requests, `paging` bounds lists,
//! `lists` reads users, devices, networks and groups, and `reads` any other operation of a network.
//! `retry` decides about retries, `rate` and `concurrency` limit requests, and `credentials`,
//! `service_clock` and `signing` authenticate them. `settings` resolves what the environment and
//! the profile set, and `credential_source` fetches credentials, over `sdk_http`. `transport` sends
//! a request. `connection` has what both share: proxies, authorities, errors. `response` classifies
//! an error response, and `wire` and `timestamp` parse a successful one.
//!
//! This module does not know the configuration, the inventory or a metrics library: options are plain
//! values, and metrics implement [`RequestObserver`].

mod app_id;
mod client;
mod concurrency;
mod connection;
mod credential_source;
mod credentials;
mod endpoint;
mod error;
mod ids;
mod interned;
mod lists;
mod operation;
mod paging;
mod rate;
mod reads;
mod response;
mod retry;
mod sdk_http;
mod service_clock;
mod settings;
mod signing;
mod timestamp;
mod transport;
mod wire;

pub use app_id::AppId;
pub use client::{Client, ClientOptions, Outcome, RequestObserver};
pub use concurrency::{ConcurrencyLimiter, NetworkLimiter, PollGuard};
pub(crate) use connection::build_client;
pub use connection::proxy_of;
pub use credential_source::{CredentialSource, Role};
pub use credentials::CredentialStore;
pub use endpoint::{Endpoint, Partition, is_documented_region};
pub(crate) use error::chain;
pub use error::{Error, ErrorKind, Step};
pub use ids::{BadId, NetworkId, UserId};
pub use interned::{DeviceAttributes, InternedStr, Interner};
pub use operation::{ListUsersFilter, Operation};
pub use rate::RateLimiter;
pub use reads::ListPath;
pub use response::classify;
pub use settings::{
    ConfiguredSettings, SESSION_NAME_RULE, Setting, Settings, Source, is_session_name,
};
pub use signing::sign;
pub use timestamp::ApiTimestamp;
pub use transport::Response;
pub use wire::{
    Device, InvalidField, Network, NetworkDetails, SecurityGroup, SecurityGroupItem, User,
    devices_page, lenient, networks_page, security_groups_page, users_page,
};

#[cfg(test)]
mod properties;
