//! What each operation answers.

use serde_json::{Value, json};

use super::call::{Call, Operation};
use super::credentials::{Credential, Credentials};
use super::device::Device;
use super::errors::ApiError;
use super::fleet::{Fleet, Network, SecurityGroup};
use super::options::{Options, UnknownUser};
use super::paging::{Ask, Key, Position, Row, Tokens};
use super::rows::{Write, network_arn};
use super::user::User;

/// All that an answer is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lists<'a> {
    pub(super) options: &'a Options,
    pub(super) fleet: &'a Fleet,
    pub(super) tokens: &'a Tokens,
    pub(super) credentials: &'a Credentials,
    pub(super) asker: &'a Credential,
}

impl Lists<'_> {
    /// The page that the call asks for.
    pub(super) fn answer(&self, call: &Call) -> Result<Value, ApiError> {
        match call.operation {
            Operation::ListNetworks => self.networks(call),
            Operation::ListUsers => self.users(call),
            Operation::ListDevicesForUser => self.devices(call),
            Operation::ListSecurityGroups => self.groups(call),
        }
    }

    fn networks(&self, call: &Call) -> Result<Value, ApiError> {
        let open = self.fleet.networks().filter(|network| self.opens(network));
        self.page(call, "networks", false, |_| open)
    }

    fn users(&self, call: &Call) -> Result<Value, ApiError> {
        let parameters = call.validate(<&User>::FIELDS)?;
        let network = self.network(call)?;
        let fits = |user: &&User| {
            let holds = |filter: &str, text: &str| {
                call.parameter(filter)
                    .is_none_or(|part| text.to_lowercase().contains(&part.to_lowercase()))
            };
            parameters.status.is_none_or(|status| user.status == status)
                && call.parameter("groupId").is_none_or(|id| user.groups.iter().any(|g| g == id))
                && holds("username", &user.username)
                && holds("firstName", &user.first_name)
                && holds("lastName", &user.last_name)
        };
        // Users are kept in the order of their ids: a page in that order begins where the
        // last one ended, without a look at the hundred thousand before it.
        let by_id = !parameters.sort.descending
            && parameters.sort.fields.iter().all(|field| field == "userId");
        let rows = |position: &Position| {
            let seen = position.seen.as_ref().and_then(|keys| keys.last());
            let after = match seen {
                Some(Key::Id(_, id)) if by_id => Some(id.clone()),
                _ => None,
            };
            network.users_after(after.as_deref()).filter(fits)
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

    fn page<R: Row + Write, I: Iterator<Item = R>>(
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
        let ask = Ask {
            tokens: self.tokens,
            scope: &scope,
            sort: &parameters.sort,
            position: &position,
            size: parameters.size,
        };
        let (page, next) = ask.page(rows(&position), in_order);
        let written: Vec<Value> = page.iter().map(|row| row.write(self.options)).collect();
        let mut answer = json!({ member: written });
        if let Some(next) = next {
            answer["nextToken"] = next.into();
        }
        Ok(answer)
    }

    fn network(&self, call: &Call) -> Result<&Network, ApiError> {
        let id = call.network.as_str();
        let network = self.fleet.get(id);
        let account = network.and_then(|network| network.account.as_deref());
        let account = account.unwrap_or(&self.options.account);
        // Refused before it is looked up, as IAM does: a stranger learns nothing.
        if self.credentials.denies(id) || !self.asker.opens(id, account) {
            let arn = network_arn(&self.options.region, account, id);
            return Err(ApiError::forbidden(format!(
                "User: arn:aws:iam::{}:user/simulated is not authorized to perform: wickr:{} on \
                 resource: {arn}",
                self.options.account, call.operation
            )));
        }
        network.ok_or_else(|| ApiError::not_found("Network not found."))
    }

    fn opens(&self, network: &Network) -> bool {
        let account = network.account.as_deref().unwrap_or(&self.options.account);
        self.asker.opens(&network.id, account)
    }
}
