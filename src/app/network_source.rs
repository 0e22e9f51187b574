//! The API as a poller uses it. Collectors get the security groups that discovery reads.

use std::sync::Arc;

use crate::{
    collectors::LastLookup,
    poll::Source,
    wickr::{
        Client, Device, Error, ListUsersFilter, NetworkId, NetworkLimiter, SecurityGroup,
        SecurityGroupItem, User, UserId,
    },
};

#[derive(Debug)]
pub(super) struct NetworkSource {
    pub(super) client: Arc<Client>,
    pub(super) groups: Arc<LastLookup<SecurityGroupItem>>,
}

impl Source for NetworkSource {
    async fn users<T: Send>(
        &self,
        network: &NetworkId,
        filter: &ListUsersFilter,
        limiter: &NetworkLimiter,
        keep: impl Fn(User) -> Option<T> + Send + Sync,
    ) -> Result<Vec<T>, Error> {
        self.client.users(network, filter, limiter, keep).await
    }

    async fn security_groups(
        &self,
        network: &NetworkId,
        limiter: &NetworkLimiter,
    ) -> Result<Vec<SecurityGroup>, Error> {
        let groups = self.client.security_groups(network, limiter).await;
        // The settings of many groups take memory, and only collectors need them.
        match self.groups.is_read() {
            true => self.groups.set(groups.as_deref()),
            false => self.groups.restart(false),
        }
        SecurityGroup::parse_all(&groups?)
    }

    async fn devices(
        &self,
        network: &NetworkId,
        user: &UserId,
        limiter: &NetworkLimiter,
    ) -> Result<Vec<Device>, Error> {
        self.client.devices(network, user, limiter).await
    }
}
