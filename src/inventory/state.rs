//! What outlives a restart: the last known data, with the times at which it was read.
//!
//! The file is one line that names it and its version, the SHA-256 of the rest, and the rest: gzip of
//! MessagePack, arrays for structures, so that any language can read it. Texts that recur, device
//! types and statuses, stand once and are referred to. Usernames, SSO limits and anything secret are
//! not in it; discovery will tell the former anew.

use std::{collections::HashMap, fmt, io::BufReader, sync::Arc, time::Duration};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};
use sha2::{Digest, Sha256};

use super::{DiscoveredUsers, LastPoll, NetworkView, PollResult, Snapshot, UserData};
use crate::{
    clock::Millis,
    wickr::{ApiTimestamp, Device, InternedStr, Interner, NetworkId, UserId},
};

/// The first line. Another version has another number.
const MAGIC: &[u8] = b"wickr-exporter state 1\n";
const NAME: &[u8] = b"wickr-exporter state ";
const CHECKSUM: usize = 32;

/// What an earlier process knew of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredNetwork {
    /// Its name; empty if it had none.
    pub name: String,
    /// Who asked, and where.
    pub account: String,
    /// Users that had data.
    pub users: Vec<RestoredUser>,
    /// The device types ever seen.
    pub types: Vec<InternedStr>,
    /// The last poll that ended.
    pub last_poll: Option<LastPoll>,
    /// When the last one ended that read every user.
    pub last_success: Option<Millis>,
    /// All users that there were, where they were discovered.
    pub list: Option<DiscoveredUsers>,
}

/// What an earlier process knew of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredUser {
    /// Whose.
    pub id: UserId,
    /// The last data that was read.
    pub reading: UserData,
}

/// Why a state file is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadState {
    /// It is none.
    #[error("it is no state file")]
    Foreign,
    /// It is one of another version: somebody went back to this one, or skipped the one between.
    #[error("it is of version {0} of state files, and this program reads version 1")]
    OtherVersion(u32),
    /// It is damaged: cut short, or changed.
    #[error("it is damaged")]
    Damaged,
    /// Its checksum is right, but its content makes no sense.
    #[error("its content makes no sense: {0}")]
    Nonsense(String),
}

#[derive(Serialize, Deserialize)]
struct File {
    texts: Vec<String>,
    networks: Vec<NetworkPart>,
}

#[derive(Serialize, Deserialize)]
struct NetworkPart {
    id: String,
    name: String,
    account: String,
    /// Indices into the texts.
    types: Vec<u32>,
    last_poll: Option<PollPart>,
    last_success: Option<Millis>,
    users: Vec<UserPart>,
    /// Files that were written before there was this end here.
    #[serde(default)]
    list: Option<ListPart>,
}

/// Of which choice, and the ids.
#[derive(Serialize, Deserialize)]
struct ListPart(u64, Vec<String>);

#[derive(Serialize, Deserialize)]
struct PollPart {
    at: Millis,
    took_millis: u64,
    /// An index into [`PollResult::ALL`].
    result: u8,
}

#[derive(Serialize, Deserialize)]
struct UserPart {
    id: String,
    at: Millis,
    devices: Vec<DevicePart>,
}

/// App id, type, status, suspended, created, last login. A stamp that is no time is a text's
/// absence for never, and `false` for invalid.
#[derive(Serialize, Deserialize)]
struct DevicePart(Option<String>, u32, u32, Option<bool>, StampPart, StampPart);

#[derive(Serialize)]
#[serde(untagged)]
enum StampPart {
    At(Millis),
    Invalid(bool),
    Never(()),
}

/// By hand: the derived form would take in whatever stands there first, lists of lists of lists with it.
impl<'de> Deserialize<'de> for StampPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = StampPart;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time, false or nothing")
            }

            fn visit_i64<E>(self, millis: i64) -> Result<StampPart, E> {
                Ok(StampPart::At(millis))
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<StampPart, E> {
                let beyond = |_| E::custom("a time is beyond all times");
                Millis::try_from(millis).map(StampPart::At).map_err(beyond)
            }

            fn visit_bool<E>(self, value: bool) -> Result<StampPart, E> {
                Ok(StampPart::Invalid(value))
            }

            fn visit_unit<E>(self) -> Result<StampPart, E> {
                Ok(StampPart::Never(()))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl From<ApiTimestamp> for StampPart {
    fn from(stamp: ApiTimestamp) -> StampPart {
        match stamp.millis() {
            Some(millis) => StampPart::At(millis),
            None if stamp == ApiTimestamp::INVALID => StampPart::Invalid(false),
            None => StampPart::Never(()),
        }
    }
}

impl From<StampPart> for ApiTimestamp {
    fn from(part: StampPart) -> ApiTimestamp {
        match part {
            StampPart::At(millis) => ApiTimestamp::at_millis(millis),
            StampPart::Invalid(_) => ApiTimestamp::INVALID,
            StampPart::Never(()) => ApiTimestamp::NEVER,
        }
    }
}

/// Texts that are referred to by number.
#[derive(Default)]
struct Texts {
    numbers: HashMap<InternedStr, u32>,
    texts: Vec<String>,
}

impl Texts {
    fn number(&mut self, label: &InternedStr) -> u32 {
        if let Some(number) = self.numbers.get(label) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(label.to_string());
        self.numbers.insert(label.clone(), number);
        number
    }
}

/// The file's content for what is known.
///
/// # Errors
///
/// A sentence, when it cannot be written as MessagePack.
pub fn encode(snapshot: &Snapshot) -> Result<Vec<u8>, String> {
    let mut texts = Texts::default();
    let networks = snapshot.networks.iter().map(|view| network_part(view, &mut texts)).collect();
    let file = File { networks, texts: texts.texts };
    let mut bytes = MAGIC.to_vec();
    bytes.resize(MAGIC.len() + CHECKSUM, 0);
    let mut packed = GzEncoder::new(bytes, Compression::fast());
    rmp_serde::encode::write(&mut packed, &file).map_err(|error| error.to_string())?;
    let mut bytes = packed.finish().map_err(|error| error.to_string())?;
    let (head, payload) = bytes.split_at_mut(MAGIC.len() + CHECKSUM);
    head[MAGIC.len()..].copy_from_slice(&Sha256::digest(&*payload));
    Ok(bytes)
}

fn network_part(view: &Arc<NetworkView>, texts: &mut Texts) -> NetworkPart {
    NetworkPart {
        id: view.identity.id.to_string(),
        name: view.identity.name.clone(),
        account: view.identity.account.clone(),
        types: view.types.iter().map(|label| texts.number(label)).collect(),
        last_poll: view.polls.last.map(|last| PollPart {
            at: last.at,
            took_millis: u64::try_from(last.took.as_millis()).unwrap_or(u64::MAX),
            result: last.result as u8,
        }),
        last_success: view.polls.last_success,
        users: view
            .users
            .iter()
            .filter_map(|user| Some((user.id.to_string(), user.last.as_ref()?)))
            .map(|(id, last)| UserPart {
                id,
                at: last.at,
                devices: last.devices.iter().map(|device| device_part(device, texts)).collect(),
            })
            .collect(),
        list: view.list.as_ref().map(|list| {
            ListPart(list.selector_id, list.users.iter().map(UserId::to_string).collect())
        }),
    }
}

fn device_part(device: &Device, texts: &mut Texts) -> DevicePart {
    DevicePart(
        device.app_id.as_deref().map(str::to_owned),
        texts.number(&device.device_type),
        texts.number(&device.status),
        device.suspended,
        device.created.into(),
        device.last_login.into(),
    )
}

/// What a file's content tells, by network.
///
/// # Errors
///
/// Why it tells nothing. Half a file tells nothing, too.
pub fn decode(
    bytes: &[u8],
    labels: &Interner,
) -> Result<HashMap<NetworkId, RestoredNetwork>, BadState> {
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| foreign(bytes))?;
    let (checksum, payload) = rest.split_at_checked(CHECKSUM).ok_or(BadState::Damaged)?;
    if checksum != &Sha256::digest(payload)[..] {
        return Err(BadState::Damaged);
    }
    let unpacked = GzDecoder::new(payload);
    let file: File = rmp_serde::from_read(BufReader::new(unpacked))
        .map_err(|error| BadState::Nonsense(error.to_string()))?;
    let texts: Vec<InternedStr> = file.texts.iter().map(|text| labels.get(text)).collect();
    file.networks.into_iter().map(|part| restored(part, &texts)).collect()
}

/// What a file is whose first line is another.
fn foreign(bytes: &[u8]) -> BadState {
    let version = bytes.strip_prefix(NAME).and_then(|rest| {
        let digits = rest.split(|&b| b == b'\n').next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    });
    version.map_or(BadState::Foreign, BadState::OtherVersion)
}

fn restored(
    part: NetworkPart,
    texts: &[InternedStr],
) -> Result<(NetworkId, RestoredNetwork), BadState> {
    let text = |number: u32| {
        let text = usize::try_from(number).ok().and_then(|number| texts.get(number));
        text.cloned().ok_or_else(|| BadState::Nonsense("a text is missing".into()))
    };
    let bad_id = |error: crate::wickr::BadId| BadState::Nonsense(error.to_string());
    let device = |DevicePart(app_id, device_type, status, suspended, created, last_login)| {
        Ok(Device {
            app_id: app_id.map(String::into_boxed_str),
            device_type: text(device_type)?,
            status: text(status)?,
            suspended,
            created: created.into(),
            last_login: last_login.into(),
        })
    };
    let user = |part: UserPart| {
        let devices: Result<_, BadState> = part.devices.into_iter().map(device).collect();
        let reading = UserData { at: part.at, devices: devices? };
        Ok(RestoredUser { id: part.id.parse().map_err(bad_id)?, reading })
    };
    let last_poll = part.last_poll.map(|poll| LastPoll {
        at: poll.at,
        took: Duration::from_millis(poll.took_millis),
        // What cannot be read of a result is no success.
        result: PollResult::ALL
            .get(usize::from(poll.result))
            .copied()
            .unwrap_or(PollResult::Failure),
    });
    let list = |ListPart(of, users)| {
        let users: Result<_, _> = users.iter().map(|id: &String| id.parse()).collect();
        Ok(DiscoveredUsers { selector_id: of, users: users.map_err(bad_id)? })
    };
    let network = RestoredNetwork {
        name: part.name,
        account: part.account,
        users: part.users.into_iter().map(user).collect::<Result<_, BadState>>()?,
        types: part.types.into_iter().map(text).collect::<Result<_, BadState>>()?,
        last_poll,
        last_success: part.last_success,
        list: part.list.map(list).transpose()?,
    };
    Ok((part.id.parse().map_err(bad_id)?, network))
}

#[cfg(test)]
mod tests;
