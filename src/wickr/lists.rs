//! The lists that polls and discovery read: devices, users, networks and security groups.

use super::{
    Client, Device, Error, ErrorKind, Network, NetworkId, SecurityGroupItem, User, UserId,
    client::invalid_body,
    concurrency::NetworkLimiter,
    operation::{List, ListUsersFilter},
    paging,
    wire::{self, Page},
};

impl Client {
    /// All devices of a user, sorted by `appId` without duplicates.
    pub async fn devices(
        &self,
        network: &NetworkId,
        user: &UserId,
        limiter: &NetworkLimiter,
    ) -> Result<Vec<Device>, Error> {
        let list = List::devices(network, user, self.options.page_size);
        let read = |body: &[u8]| self.read_devices(body);
        let mut devices = self.collect(&list, limiter, paging::DEVICES, read).await?;
        // The last duplicate has the latest data. The sort is stable.
        devices.reverse();
        devices
            .sort_by(|a, b| (a.app_id.is_none(), &a.app_id).cmp(&(b.app_id.is_none(), &b.app_id)));
        devices.dedup_by(|a, b| a.app_id.is_some() && a.app_id == b.app_id);
        devices.shrink_to_fit();
        Ok(devices)
    }

    /// Reads the first page of a user's devices, to test credentials and permissions. Returns the
    /// number of devices.
    pub async fn try_devices(
        &self,
        network: &NetworkId,
        user: &UserId,
        limiter: &NetworkLimiter,
    ) -> Result<usize, Error> {
        let list = List::devices(network, user, self.options.page_size);
        let body = self.request(&list, None, limiter).await?;
        let (devices, _) = self.read_devices(&body).map_err(|error| invalid_body(&list, &error))?;
        Ok(devices.len())
    }

    /// Reads the first page of a network's users, to test credentials and permissions.
    pub async fn try_users(
        &self,
        network: &NetworkId,
        filter: &ListUsersFilter,
        limiter: &NetworkLimiter,
    ) -> Result<Vec<User>, Error> {
        let list = List::users(network, filter, self.options.page_size);
        let body = self.request(&list, None, limiter).await?;
        let (mut users, _) =
            wire::users_page(&body).map_err(|error| invalid_body(&list, &error))?;
        users.retain(|user| !user.is_bot);
        Ok(users)
    }

    /// The users of a network without bots, in the order of the service. `keep` maps each user of a
    /// page before the next page is read, which limits memory; None drops the user.
    pub async fn users<T>(
        &self,
        network: &NetworkId,
        filter: &ListUsersFilter,
        limiter: &NetworkLimiter,
        keep: impl Fn(User) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let list = List::users(network, filter, self.options.page_size);
        let read = |body: &[u8]| {
            let (users, token) = wire::users_page(body)?;
            let users = users.into_iter().filter(|user| !user.is_bot);
            Ok((users.filter_map(&keep).collect(), token))
        };
        self.collect(&list, limiter, paging::DIRECTORY, read).await
    }

    /// The networks of the account in the region, in the order of the service, and the number of
    /// networks without a valid id. If no network has one, this is an error.
    pub async fn networks(&self, limiter: &NetworkLimiter) -> Result<(Vec<Network>, usize), Error> {
        let list = List::networks(self.options.page_size);
        let all = self.collect(&list, limiter, paging::DIRECTORY, wire::networks_page).await?;
        let count = all.len();
        let networks: Vec<_> = all.into_iter().flatten().collect();
        let invalid = count - networks.len();
        if invalid > 0 && networks.is_empty() {
            let message = format!("none of {count} networks has a valid networkId");
            return Err(Error::new(list.operation, ErrorKind::InvalidResponse, message));
        }
        Ok((networks, invalid))
    }

    /// The security groups of a network, in the order of the service. Some may have no id.
    pub async fn security_groups(
        &self,
        network: &NetworkId,
        limiter: &NetworkLimiter,
    ) -> Result<Vec<SecurityGroupItem>, Error> {
        let list = List::security_groups(network, self.options.page_size);
        let report = |invalid| self.invalid_fields.log(invalid);
        let read = |body: &[u8]| wire::security_groups_page(body, report);
        self.collect(&list, limiter, paging::DIRECTORY, read).await
    }

    fn read_devices(&self, body: &[u8]) -> Page<Device> {
        let (interner, zone) = (&self.options.interner, &self.options.timezone);
        wire::devices_page(body, interner, zone, &mut |field| self.invalid_fields.log(field))
    }
}
