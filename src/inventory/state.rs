//! The state file: the last known data with its read times, across restarts.
//!
//! The format is one line with the version, the SHA-256 of the payload, and the payload: gzip of
//! MessagePack with structs as arrays. Device types and statuses are stored once and referenced by
//! index. Usernames, SSO limits and secrets are not stored. Later versions add `sections`.

pub(super) mod collected;
mod sections;
mod timestamp;

use std::{
    collections::{HashMap, HashSet},
    io::BufReader,
    time::Duration,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::collected::RestoredCollector;
use self::{sections::Sections, timestamp::TimestampPart};
use super::{
    ChangeCounts, Collected, DiscoveredUsers, LastPoll, NetworkView, PollResult, Snapshot,
    UserData, UserRecord,
};
use crate::{
    clock::Millis,
    wickr::{AppId, Device, InternedStr, Interner, NetworkId, UserId},
};

/// The first line, with the version of the format.
const MAGIC: &[u8] = b"wickr-exporter state 1\n";
const MAGIC_PREFIX: &[u8] = b"wickr-exporter state ";
const CHECKSUM_LEN: usize = 32;

/// The data that an earlier process had for a network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RestoredNetwork {
    /// The display name; can be empty.
    pub name: String,
    /// The [`NetworkIdentity::account`](super::NetworkIdentity::account).
    pub account: String,
    /// The users that had data.
    pub users: Vec<RestoredUser>,
    /// All device types ever seen.
    pub types: Vec<InternedStr>,
    /// The last poll that ended.
    pub last_poll: Option<LastPoll>,
    /// When the last successful poll ended.
    pub last_success: Option<Millis>,
    /// The user list, if users were discovered.
    pub user_list: Option<DiscoveredUsers>,
    /// The changes of devices.
    pub changes: RestoredChanges,
    /// The last values of collectors.
    pub collectors: Vec<RestoredCollector>,
}

/// The changes of devices that an earlier process counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RestoredChanges {
    /// Their numbers.
    pub counts: ChangeCounts,
    /// The time zone in which times without a zone were read; empty if unknown.
    pub timezone: String,
    /// Users whose data had expired. The next read is compared with it.
    pub expired: Vec<RestoredUser>,
    /// Users whose data was read in an earlier time zone.
    pub in_other_timezone: HashSet<UserId>,
}

/// The data that an earlier process had for a user.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredUser {
    /// The user.
    pub id: UserId,
    /// The last data that was read.
    pub data: UserData,
}

/// Why a state file cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The first line is not that of a state file.
    #[error("not a state file")]
    NotStateFile,
    /// The file was written by an incompatible version.
    #[error("format version {0} is not supported; this program reads version 1")]
    UnsupportedVersion(u32),
    /// The checksum does not match: the file is truncated or was changed.
    #[error("truncated or corrupted")]
    Corrupted,
    /// The checksum matches, but the content is invalid.
    #[error("invalid content: {0}")]
    InvalidContent(String),
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
    /// Indices into `texts`.
    types: Vec<u32>,
    last_poll: Option<PollPart>,
    last_success: Option<Millis>,
    users: Vec<UserPart>,
    /// Older files do not have it.
    #[serde(default)]
    user_list: Option<ListPart>,
    /// Older files do not have it, and without sections the format is the same as theirs.
    #[serde(default, skip_serializing_if = "Sections::is_empty")]
    sections: Sections,
}

/// The name of the section [`ChangesPart`].
const CHANGES: &str = "device changes";

/// Counts in the order of [`ChangeKind::ALL`](super::ChangeKind::ALL), time zone, users with expired
/// data.
#[derive(Serialize, Deserialize)]
struct ChangesPart(Vec<u64>, String, Vec<UserPart>);

/// The name of the section with the ids of users whose data was read in an earlier time zone.
const OTHER_TIMEZONE: &str = "users in other time zone";

/// Selector id and user ids.
#[derive(Serialize, Deserialize)]
struct ListPart(u64, Vec<String>);

#[derive(Serialize, Deserialize)]
struct PollPart {
    at: Millis,
    duration_millis: u64,
    /// An index into [`PollResult::ALL`].
    result: u8,
}

#[derive(Serialize, Deserialize)]
struct UserPart {
    id: String,
    at: Millis,
    devices: Vec<DevicePart>,
}

/// App id, type, status, suspended, created, last login.
#[derive(Serialize, Deserialize)]
struct DevicePart(Option<String>, u32, u32, Option<bool>, TimestampPart, TimestampPart);

#[derive(Default)]
struct Texts {
    indices: HashMap<InternedStr, u32>,
    texts: Vec<String>,
}

impl Texts {
    fn index(&mut self, text: &InternedStr) -> u32 {
        if let Some(index) = self.indices.get(text) {
            return *index;
        }
        let index = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.to_string());
        self.indices.insert(text.clone(), index);
        index
    }
}

/// The content of a state file.
///
/// # Errors
///
/// A message if encoding fails.
pub fn encode(snapshot: &Snapshot) -> Result<Vec<u8>, String> {
    let mut texts = Texts::default();
    let networks = snapshot.networks.iter().map(|view| {
        let collected = snapshot.collected.get(&view.identity.id);
        network_part(view, collected.map(|records| &**records), &mut texts)
    });
    let networks = networks.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let file = File { networks, texts: texts.texts };
    let mut bytes = MAGIC.to_vec();
    bytes.resize(MAGIC.len() + CHECKSUM_LEN, 0);
    let mut encoder = GzEncoder::new(bytes, Compression::fast());
    rmp_serde::encode::write(&mut encoder, &file).map_err(|error| error.to_string())?;
    let mut bytes = encoder.finish().map_err(|error| error.to_string())?;
    let (head, payload) = bytes.split_at_mut(MAGIC.len() + CHECKSUM_LEN);
    head[MAGIC.len()..].copy_from_slice(&Sha256::digest(&*payload));
    Ok(bytes)
}

fn network_part(
    view: &NetworkView,
    collected: Option<&Collected>,
    texts: &mut Texts,
) -> Result<NetworkPart, rmp_serde::encode::Error> {
    // Features add their sections here, and `restore` reads them.
    let mut sections = Sections::default();
    let user_part = |user: &UserRecord, texts: &mut Texts| {
        let last = user.last.as_ref()?;
        let devices = last.devices.iter().map(|device| device_part(device, texts)).collect();
        Some(UserPart { id: user.id.to_string(), at: last.at, devices })
    };
    let (expired, users): (Vec<_>, Vec<_>) = view.users.iter().partition(|user| user.expired);
    let expired: Vec<_> = expired.iter().filter_map(|user| user_part(user, texts)).collect();
    if view.changes != [0; 6] || !view.timezone.is_empty() || !expired.is_empty() {
        let part = ChangesPart(view.changes.into(), view.timezone.to_string(), expired);
        sections.put(CHANGES, &part)?;
    }
    let in_other_timezone = view.users.iter().filter(|user| user.in_other_timezone);
    let in_other_timezone: Vec<_> = in_other_timezone.map(|user| user.id.to_string()).collect();
    if !in_other_timezone.is_empty() {
        sections.put(OTHER_TIMEZONE, &in_other_timezone)?;
    }
    let collectors = collected.map(collected::parts).unwrap_or_default();
    if !collectors.is_empty() {
        sections.put(collected::NAME, &collectors)?;
    }
    Ok(NetworkPart {
        id: view.identity.id.to_string(),
        name: view.identity.name.clone(),
        account: view.identity.account.clone(),
        types: view.types.iter().map(|text| texts.index(text)).collect(),
        last_poll: view.polls.last.map(|last| PollPart {
            at: last.at,
            duration_millis: u64::try_from(last.duration.as_millis()).unwrap_or(u64::MAX),
            result: last.result as u8,
        }),
        last_success: view.polls.last_success,
        users: users.iter().filter_map(|user| user_part(user, texts)).collect(),
        user_list: view.user_list.as_ref().map(|list| {
            ListPart(list.selector_id, list.users.iter().map(UserId::to_string).collect())
        }),
        sections,
    })
}

fn device_part(device: &Device, texts: &mut Texts) -> DevicePart {
    DevicePart(
        device.app_id.as_ref().map(AppId::to_string),
        texts.index(device.device_type()),
        texts.index(device.status()),
        device.suspended(),
        device.created.into(),
        device.last_login.into(),
    )
}

/// Decodes the content of a state file. Any error rejects the entire file.
///
/// # Errors
///
/// If it is damaged, incompatible or not a state file.
pub fn decode(
    bytes: &[u8],
    interner: &Interner,
) -> Result<HashMap<NetworkId, RestoredNetwork>, StateError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| header_error(bytes))?;
    let (checksum, payload) = rest.split_at_checked(CHECKSUM_LEN).ok_or(StateError::Corrupted)?;
    if checksum != &Sha256::digest(payload)[..] {
        return Err(StateError::Corrupted);
    }
    let decoder = BufReader::new(GzDecoder::new(payload));
    let file: File = rmp_serde::from_read(decoder)
        .map_err(|error| StateError::InvalidContent(error.to_string()))?;
    file.networks.into_iter().map(|part| restore(part, &file.texts, interner)).collect()
}

fn header_error(bytes: &[u8]) -> StateError {
    let version = bytes.strip_prefix(MAGIC_PREFIX).and_then(|rest| {
        let digits = rest.split(|&b| b == b'\n').next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    });
    version.map_or(StateError::NotStateFile, StateError::UnsupportedVersion)
}

fn restore(
    part: NetworkPart,
    texts: &[String],
    interner: &Interner,
) -> Result<(NetworkId, RestoredNetwork), StateError> {
    let text = |index: u32| {
        let text = usize::try_from(index).ok().and_then(|index| texts.get(index));
        text.ok_or_else(|| StateError::InvalidContent("a text index is out of range".into()))
    };
    let interned = |index| Ok(interner.string(text(index)?));
    let bad_id = |error: crate::wickr::BadId| StateError::InvalidContent(error.to_string());
    let device = |DevicePart(app_id, device_type, status, suspended, created, last_login)| {
        Ok(Device {
            app_id: app_id.map(AppId::from),
            attributes: interner.attributes(text(device_type)?, text(status)?, suspended),
            created: created.into(),
            last_login: last_login.into(),
        })
    };
    let user = |part: UserPart| {
        let devices: Result<_, StateError> = part.devices.into_iter().map(device).collect();
        let data = UserData { at: part.at, devices: devices? };
        Ok(RestoredUser { id: part.id.parse().map_err(bad_id)?, data })
    };
    let last_poll = part.last_poll.map(|poll| LastPoll {
        at: poll.at,
        duration: Duration::from_millis(poll.duration_millis),
        // An unknown result counts as a failure.
        result: PollResult::ALL
            .get(usize::from(poll.result))
            .copied()
            .unwrap_or(PollResult::Failure),
    });
    let user_list = |ListPart(selector_id, users)| {
        let users: Result<_, _> = users.iter().map(|id: &String| id.parse()).collect();
        Ok(DiscoveredUsers { selector_id, users: users.map_err(bad_id)? })
    };
    let changes = |ChangesPart(saved, timezone, expired)| {
        let mut counts = ChangeCounts::default();
        counts.iter_mut().zip(saved).for_each(|(count, saved)| *count = saved);
        let expired = expired.into_iter().map(user).collect::<Result<_, StateError>>()?;
        let in_other_timezone = HashSet::new();
        Ok(RestoredChanges { counts, timezone, expired, in_other_timezone })
    };
    let changes = part.sections.get(CHANGES)?.map(changes).transpose()?.unwrap_or_default();
    let in_other_timezone: Vec<String> = part.sections.get(OTHER_TIMEZONE)?.unwrap_or_default();
    let in_other_timezone: Result<_, _> = in_other_timezone.iter().map(|id| id.parse()).collect();
    let changes =
        RestoredChanges { in_other_timezone: in_other_timezone.map_err(bad_id)?, ..changes };
    let network = RestoredNetwork {
        name: part.name,
        account: part.account,
        users: part.users.into_iter().map(user).collect::<Result<_, StateError>>()?,
        types: part.types.into_iter().map(interned).collect::<Result<_, StateError>>()?,
        last_poll,
        last_success: part.last_success,
        user_list: part.user_list.map(user_list).transpose()?,
        changes,
        collectors: part.sections.get(collected::NAME)?.unwrap_or_default(),
    };
    Ok((part.id.parse().map_err(bad_id)?, network))
}

#[cfg(test)]
mod tests;
