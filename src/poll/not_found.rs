//! Decides whether to trust "unknown user" responses.
//!
//! A single unknown user was deleted, and its data is no longer served. Several in a row, where none
//! was unknown before, are more likely a broken network or gateway: their data then stays until it is
//! overdue for too long or discovery no longer lists the user.

use crate::{
    inventory::Publisher,
    wickr::{ErrorKind, UserId},
};

/// Number of consecutive unknown users from which the responses are not trusted.
const DOUBTFUL: usize = 3;

/// Delays "unknown user" results until it is clear whether to trust them.
#[derive(Debug, Default)]
pub(super) struct NotFoundGuard {
    held: Vec<UserId>,
    in_a_row: usize,
}

impl NotFoundGuard {
    /// The service does not know `user`.
    pub(super) fn not_found(&mut self, user: &UserId, publisher: &mut Publisher) {
        if !publisher.has_data(user) {
            return publisher.not_found(user);
        }
        self.in_a_row += 1;
        self.held.push(user.clone());
        if self.in_a_row >= DOUBTFUL {
            for user in self.held.drain(..) {
                publisher.record_failure(&user, ErrorKind::NotFound);
            }
        }
    }

    /// Another user was read, or the poll has ended: the row ends.
    pub(super) fn end_row(&mut self, publisher: &mut Publisher) {
        for user in self.held.drain(..) {
            publisher.not_found(&user);
        }
        self.in_a_row = 0;
    }
}
