//! Where a poll reads users, groups and devices from.

use std::future::Future;

use crate::wickr::{
    Device, Error, ListUsersFilter, NetworkId, NetworkLimiter, SecurityGroup, User, UserId,
};

/// A service that lists users, security groups and devices. Every request takes a permit of
/// `limiter`.
pub trait Source: Send + Sync {
    /// The users of a network that match `filter`, each mapped by `keep`; None drops a user.
    fn users<T: Send>(
        &self,
        network: &NetworkId,
        filter: &ListUsersFilter,
        limiter: &NetworkLimiter,
        keep: impl Fn(User) -> Option<T> + Send + Sync,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + Send;

    /// The security groups of a network.
    fn security_groups(
        &self,
        network: &NetworkId,
        limiter: &NetworkLimiter,
    ) -> impl Future<Output = Result<Vec<SecurityGroup>, Error>> + Send;

    /// All devices of a user.
    fn devices(
        &self,
        network: &NetworkId,
        user: &UserId,
        limiter: &NetworkLimiter,
    ) -> impl Future<Output = Result<Vec<Device>, Error>> + Send;
}
