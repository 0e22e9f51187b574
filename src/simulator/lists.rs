//! The response of each operation.

use serde_json::{Value, json};

use super::bot::Bot;
use super::call::{Call, Operation};
use super::credentials::{Credential, Credentials};
use super::device::Device;
use super::errors::ApiError;
use super::fleet::{Fleet, Network, SecurityGroup};
use super::options::{Options, UnknownUser};
use super::organisation;
use super::paging::{ListRow, PageRequest, Position, RowKey, Tokens};
use super::rows::{ToJson, network_arn};
use super::user::User;

/// The data that a response is made from.
#[derive(Clone, Copy)]
pub(super) struct Lists<'a> {
    pub(super) options: &'a Options,
    pub(super) fleet: &'a Fleet,
    pub(super) tokens: &'a Tokens,
    pub(super) credentials: &'a Credentials,
    pub(super) caller: &'a Credential,
}

impl Lists<'_> {
    pub(super) fn respond(&self, call: &Call) -> Result<Value, ApiError> {
        match call.operation {
            Operation::ListNetworks => self.networks(call),
            Operation::ListUsers => self.users(call),
            Operation::ListDevicesForUser => self.devices(call),
            Operation::ListSecurityGroups => self.groups(call),
            Operation::ListBots => self.bots(call),
            Operation::ListBlockedGuestUsers => {
                let network = self.network(call)?;
                self.page(call, "blocklist", false, |_| network.organisation.blocked())
            }
            operation => {
                call.validate(&[])?;
                let response = organisation::response(operation, self.network(call)?, self.options);
                response.ok_or_else(|| ApiError::of_status(500))
            }
        }
    }

    fn networks(&self, call: &Call) -> Result<Value, ApiError> {
        let allowed = self
            .fleet
            .networks()
            .filter(|network| self.caller.allows(&network.id, self.account(network)));
        self.page(call, "networks", false, |_| allowed)
    }

    fn users(&self, call: &Call) -> Result<Value, ApiError> {
        let parameters = call.validate(<&User>::FIELDS)?;
        let network = self.network(call)?;
        let matches = |user: &&User| {
            let contains = |filter: &str, text: &str| {
                call.parameter(filter)
                    .is_none_or(|part| text.to_lowercase().contains(&part.to_lowercase()))
            };
            parameters.status.is_none_or(|status| user.status == status)
                && call.parameter("groupId").is_none_or(|id| user.groups.iter().any(|g| g == id))
                && contains("username", &user.username)
                && contains("firstName", &user.first_name)
                && contains("lastName", &user.last_name)
        };
        // The network stores users in the order of their ids, so a page in that order starts
        // at the last id without scanning all users before it.
        let by_id = !parameters.sort.descending
            && parameters.sort.fields.iter().all(|field| field == "userId");
        let rows = |position: &Position| {
            let last_key = position.last_row.as_ref().and_then(|keys| keys.last());
            let after = match last_key {
                Some(RowKey::Id(_, id)) if by_id => Some(id.clone()),
                _ => None,
            };
            network.users_after(after.as_deref()).filter(matches)
        };
        self.page(call, "users", by_id, rows)
    }

    fn devices(&self, call: &Call) -> Result<Value, ApiError> {
        call.validate(<&Device>::FIELDS)?;
        let network = self.network(call)?;
        let user = network.get(&call.user).ok_or(match self.options.unknown_user {
            UnknownUser::NotFound => ApiError::not_found("User not found."),
            UnknownUser::BadRequest => ApiError::bad_request("Invalid userId."),
        })?;
        let devices = user.devices();
        self.page(call, "devices", false, |_| devices.iter())
    }

    fn groups(&self, call: &Call) -> Result<Value, ApiError> {
        call.validate(<(usize, &SecurityGroup)>::FIELDS)?;
        let network = self.network(call)?;
        self.page(call, "securityGroups", false, |_| network.groups.iter().enumerate())
    }

    fn bots(&self, call: &Call) -> Result<Value, ApiError> {
        let status = call.validate(<&Bot>::FIELDS)?.status;
        let network = self.network(call)?;
        let matches = |bot: &&Bot| status.is_none_or(|status| bot.status() == status);
        self.page(call, "bots", false, |_| network.organisation.bots().filter(matches))
    }

    fn page<R: ListRow + ToJson, I: Iterator<Item = R>>(
        &self,
        call: &Call,
        member: &str,
        in_order: bool,
        rows: impl FnOnce(&Position) -> I,
    ) -> Result<Value, ApiError> {
        let parameters = call.validate(R::FIELDS)?;
        let scope = call.scope();
        let position = match call.token() {
            Some(token) => self.tokens.read(&scope, token)?,
            None => Position::default(),
        };
        let request = PageRequest {
            tokens: self.tokens,
            scope: &scope,
            sort: &parameters.sort,
            position: &position,
            size: parameters.size,
        };
        let (page, next) = request.page(rows(&position), in_order);
        let rows: Vec<Value> = page.iter().map(|row| row.to_json(self.options)).collect();
        let mut response = json!({ member: rows });
        if let Some(next) = next {
            response["nextToken"] = next.into();
        }
        Ok(response)
    }

    fn network(&self, call: &Call) -> Result<&Network, ApiError> {
        let id = call.network.as_str();
        let network = self.fleet.get(id);
        let account =
            network.map_or(self.options.account.as_str(), |network| self.account(network));
        // Authorized before the lookup, as IAM does.
        if self.credentials.is_denied(id) || !self.caller.allows(id, account) {
            let arn = network_arn(&self.options.region, account, id);
            return Err(ApiError::forbidden(format!(
                "User: arn:aws:iam::{}:user/simulated is not authorized to perform: wickr:{} on \
                 resource: {arn}",
                self.options.account, call.operation
            )));
        }
        network.ok_or_else(|| ApiError::not_found("Network not found."))
    }

    fn account<'a>(&'a self, network: &'a Network) -> &'a str {
        network.account.as_deref().unwrap_or(&self.options.account)
    }
}
