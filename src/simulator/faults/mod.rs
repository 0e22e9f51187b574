//! Scripted trouble: what goes wrong, for which requests, how often.
//!
//! A fault is built in code or read from text, and can be added and taken away while the
//! simulator runs:
//!
//! ```
//! use wickr_exporter::simulator::{Fault, FaultKind, Operation};
//!
//! let written: Fault = "503,op=ListUsers,times=2".parse()?;
//! let built = Fault::error(503).operation(Operation::ListUsers).times(2);
//! assert_eq!(written, built);
//! # Ok::<(), String>(())
//! ```
//!
//! # The text form
//!
//! ```text
//! KIND[:VALUE][,KEY=VALUE]...
//! ```
//!
//! A comma or the colon comes before a `KEY=VALUE` alike: `429:retry-after=2` is
//! `429,retry-after=2`. `body=`, `message=` and `location=` run to the end of the text,
//! commas and all, so they come last.
//!
//! | kind | what happens | keys of its own |
//! |---|---|---|
//! | `400` to `599` | the service's error answer of that status | `retry-after=`, `type=`, `message=` |
//! | `error` | any error answer | `status=` (400 to 599), `type=`, `message=`, `retry-after=` |
//! | `unauthorized`, `forbidden`, `expired-token` | 401 UnauthorizedError, 403 ForbiddenError, 403 ExpiredTokenException | `message=` |
//! | `hang` | no answer, ever | |
//! | `reset`, `close` | the connection is reset, or closed, without an answer | |
//! | `truncate` | the true answer, cut in half, then the connection closes | |
//! | `endless` | a body that never ends, sent fast | |
//! | `drip[:50ms]` | the true answer, a byte at a time | |
//! | `nonsense` | 200 with something that is not JSON | `body=`: with exactly this |
//! | `html` | 502 with a proxy's HTML page | |
//! | `redirect` | 302 elsewhere | `location=` |
//! | `slow:500ms` | the answer, later | |
//! | `skew:10m`, `skew:-10m` | the server's clock is ahead, or behind | |
//! | `refuse-token` | 400 `Invalid nextToken.` for any request with a token | |
//! | `repeat-token` | every page has the same `nextToken` | |
//! | `endless-pages` | every page has another `nextToken` | |
//!
//! | selector | which requests |
//! |---|---|
//! | `op=ListDevicesForUser` | of this operation |
//! | `network=12345678`, `user=1001` | of this network, of this user |
//! | `page=3` | for the third page of a list (with a valid token, that is) |
//! | `p=0.1` | one in ten, by a seeded chance |
//! | `after=5` | not the first five that the selectors above, but for `p`, pick |
//! | `times=2` | only twice, then never again |
//!
//! Several faults can hit one request: the first that answers answers, and `slow`, `skew`
//! and the paging kinds join in. A fault that an earlier one of its sort has crowded out is
//! not counted. Faults strike as a request comes in, and are counted then; a request beyond
//! the rate limit, of no operation, or with a wrong signature (by the skewed clock) is refused
//! as always, whatever answer was planned for it.

mod parse;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;

use super::call::{Call, Operation};
use super::errors::ApiError;

/// What goes wrong. The module's table says more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// An error answer; what is none is as the service has it.
    Error {
        /// The HTTP status, 400 to 599.
        status: u16,
        /// `x-amzn-errortype`.
        name: Option<String>,
        /// The message in the body.
        message: Option<String>,
        /// The header `Retry-After`, whatever its text.
        retry_after: Option<String>,
    },
    /// No answer, ever.
    Hang,
    /// The connection is reset without an answer.
    Reset,
    /// The connection is closed without an answer.
    Close,
    /// Half of the true answer, then the connection closes.
    Truncate,
    /// A body without end, sent fast.
    Endless,
    /// The true answer, a byte at a time, with this pause between.
    Drip(Duration),
    /// 200 with exactly this body.
    Nonsense(String),
    /// 502 with a proxy's HTML page.
    Html,
    /// 302 to this address.
    Redirect(String),
    /// The answer comes so much later.
    Slow(Duration),
    /// The server's clock is ahead by so much.
    Skew(SignedDuration),
    /// 400 `Invalid nextToken.` for any request with a token.
    RefuseToken,
    /// Every page has the same `nextToken`.
    RepeatToken,
    /// Every page has another `nextToken`.
    EndlessPages,
    /// The handler panics: to prove that nobody overlooks it.
    #[cfg(test)]
    Panic,
}

/// A kind of trouble and the requests that it befalls: all, unless narrowed.
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

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self::new(kind)
    }
}

impl Fault {
    /// Befalls every request.
    pub fn new(kind: FaultKind) -> Self {
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

    /// The service's error answer of this status.
    pub fn error(status: u16) -> Self {
        Self::new(FaultKind::Error { status, name: None, message: None, retry_after: None })
    }

    /// Only requests of this operation.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only requests of this network.
    #[must_use]
    pub fn network(mut self, id: impl Into<String>) -> Self {
        self.network = Some(id.into());
        self
    }

    /// Only requests of this user.
    #[must_use]
    pub fn user(mut self, id: impl Into<String>) -> Self {
        self.user = Some(id.into());
        self
    }

    /// Only requests for this page of a list, the first being 1.
    #[must_use]
    pub fn page(mut self, page: u32) -> Self {
        self.page = Some(page);
        self
    }

    /// Only this share of the requests, 0 to 1.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Not the first so many.
    #[must_use]
    pub fn after(mut self, after: u64) -> Self {
        self.after = after;
        self
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    fn picks(&self, call: Option<&Call>, page: Option<u32>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&String>| {
            wanted.is_none() || wanted.as_ref() == found
        };
        let has_token = || call.is_some_and(|call| call.token().is_some());
        (self.operation.is_none() || self.operation == call.map(|call| call.operation))
            && is(&self.network, call.map(|call| &call.network))
            && is(&self.user, call.map(|call| &call.user))
            && (self.page.is_none() || self.page == page)
            && (self.kind != FaultKind::RefuseToken || has_token())
    }
}

/// The name of a fault that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

/// The faults of a running simulator.
#[derive(Debug)]
pub struct Faults {
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    active: Vec<Active>,
    next_id: u64,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct Active {
    id: FaultId,
    fault: Fault,
    picked: u64,
    hits: u64,
}

impl Faults {
    pub(super) fn new(faults: &[Fault], seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed ^ 0xFA17);
        let this = Self { book: Mutex::new(Book { active: Vec::new(), next_id: 0, rng }) };
        faults.iter().cloned().for_each(|fault| {
            this.add(fault);
        });
        this
    }

    /// Adds a fault behind those there are.
    pub fn add(&self, fault: impl Into<Fault>) -> FaultId {
        let mut book = self.book();
        let id = FaultId(book.next_id);
        book.next_id += 1;
        book.active.push(Active { id, fault: fault.into(), picked: 0, hits: 0 });
        id
    }

    /// Takes a fault away; whether it was there.
    pub fn remove(&self, id: FaultId) -> bool {
        let mut book = self.book();
        let before = book.active.len();
        book.active.retain(|active| active.id != id);
        book.active.len() < before
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.book().active.clear();
    }

    /// How often a fault struck; none once it was taken away.
    pub fn hits(&self, id: FaultId) -> Option<u64> {
        self.book().active.iter().find(|active| active.id == id).map(|active| active.hits)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What befalls this request, counted as befallen.
    pub(super) fn strike(&self, call: Option<&Call>, page: Option<u32>) -> Plan {
        let mut plan = Plan::default();
        let mut book = self.book();
        let Book { active, rng, .. } = &mut *book;
        for active in active.iter_mut() {
            let fault = &active.fault;
            if !fault.picks(call, page) || !plan.has_room_for(&fault.kind) {
                continue;
            }
            active.picked += 1;
            if active.picked <= fault.after
                || fault.times.is_some_and(|times| active.hits >= times)
                || rng.f64() >= fault.probability
            {
                continue;
            }
            active.hits += 1;
            plan.take(fault.kind.clone());
        }
        plan
    }
}

/// All that befalls one request.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) skew: SignedDuration,
    /// In place of the true answer, or something done to it.
    pub(super) answer: Option<FaultKind>,
    /// `RepeatToken` or `EndlessPages`.
    pub(super) paging: Option<FaultKind>,
}

impl Plan {
    fn has_room_for(&self, kind: &FaultKind) -> bool {
        match kind {
            FaultKind::Slow(_) | FaultKind::Skew(_) => true,
            FaultKind::RepeatToken | FaultKind::EndlessPages => self.paging.is_none(),
            _ => self.answer.is_none(),
        }
    }

    fn take(&mut self, kind: FaultKind) {
        match kind {
            FaultKind::Slow(delay) => self.delay = self.delay.saturating_add(delay),
            FaultKind::Skew(skew) => self.skew = self.skew.saturating_add(skew),
            FaultKind::RepeatToken | FaultKind::EndlessPages => self.paging = Some(kind),
            kind => self.answer = Some(kind),
        }
    }

    /// The error answer that was planned, if one was.
    pub(super) fn error(&self) -> Option<ApiError> {
        match self.answer.as_ref()? {
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
