//! The request log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::call::Operation;

/// A finished request.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// When it arrived.
    pub at: Timestamp,
    /// Its operation; `None` for an unknown path.
    pub operation: Option<Operation>,
    /// The encoded path.
    pub path: String,
    /// The encoded query.
    pub query: String,
    /// The page of the list, from 1; `None` if its token is invalid.
    pub page: Option<u32>,
    /// The header `User-Agent`.
    pub user_agent: Option<String>,
    /// The status of the response; `None` without a response.
    pub status: Option<u16>,
    /// The `x-amzn-errortype` of the response.
    pub error: Option<String>,
}

/// The latest requests, and counters over all.
#[derive(Clone, Debug)]
pub struct Requests {
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    recent: VecDeque<RequestRecord>,
    capacity: usize,
    total: u64,
    by_operation: BTreeMap<Operation, u64>,
    by_status: BTreeMap<Option<u16>, u64>,
    in_flight: usize,
    max_in_flight: usize,
}

impl Requests {
    pub(super) fn new(capacity: usize) -> Self {
        Self { log: Arc::new(Mutex::new(Log { capacity, ..Log::default() })) }
    }

    /// The latest finished requests, oldest first, up to [`Options::request_log`].
    ///
    /// [`Options::request_log`]: super::Options::request_log
    pub fn recent(&self) -> Vec<RequestRecord> {
        self.log().recent.iter().cloned().collect()
    }

    /// Removes and returns the latest finished requests. The counters stay.
    pub fn take_recent(&self) -> Vec<RequestRecord> {
        self.log().recent.drain(..).collect()
    }

    /// Finished requests.
    pub fn total(&self) -> u64 {
        self.log().total
    }

    /// Finished requests of this operation.
    pub fn count(&self, operation: Operation) -> u64 {
        self.log().by_operation.get(&operation).copied().unwrap_or(0)
    }

    /// Finished requests with this status; `None` counts those without a response.
    pub fn count_status(&self, status: impl Into<Option<u16>>) -> u64 {
        self.log().by_status.get(&status.into()).copied().unwrap_or(0)
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.log().in_flight
    }

    /// The maximum number of concurrent requests.
    pub fn max_in_flight(&self) -> usize {
        self.log().max_in_flight
    }

    pub(super) fn begin(&self, record: RequestRecord) -> InFlight {
        let mut log = self.log();
        log.in_flight += 1;
        log.max_in_flight = log.max_in_flight.max(log.in_flight);
        InFlight { requests: self.clone(), record: Some(record) }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in flight. Dropping it records the request, so that cancelled requests are
/// recorded too.
#[derive(Debug)]
pub(super) struct InFlight {
    requests: Requests,
    record: Option<RequestRecord>,
}

impl InFlight {
    pub(super) fn set_response(&mut self, status: u16, error: Option<String>) {
        if let Some(record) = &mut self.record {
            record.status = Some(status);
            record.error = error;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let mut log = self.requests.log();
        log.in_flight = log.in_flight.saturating_sub(1);
        log.total += 1;
        *log.by_status.entry(record.status).or_default() += 1;
        if let Some(operation) = record.operation {
            *log.by_operation.entry(operation).or_default() += 1;
        }
        if log.recent.len() >= log.capacity {
            log.recent.pop_front();
        }
        if log.capacity > 0 {
            log.recent.push_back(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &str) -> RequestRecord {
        RequestRecord {
            at: Timestamp::now(),
            operation: Some(Operation::ListUsers),
            path: path.to_owned(),
            query: String::new(),
            page: Some(1),
            user_agent: None,
            status: None,
            error: None,
        }
    }

    #[test]
    fn bounds_the_log_and_counts_all_requests() {
        let requests = Requests::new(2);
        let mut first = requests.begin(record("/1"));
        first.set_response(200, None);
        let second = requests.begin(record("/2"));
        assert_eq!((requests.in_flight(), requests.max_in_flight()), (2, 2));
        drop(first);
        drop(second);
        drop(requests.begin(record("/3")));
        let paths: Vec<String> = requests.recent().into_iter().map(|record| record.path).collect();
        assert_eq!(paths, ["/2", "/3"]);
        assert_eq!((requests.total(), requests.count(Operation::ListUsers)), (3, 3));
        assert_eq!((requests.count_status(200), requests.count_status(None)), (1, 2));
        assert_eq!((requests.take_recent().len(), requests.recent().len()), (2, 0));
        assert_eq!(requests.total(), 3);
    }
}
