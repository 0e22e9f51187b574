//! Reads any operation of a network, for collectors.

use serde::de::DeserializeOwned;

use super::{
    ApiTimestamp, Client, Error, NetworkId, Operation,
    client::invalid_body,
    concurrency::NetworkLimiter,
    operation::List,
    paging,
    wire::{self, lenient::Time},
};

/// Where a list is in the API.
#[derive(Debug, Clone, Copy)]
pub struct ListPath {
    /// Below `/networks/{networkId}/`.
    pub path: &'static str,
    /// The member of the response that has the items.
    pub member: &'static str,
    /// A documented sort field: page tokens are offsets, so the order must not change.
    pub sort: &'static str,
}

impl Client {
    /// A single response of a network, from `path` below `/networks/{networkId}/`. Only the members of
    /// `T` are read; nothing else of the body is kept or logged.
    pub async fn get<T: DeserializeOwned>(
        &self,
        operation: Operation,
        network: &NetworkId,
        path: &str,
        limiter: &NetworkLimiter,
    ) -> Result<T, Error> {
        let list = List::of_network(operation, network, path, "");
        let body = self.request(&list, None, limiter).await?;
        serde_json::from_slice(&body).map_err(|error| invalid_body(&list, &error))
    }

    /// A list of a network, as in [`Client::get`]: the items of `member`, in the order of `sort`.
    pub async fn list<T: DeserializeOwned + Default>(
        &self,
        operation: Operation,
        network: &NetworkId,
        ListPath { path, member, sort }: ListPath,
        limiter: &NetworkLimiter,
    ) -> Result<Vec<T>, Error> {
        let page_size = self.options.page_size;
        let query = format!("maxResults={page_size}&sortDirection=ASC&sortFields={sort}");
        let list = List::of_network(operation, network, path, &query);
        let report = |invalid| self.invalid_fields.log(invalid);
        let read = |body: &[u8]| wire::items_page(body, member, report);
        self.collect(&list, limiter, paging::ITEMS, read).await
    }

    /// A time of a response. An invalid one is logged as `field`.
    pub fn timestamp(&self, field: &'static str, time: &Time) -> ApiTimestamp {
        time.timestamp(field, &self.options.timezone, |invalid| self.invalid_fields.log(invalid))
    }
}
