//! The client of the AWS Wickr Admin API (version 2024-02-01), which only ever reads.
//!
//! In reading order: [`Operation`] is what can be asked; [`Client`] asks it; `retry`, `rate`, `lanes`
//! and `credentials` decide whether, when and as whom; `signing` and `transport` carry it out; `answer`
//! tells what a refusal means; `paging`, `wire` and `timestamp` read what came.
//!
//! Nothing here knows the configuration, the inventory or a metrics library: options come in as
//! plain values, and whoever counts requests is an [`Observer`].

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
mod response;
mod retry;
mod service_clock;
mod signing;
mod timestamp;
mod transport;
mod wire;

pub use client::{Client, ClientOptions, Observer, Outcome};
pub use concurrency::{ConcurrencyLimiter, NetworkLimiter, PollGuard};
pub use credentials::{CredentialSource, CredentialStore, Role, region_of_chain};
pub use endpoint::{Endpoint, Partition};
pub(crate) use error::chain;
pub use error::{Error, ErrorKind};
pub use ids::{BadId, NetworkId, UserId};
pub use interned::{InternedStr, Interner};
pub use operation::{ListUsersFilter, Operation};
pub use rate::RateLimiter;
pub use response::{Times, error as refusal};
pub use signing::sign;
pub use timestamp::ApiTimestamp;
pub use transport::Answer;
pub use wire::{
    Device, Flaw, Network, SecurityGroup, User, devices_page, devices_page_carefully,
    networks_page, security_groups_page, users_page,
};

#[cfg(test)]
mod properties;
