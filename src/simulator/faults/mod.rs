//! Fault injection: what fails, for which requests, how often.
//!
//! Faults can be added and removed while the simulator runs. Their text form is
//!
//! ```text
//! KIND[:VALUE][,KEY=VALUE]...
//! ```
//!
//! The first `KEY=VALUE` can follow a colon: `429:retry-after=2` is `429,retry-after=2`.
//! `body=`, `message=` and `location=` must be last, because their values contain the rest of
//! the text, commas included.
//!
//! | kind | effect | keys |
//! |---|---|---|
//! | `400` to `599` | the service's error of this status | `retry-after=`, `type=`, `message=` |
//! | `error` | any error response | `status=` (400 to 599), `type=`, `message=`, `retry-after=` |
//! | `unauthorized` | 401 UnauthorizedError | `message=` |
//! | `forbidden` | 403 ForbiddenError | `message=` |
//! | `expired-token` | 403 ExpiredTokenException | `message=` |
//! | `hang` | no response | |
//! | `reset`, `close` | resets or closes the connection without a response | |
//! | `truncate` | closes the connection after half of the correct response | |
//! | `endless` | an endless body, sent fast | |
//! | `drip[:50ms]` | the correct response, a byte at a time | |
//! | `nonsense` | 200 with a body that is not JSON | `body=`: the exact body |
//! | `html` | 502 with the HTML page of a proxy | |
//! | `redirect` | 302 | `location=` |
//! | `slow:500ms` | delays the response | |
//! | `skew:10m`, `skew:-10m` | the server's clock is ahead or behind | |
//! | `refuse-token` | 400 `Invalid nextToken.` for every request with a token | |
//! | `repeat-token` | every page has the same `nextToken` | |
//! | `endless-pages` | every page has a new `nextToken` | |
//!
//! | selector | requests |
//! |---|---|
//! | `op=ListDevicesForUser` | of this operation |
//! | `network=12345678`, `user=1001` | of this network, of this user |
//! | `page=3` | for the third page of a list, with a valid token |
//! | `p=0.1` | with this probability, from the seed |
//! | `after=5` | except the first five that match the other selectors, `p` excluded |
//! | `times=2` | the first two only |
//!
//! Several faults can apply to one request: one response fault, one paging fault, and all `slow`
//! and `skew`. Earlier faults have priority; a fault that is not applied is not counted. Faults
//! are selected and counted when a request arrives, but a request beyond the rate limit, to an
//! unknown path, or with an invalid signature (by the skewed clock) still gets that error.

mod parse;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;

use super::call::{Call, Operation};
use super::errors::ApiError;

/// The effect of a fault: the table above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// What is `None` has the status's default.
    Error {
        /// 400 to 599.
        status: u16,
        /// `x-amzn-errortype`.
        name: Option<String>,
        message: Option<String>,
        /// The header `Retry-After`, valid or not.
        retry_after: Option<String>,
    },
    Hang,
    Reset,
    Close,
    Truncate,
    Endless,
    /// The pause before each byte.
    Drip(Duration),
    /// The body.
    Nonsense(String),
    Html,
    /// The location.
    Redirect(String),
    Slow(Duration),
    /// Positive is ahead.
    Skew(SignedDuration),
    RefuseToken,
    RepeatToken,
    EndlessPages,
    /// Panics in the request handler.
    #[cfg(test)]
    Panic,
}

/// A kind of fault and the requests that it applies to: all, unless restricted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    kind: FaultKind,
    operation: Option<Operation>,
    network: Option<String>,
    user: Option<String>,
    page: Option<u32>,
    probability: f64,
    after: u64,
    times: Option<u64>,
}

impl Fault {
    /// Applies to every request.
    pub(super) fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            operation: None,
            network: None,
            user: None,
            page: None,
            probability: 1.0,
            after: 0,
            times: None,
        }
    }

    fn matches(&self, call: Option<&Call>, page: Option<u32>) -> bool {
        let is = |selector: &Option<String>, value: Option<&String>| {
            selector.is_none() || selector.as_ref() == value
        };
        let has_token = || call.is_some_and(|call| call.token().is_some());
        (self.operation.is_none() || self.operation == call.map(|call| call.operation))
            && is(&self.network, call.map(|call| &call.network))
            && is(&self.user, call.map(|call| &call.user))
            && (self.page.is_none() || self.page == page)
            && (self.kind != FaultKind::RefuseToken || has_token())
    }
}

/// Identifies an added fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

/// The faults of a running simulator.
#[derive(Debug)]
pub struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    faults: Vec<AddedFault>,
    next_id: u64,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct AddedFault {
    id: FaultId,
    fault: Fault,
    matched: u64,
    hits: u64,
}

impl Faults {
    pub(super) fn new(faults: &[Fault], seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed ^ 0xFA17);
        let this = Self { inner: Mutex::new(Inner { faults: Vec::new(), next_id: 0, rng }) };
        faults.iter().cloned().for_each(|fault| {
            this.add(fault);
        });
        this
    }

    /// Adds a fault after all others.
    pub fn add(&self, fault: Fault) -> FaultId {
        let mut inner = self.lock();
        let id = FaultId(inner.next_id);
        inner.next_id += 1;
        inner.faults.push(AddedFault { id, fault, matched: 0, hits: 0 });
        id
    }

    /// Removes a fault. Returns whether it existed.
    pub fn remove(&self, id: FaultId) -> bool {
        let mut inner = self.lock();
        let before = inner.faults.len();
        inner.faults.retain(|added| added.id != id);
        inner.faults.len() < before
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.lock().faults.clear();
    }

    /// How often a fault was applied; `None` after its removal.
    pub fn hits(&self, id: FaultId) -> Option<u64> {
        self.lock().faults.iter().find(|added| added.id == id).map(|added| added.hits)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Selects and counts the faults of a request.
    pub(super) fn plan(&self, call: Option<&Call>, page: Option<u32>) -> FaultPlan {
        let mut plan = FaultPlan::default();
        let mut inner = self.lock();
        let Inner { faults, rng, .. } = &mut *inner;
        for added in faults.iter_mut() {
            let fault = &added.fault;
            if !fault.matches(call, page) || !plan.accepts(&fault.kind) {
                continue;
            }
            added.matched += 1;
            if added.matched <= fault.after
                || fault.times.is_some_and(|times| added.hits >= times)
                || rng.f64() >= fault.probability
            {
                continue;
            }
            added.hits += 1;
            plan.add(fault.kind.clone());
        }
        plan
    }
}

/// The faults of one request.
#[derive(Debug, Default)]
pub(super) struct FaultPlan {
    pub(super) delay: Duration,
    pub(super) skew: SignedDuration,
    pub(super) response: Option<FaultKind>,
    /// `RepeatToken` or `EndlessPages`.
    pub(super) paging: Option<FaultKind>,
}

impl FaultPlan {
    fn accepts(&self, kind: &FaultKind) -> bool {
        match kind {
            FaultKind::Slow(_) | FaultKind::Skew(_) => true,
            FaultKind::RepeatToken | FaultKind::EndlessPages => self.paging.is_none(),
            _ => self.response.is_none(),
        }
    }

    fn add(&mut self, kind: FaultKind) {
        match kind {
            FaultKind::Slow(delay) => self.delay = self.delay.saturating_add(delay),
            FaultKind::Skew(skew) => self.skew = self.skew.saturating_add(skew),
            FaultKind::RepeatToken | FaultKind::EndlessPages => self.paging = Some(kind),
            kind => self.response = Some(kind),
        }
    }

    /// The planned error response.
    pub(super) fn error(&self) -> Option<ApiError> {
        match self.response.as_ref()? {
            FaultKind::RefuseToken => Some(ApiError::invalid_token()),
            FaultKind::Error { status, name, message, retry_after } => {
                let mut error = ApiError::of_status(*status);
                if let Some(name) = name {
                    error.kind = name.clone().into();
                }
                if let Some(message) = message {
                    error.body["message"] = message.as_str().into();
                }
                error.retry_after.clone_from(retry_after);
                Some(error)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
