//! What a killed exporter must have saved: all data of polls that ended before its last save began.

use std::collections::BTreeMap;

use super::{
    expected::{Ms, UserKey},
    scrape::{Scrape, millis},
};

/// When the data of each user was read.
pub type ReadTimes = BTreeMap<UserKey, Ms>;

/// The read times in a scrape.
pub fn read_times(scrape: &Scrape) -> ReadTimes {
    let users = scrape.users().into_iter();
    users.filter_map(|(key, user)| Some((key, user.read_at?))).collect()
}

/// When the state was last saved; 0 if it was not.
pub fn last_save(scrape: &Scrape) -> Ms {
    millis(scrape.total("wickr_exporter_state_last_save_timestamp_seconds"))
}

/// The end of the last poll of each network that is polled; 0 before its first.
pub fn poll_ends(scrape: &Scrape) -> BTreeMap<String, Ms> {
    let polled = scrape.samples("wickr_exporter_poll_progress_ratio");
    polled
        .map(|(labels, _)| {
            let network = labels["network_id"].clone();
            let ended = scrape.network("wickr_exporter_last_poll_timestamp_seconds", &network);
            (network, ended.map_or(0, millis))
        })
        .collect()
}

/// Follows the saves of one process.
#[derive(Default)]
pub struct Saves {
    pending: BTreeMap<String, Pending>,
    saved: ReadTimes,
}

/// The data of a poll that has ended.
struct Pending {
    ended: Ms,
    read_times: ReadTimes,
    /// The first save that ended after the poll. It can have started before.
    save: Option<Ms>,
}

impl Saves {
    pub fn update(&mut self, scrape: &Scrape) {
        let (saved_at, read_times) = (last_save(scrape), read_times(scrape));
        for (network, ended) in poll_ends(scrape) {
            let of_network = |(key, read_at): (&UserKey, &Ms)| {
                (key.0 == network && *read_at <= ended).then(|| (key.clone(), *read_at))
            };
            let pending = self.pending.entry(network.clone()).or_insert_with(|| Pending {
                ended,
                read_times: read_times.iter().filter_map(of_network).collect(),
                save: None,
            });
            if saved_at <= pending.ended {
                continue;
            }
            if *pending.save.get_or_insert(saved_at) < saved_at {
                self.saved.append(&mut pending.read_times);
                self.pending.remove(&network);
            }
        }
    }

    /// The read times that are in the state files.
    pub fn into_saved(self) -> ReadTimes {
        self.saved
    }
}
