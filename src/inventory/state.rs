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

use super::{LastPoll, NetworkView, PollResult, Reading, Snapshot, UserList};
use crate::{
    clock::Millis,
    wickr::{Device, Interner, Label, NetworkId, Stamp, UserId},
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
    pub types: Vec<Label>,
    /// The last poll that ended.
    pub last_poll: Option<LastPoll>,
    /// When the last one ended that read every user.
    pub last_success: Option<Millis>,
    /// All users that there were, where they were discovered.
    pub list: Option<UserList>,
}

/// What an earlier process knew of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredUser {
    /// Whose.
    pub id: UserId,
    /// The last data that was read.
    pub reading: Reading,
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

impl From<Stamp> for StampPart {
    fn from(stamp: Stamp) -> StampPart {
        match stamp.millis() {
            Some(millis) => StampPart::At(millis),
            None if stamp == Stamp::INVALID => StampPart::Invalid(false),
            None => StampPart::Never(()),
        }
    }
}

impl From<StampPart> for Stamp {
    fn from(part: StampPart) -> Stamp {
        match part {
            StampPart::At(millis) => Stamp::at_millis(millis),
            StampPart::Invalid(_) => Stamp::INVALID,
            StampPart::Never(()) => Stamp::NEVER,
        }
    }
}

/// Texts that are referred to by number.
#[derive(Default)]
struct Texts {
    numbers: HashMap<Label, u32>,
    texts: Vec<String>,
}

impl Texts {
    fn number(&mut self, label: &Label) -> u32 {
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
        list: view
            .list
            .as_ref()
            .map(|list| ListPart(list.of, list.users.iter().map(UserId::to_string).collect())),
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
    let texts: Vec<Label> = file.texts.iter().map(|text| labels.get(text)).collect();
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

fn restored(part: NetworkPart, texts: &[Label]) -> Result<(NetworkId, RestoredNetwork), BadState> {
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
        let reading = Reading { at: part.at, devices: devices? };
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
        Ok(UserList { of, users: users.map_err(bad_id)? })
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
mod tests {
    use super::*;
    use crate::inventory::{self, Directory, NetworkIdentity};

    fn identity() -> NetworkIdentity {
        NetworkIdentity {
            id: "12345678".parse().unwrap(),
            name: "a name".into(),
            region: "us-east-1".into(),
            account: "an account".into(),
            interval: Duration::from_secs(60),
            stale_after: Duration::from_secs(180),
        }
    }

    fn device(app_id: Option<&str>, last_login: Stamp) -> Device {
        Device {
            app_id: app_id.map(Into::into),
            device_type: "iOS".into(),
            status: "Active".into(),
            suspended: app_id.map(|_| true),
            created: Stamp::at_millis(-5),
            last_login,
        }
    }

    fn known() -> (Vec<Device>, Vec<u8>) {
        let (keeper, reader) = inventory::open();
        let mut publisher = keeper.add(identity(), None);
        let users: Vec<UserId> = ["1", "2", "3"].map(|id| id.parse().unwrap()).into();
        let devices = vec![
            device(Some("a"), Stamp::at_millis(1_700_000_000_123)),
            device(Some("b"), Stamp::NEVER),
            device(None, Stamp::INVALID),
        ];
        publisher.begin(&users);
        publisher.read(&users[0], devices.clone(), 1_000);
        publisher.failed(&users[1], crate::wickr::ErrorKind::Timeout);
        publisher.read(&users[2], vec![], 2_000);
        publisher.end(3_000, Duration::from_millis(1_500), true);
        (devices, encode(&reader.snapshot()).unwrap())
    }

    #[test]
    fn what_is_written_is_read_with_its_times_and_is_not_fresh() {
        let (devices, bytes) = known();
        let mut networks = decode(&bytes, &Interner::default()).unwrap();
        let restored = networks.remove(&identity().id).unwrap();
        assert!(networks.is_empty());
        assert_eq!((restored.name.as_str(), restored.account.as_str()), ("a name", "an account"));
        assert_eq!(restored.users.len(), 2, "those that had data");
        assert_eq!(*restored.users[0].reading.devices, devices[..]);

        let (keeper, reader) = inventory::open();
        let _publisher = keeper.add(identity(), Some(restored));
        keeper.settle();
        assert!(reader.is_ready(), "restored data is there at once");
        let view = reader.snapshot().networks[0].clone();
        assert_eq!(view.users_by_freshness(3_000), [0, 2, 0]);
        assert!(!view.is_up(3_000) && !view.users.iter().any(|user| user.is_up()));
        assert_eq!(view.types, [Label::from("iOS")]);
        // stale_after counts from the time of reading, which is the original one.
        assert_eq!(view.users_by_freshness(181_001), [0, 1, 1]);
        assert_eq!(view.users_by_freshness(182_001), [0, 0, 2]);
    }

    #[test]
    fn who_there_is_is_written_whether_it_was_read_or_not_and_may_be_missing() {
        let (keeper, reader) = inventory::open();
        let mut publisher = keeper.add(identity(), None);
        let users: Arc<[UserId]> = ["1", "2"].map(|id| id.parse().unwrap()).into();
        let list = UserList { of: u64::MAX, users: users.clone() };
        publisher.direct(Directory { list: Some(list.clone()), ..Directory::default() });
        publisher.begin(&users);
        publisher.read(&users[0], vec![], 1_000);
        publisher.flush();
        let bytes = encode(&reader.snapshot()).unwrap();
        let restored =
            decode(&bytes, &Interner::default()).unwrap().remove(&identity().id).unwrap();
        assert_eq!((restored.users.len(), &restored.list), (1, &Some(list.clone())));
        let again = keeper.add(identity(), Some(restored.clone()));
        assert_eq!((again.list(), again.users().len()), (Some(&list), 1), "the poll had not ended");
        // After one that had, whoever was not read is missing.
        let last_poll = Some(LastPoll { at: 1, took: Duration::ZERO, result: PollResult::Partial });
        let again = keeper.add(identity(), Some(RestoredNetwork { last_poll, ..restored }));
        assert_eq!(again.users(), list.users[..]);
        let view = reader.snapshot().networks[2].clone();
        assert_eq!(view.users_by_freshness(1_000), [0, 1, 1]);
        // As they were written before there was a list in them: one field less.
        let earlier = rmp_serde::to_vec(&("12345678", "", "", [0; 0], (), (), [0; 0])).unwrap();
        let part: NetworkPart = rmp_serde::from_slice(&earlier).unwrap();
        assert_eq!(super::restored(part, &[]).unwrap().1.list, None);
    }

    #[tokio::test]
    async fn what_is_known_outlives_who_polls_until_the_process_ends() {
        let (keeper, reader) = inventory::open();
        let mut publisher = keeper.add(identity(), None);
        let user = ["1".parse().unwrap()];
        publisher.begin(&user);
        publisher.read(&user[0], vec![], 1_000);
        publisher.flush();
        let polling = tokio::spawn(async move {
            tokio::task::yield_now().await;
            let beyond = publisher.users().len();
            publisher.failed(&[][beyond..][0], crate::wickr::ErrorKind::Timeout);
        });
        assert!(polling.await.unwrap_err().is_panic());
        let saved = decode(&encode(&reader.snapshot()).unwrap(), &Interner::default()).unwrap();
        assert_eq!(saved[&identity().id].users.len(), 1);
        let other = NetworkIdentity { id: "87654321".parse().unwrap(), ..identity() };
        keeper.add(other, None).withdraw();
        assert_eq!(reader.snapshot().networks.len(), 1);
    }

    #[test]
    fn what_is_cut_short_changed_foreign_or_newer_is_refused() {
        let (_, bytes) = known();
        let labels = Interner::default();
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end], &labels).is_err(), "{end}");
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x10;
            assert!(decode(&changed, &labels).is_err(), "{place}");
        }
        assert_eq!(decode(b"", &labels), Err(BadState::Foreign));
        assert_eq!(decode(b"wickr-exporter state 2\nx", &labels), Err(BadState::OtherVersion(2)));
        assert_eq!(decode(b"wickr-exporter state x\nx", &labels), Err(BadState::Foreign));
        // A right checksum over nonsense.
        for payload in [&b""[..], b"\xc1", b"\x92\x90\x91\x90", b"\xff\xff"] {
            let mut file = [MAGIC, &Sha256::digest(payload)].concat();
            file.extend_from_slice(payload);
            assert!(matches!(decode(&file, &labels), Err(BadState::Nonsense(_))), "{payload:?}");
        }
    }

    #[test]
    fn a_device_takes_less_than_a_hundred_bytes_even_if_it_is_its_users_only_one() {
        let (keeper, reader) = inventory::open();
        let mut publisher = keeper.add(identity(), None);
        let users: Vec<UserId> =
            (1_000..6_000).map(|id: u32| id.to_string().parse().unwrap()).collect();
        publisher.begin(&users);
        let mut random = fastrand::Rng::with_seed(1);
        for user in &users {
            let id: String = (0..4).map(|_| format!("{:016x}", random.u64(..))).collect();
            let at = |random: &mut fastrand::Rng| {
                Stamp::at_millis(1_700_000_000_000 + random.i64(0..9_999_999_999))
            };
            let device = Device { created: at(&mut random), ..device(Some(&id), at(&mut random)) };
            publisher.read(user, vec![device], 1_700_000_000_000 + random.i64(0..100_000));
        }
        publisher.end(1_700_000_100_000, Duration::ZERO, true);
        let without = encode(&reader.snapshot()).unwrap().len();
        let list = Some(UserList { of: 1, users: users.into() });
        publisher.direct(Directory { list, ..Directory::default() });
        let bytes = encode(&reader.snapshot()).unwrap().len();
        let for_list = bytes - without;
        assert!((250_000..500_000).contains(&bytes), "{bytes}, {for_list} of them for the list");
    }

    #[test]
    fn a_time_beyond_all_times_is_refused_and_not_another_time() {
        let read = |millis: u64| {
            let bytes = rmp_serde::to_vec(&millis).unwrap();
            rmp_serde::from_slice::<StampPart>(&bytes).map(Stamp::from).ok()
        };
        assert_eq!(read(i64::MAX as u64), Some(Stamp::at_millis(i64::MAX)));
        assert_eq!(read(i64::MAX as u64 + 1), None);
        assert_eq!(read(u64::MAX), None);
    }
}
