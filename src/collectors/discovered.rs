//! What discovery reads anyway. A collector that needs the same takes it from here instead of sending
//! requests of its own.

use std::sync::Arc;

use tokio::sync::watch;

use crate::wickr::{Error, Network, SecurityGroupItem};

/// What discovery reads, for the collectors of one network.
#[derive(Debug, Clone, Default)]
pub struct Discovered {
    /// The networks of the account.
    pub networks: LookupReader<Network>,
    /// The security groups of the network.
    pub groups: LookupReader<SecurityGroupItem>,
}

#[derive(Debug, Clone)]
enum State<T> {
    /// Discovery does not read it, or its result was not kept.
    Unknown,
    /// The first lookup has not ended.
    Pending,
    Ended(Result<Arc<[T]>, Error>),
}

/// The last result of a lookup that repeats. Discovery writes it.
#[derive(Debug)]
pub struct LastLookup<T>(watch::Sender<State<T>>);

impl<T: Clone> LastLookup<T> {
    /// A lookup whose result is `expected`, or that never runs.
    pub fn new(expected: bool) -> LastLookup<T> {
        let lookup = LastLookup(watch::Sender::new(State::Unknown));
        lookup.restart(expected);
        lookup
    }

    /// Forgets the last result. Readers wait for the next one if it is `expected`.
    pub fn restart(&self, expected: bool) {
        self.0.send_replace(if expected { State::Pending } else { State::Unknown });
    }

    /// A lookup ended.
    pub fn set(&self, result: Result<&[T], &Error>) {
        self.0.send_replace(State::Ended(result.map(Arc::from).map_err(Error::clone)));
    }

    /// Whether there is a reader.
    pub fn is_read(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// A reader of this lookup.
    pub fn reader(&self) -> LookupReader<T> {
        LookupReader(self.0.subscribe())
    }
}

/// Reads the last result of a lookup. The default has none.
#[derive(Debug, Clone)]
pub struct LookupReader<T>(watch::Receiver<State<T>>);

impl<T> Default for LookupReader<T> {
    fn default() -> Self {
        LookupReader(watch::channel(State::Unknown).1)
    }
}

impl<T: Clone> LookupReader<T> {
    /// The last result, after the first lookup has ended. None if discovery has none.
    pub async fn last(&self) -> Option<Result<Arc<[T]>, Error>> {
        let mut state = self.0.clone();
        let ended = state.wait_for(|state| !matches!(state, State::Pending)).await;
        match ended.as_deref() {
            Ok(State::Ended(result)) => Some(result.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::wickr::{ErrorKind, Operation};

    #[test]
    fn readers_wait_for_the_first_result_only_and_see_the_last_one() {
        let lookup = LastLookup::<u8>::new(true);
        let reader = lookup.reader();
        let last = |reader: &LookupReader<u8>| reader.last().now_or_never();
        assert_eq!(last(&reader), None, "pending");
        lookup.set(Ok(&[1]));
        assert_eq!(last(&reader), Some(Some(Ok([1].into()))));
        let error = Error::new(Operation::ListNetworks, ErrorKind::Timeout, "slow");
        lookup.set(Err(&error));
        assert_eq!(last(&reader), Some(Some(Err(error))));
        lookup.restart(false);
        assert_eq!(last(&reader), Some(None));
        lookup.restart(true);
        assert_eq!(last(&reader), None);
        drop(lookup);
        assert_eq!(last(&reader), Some(None), "no result will follow");
        assert_eq!(last(&LookupReader::default()), Some(None));
    }
}
