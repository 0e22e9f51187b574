//! The client: one attempt after another until there is an answer, one page after another until
//! the list ends. The pieces it is made of know nothing of each other.

use std::{
    collections::HashSet,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use jiff::tz::TimeZone;
use reqwest::Url;
use tokio::time::Instant;

use super::{
    Device, Endpoint, Error, ErrorKind, Interner, Network, NetworkId, Operation, SecurityGroup,
    User, UserId,
    concurrency::NetworkLimiter,
    credentials::{CredentialStore, Kept},
    operation::{List, ListUsersFilter},
    paging::{self, Bounds, Pages},
    rate::RateLimiter,
    response,
    retry::{Attempts, Verdict},
    signing::sign,
    transport::{Answer, Failure, Transport},
    wire::{self, Flaw},
};

/// Who wants to know what the client does, for metrics.
pub trait Observer: fmt::Debug + Send + Sync {
    /// One attempt has ended, after `took`.
    fn attempted(&self, operation: Operation, outcome: Outcome, took: Duration);
    /// A failure of this kind is about to be tried again.
    fn retried(&self, kind: ErrorKind);
    /// A request waited this long for the rate's allowance.
    fn waited(&self, waited: Duration);
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer of this HTTP status.
    Status(u16),
    /// Without an answer in time.
    Timeout,
    /// Without an answer, for want of a connection.
    Connection,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Status(status) => write!(f, "{status}"),
            Outcome::Timeout => f.write_str("timeout"),
            Outcome::Connection => f.write_str("connection"),
        }
    }
}

/// What a client is made of. The shared parts bound what several clients do together.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Where the service is.
    pub endpoint: Endpoint,
    /// The region that signatures are bound to.
    pub region: String,
    /// The account's credentials.
    pub credentials: Arc<CredentialStore>,
    /// The account's allowance in the region.
    pub rate: Arc<RateLimiter>,
    /// The zone of times that name none.
    pub timezone: TimeZone,
    /// The longest that one attempt may take.
    pub request_timeout: Duration,
    /// The most attempts at one request.
    pub max_attempts: u32,
    /// Items on a page, 1 to 100.
    pub page_size: u16,
    /// The texts that devices share.
    pub labels: Arc<Interner>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
}

/// A client of the Admin API of one account in one region.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    host: String,
    transport: Transport,
    flaws: KnownFlaws,
}

impl Client {
    /// A client; it connects when first asked.
    ///
    /// # Errors
    ///
    /// A sentence, when the endpoint has no host or the machine's TLS settings cannot be used.
    pub fn new(options: ClientOptions) -> Result<Client, String> {
        let url = Url::parse(options.endpoint.as_str()).map_err(|error| error.to_string())?;
        let host = url.host_str().ok_or("the endpoint names no host")?;
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let transport = Transport::new(&options.endpoint, options.request_timeout)?;
        let flaws = KnownFlaws::default();
        Ok(Client { options, host, transport, flaws })
    }

    /// All devices of a user, ordered by `appId`, each once: pages may overlap.
    ///
    /// # Errors
    ///
    /// The first failure that retries did not mend; then nothing of the list is given.
    pub async fn devices(
        &self,
        network: &NetworkId,
        user: &UserId,
        lane: &NetworkLimiter,
    ) -> Result<Vec<Device>, Error> {
        let list = List::devices(network, user, self.options.page_size);
        let mut devices =
            self.collect(&list, lane, paging::DEVICES, |body| self.read_devices(body)).await?;
        // Of two with one id the later one is the news; the sort keeps their order.
        devices.reverse();
        devices
            .sort_by(|a, b| (a.app_id.is_none(), &a.app_id).cmp(&(b.app_id.is_none(), &b.app_id)));
        devices.dedup_by(|a, b| a.app_id.is_some() && a.app_id == b.app_id);
        devices.shrink_to_fit();
        Ok(devices)
    }

    /// Reads the first page of a user's devices and tells how many it holds: a trial of
    /// credentials, permissions and connection.
    ///
    /// # Errors
    ///
    /// The failure that retries did not mend.
    pub async fn try_devices(
        &self,
        network: &NetworkId,
        user: &UserId,
        lane: &NetworkLimiter,
    ) -> Result<usize, Error> {
        let list = List::devices(network, user, self.options.page_size);
        let body = self.call(&list, None, lane).await?;
        let (devices, _) = self.read_devices(&body).map_err(|error| not_json(&list, &error))?;
        Ok(devices.len())
    }

    /// The first page of a network's users: a trial, as [`Client::try_devices`] is.
    ///
    /// # Errors
    ///
    /// The failure that retries did not mend.
    pub async fn try_users(
        &self,
        network: &NetworkId,
        filter: &ListUsersFilter,
        lane: &NetworkLimiter,
    ) -> Result<Vec<User>, Error> {
        let list = List::users(network, filter, self.options.page_size);
        let body = self.call(&list, None, lane).await?;
        let (mut users, _) = wire::users_page(&body).map_err(|error| not_json(&list, &error))?;
        users.retain(|user| !user.is_bot);
        Ok(users)
    }

    /// Of the users of a network, in the service's order, what `keep` makes of each: the rest of a
    /// page is forgotten before the next is read.
    ///
    /// # Errors
    ///
    /// The first failure that retries did not mend; then nothing of the list is given.
    pub async fn users<T>(
        &self,
        network: &NetworkId,
        filter: &ListUsersFilter,
        lane: &NetworkLimiter,
        keep: impl Fn(User) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let list = List::users(network, filter, self.options.page_size);
        let read = |body: &[u8]| {
            let (users, token) = wire::users_page(body)?;
            let users = users.into_iter().filter(|user| !user.is_bot);
            Ok((users.filter_map(&keep).collect(), token))
        };
        self.collect(&list, lane, paging::DIRECTORY, read).await
    }

    /// The networks of the account in the region, in the service's order, and how many more there
    /// are that come without a usable id.
    ///
    /// # Errors
    ///
    /// The first failure that retries did not mend; then nothing of the list is given. None of the
    /// networks being usable is one, too.
    pub async fn networks(&self, lane: &NetworkLimiter) -> Result<(Vec<Network>, usize), Error> {
        let list = List::networks(self.options.page_size);
        let all = self.collect(&list, lane, paging::DIRECTORY, wire::networks_page).await?;
        let count = all.len();
        let networks: Vec<_> = all.into_iter().flatten().collect();
        let unusable = count - networks.len();
        if unusable > 0 && networks.is_empty() {
            let why = format!("none of {count} networks comes with a usable networkId");
            return Err(Error::new(list.operation, ErrorKind::InvalidResponse, why));
        }
        Ok((networks, unusable))
    }

    /// The security groups of a network, in the service's order.
    ///
    /// # Errors
    ///
    /// The first failure that retries did not mend; then nothing of the list is given.
    pub async fn security_groups(
        &self,
        network: &NetworkId,
        lane: &NetworkLimiter,
    ) -> Result<Vec<SecurityGroup>, Error> {
        let list = List::security_groups(network, self.options.page_size);
        self.collect(&list, lane, paging::DIRECTORY, wire::security_groups_page).await
    }

    /// A whole list, or the reason why there is none. A panic is one: an answer that nobody has
    /// thought of must not cost the others. It was counted and logged as it happened.
    async fn collect<T>(
        &self,
        list: &List,
        lane: &NetworkLimiter,
        bounds: Bounds,
        read: impl Fn(&[u8]) -> serde_json::Result<(Vec<T>, Option<String>)>,
    ) -> Result<Vec<T>, Error> {
        let collecting = AssertUnwindSafe(self.collect_pages(list, lane, bounds, read));
        collecting.catch_unwind().await.unwrap_or_else(|_| {
            let why = "asking for it, or reading the answer, failed by a bug of this program, see its log";
            Err(Error::new(list.operation, ErrorKind::InvalidResponse, why))
        })
    }

    /// Page by page. A token that the service refuses on a later page may just have grown old: then
    /// the list is read anew, once.
    async fn collect_pages<T>(
        &self,
        list: &List,
        lane: &NetworkLimiter,
        bounds: Bounds,
        read: impl Fn(&[u8]) -> serde_json::Result<(Vec<T>, Option<String>)>,
    ) -> Result<Vec<T>, Error> {
        let mut started_over = false;
        let mut pages = Pages::new(bounds);
        let mut items = Vec::new();
        let mut token = None;
        loop {
            let body = match self.call(list, token.as_deref(), lane).await {
                Err(error)
                    if error.kind == ErrorKind::InvalidRequest
                        && pages.have_begun()
                        && !started_over =>
                {
                    tracing::debug!(%error, "a page token was refused, reading the list anew");
                    started_over = true;
                    (pages, items, token) = (Pages::new(bounds), Vec::new(), None);
                    continue;
                }
                called => called?,
            };
            let (found, next) = read(&body).map_err(|error| not_json(list, &error))?;
            pages
                .note(body.len(), found.len(), next.as_deref())
                .map_err(|why| Error::new(list.operation, ErrorKind::InvalidResponse, why))?;
            items.extend(found);
            match next {
                None => return Ok(items),
                next => token = next,
            }
        }
    }

    /// One page's body, tried as often as the retry policy allows.
    async fn call(
        &self,
        list: &List,
        token: Option<&str>,
        lane: &NetworkLimiter,
    ) -> Result<Bytes, Error> {
        let url = list.url(self.options.endpoint.as_str(), token);
        let mut attempts = Attempts::new(self.options.max_attempts);
        loop {
            // Everything that can take time comes before the rate token: tokens that wait would be
            // spent in a burst.
            let permit = lane.enter().await;
            self.credentials(list.operation).await?;
            let asked = Instant::now();
            let pass = self.options.rate.pass().await;
            self.options.observer.waited(asked.elapsed());
            // They can expire during the wait.
            let kept = self.credentials(list.operation).await?;
            let request = Request { operation: list.operation, url: &url, token, kept: &kept };
            let result = self.attempt(request).await;
            drop(permit);
            let error = match result {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            if error.kind == ErrorKind::RateLimited {
                self.options.rate.throttled(pass);
            }
            let verdict = attempts.judge(&error, fastrand::f64());
            if verdict != Verdict::GiveUp {
                self.options.observer.retried(error.kind);
                tracing::debug!(%error, path = list.path(), ?verdict, "trying again");
            }
            match verdict {
                Verdict::GiveUp => return Err(error),
                Verdict::After(wait) => lane.rest(wait).await,
                Verdict::WithServerTime { ahead } => {
                    tracing::warn!(
                        seconds = ahead,
                        "the clock here is off, the service's is ahead by so much; using the service's"
                    );
                    self.options.credentials.clock().set_ahead(ahead);
                }
                Verdict::WithNewCredentials => self.options.credentials.replace(&kept).await,
            }
        }
    }

    async fn credentials(&self, operation: Operation) -> Result<Arc<Kept>, Error> {
        self.options.credentials.get().await.map_err(|why| {
            let why = format!("no AWS credentials: {why}");
            Error::new(operation, ErrorKind::Unauthorized, why)
        })
    }

    async fn attempt(&self, request: Request<'_>) -> Result<Bytes, Error> {
        let Request { operation, url, token, kept } = request;
        let invalid = |why: String| Error::new(operation, ErrorKind::InvalidRequest, why);
        let times = self.options.credentials.clock().times();
        let region = &self.options.region;
        let headers =
            sign(url, &self.host, region, &kept.credentials, times.signed).map_err(invalid)?;
        let url = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        let path = url.path().to_owned();
        let started = Instant::now();
        let done = self.transport.get(url, headers).await;
        let outcome = match &done {
            Ok(answer) => Outcome::Status(answer.status.as_u16()),
            Err(Failure::TooLarge(status)) => Outcome::Status(status.as_u16()),
            Err(Failure::Timeout) => Outcome::Timeout,
            Err(Failure::Connection(_)) => Outcome::Connection,
        };
        let took = started.elapsed();
        self.options.observer.attempted(operation, outcome, took);
        let seconds = took.as_secs_f64();
        tracing::debug!(operation = operation.as_str(), path, %outcome, seconds, "asked");
        match done {
            Ok(Answer { status, body, .. }) if status.is_success() => Ok(body),
            Ok(answer) => Err(response::error(operation, &answer, &kept.credentials, token, times)),
            Err(Failure::TooLarge(status)) => Err(Error {
                status: Some(status.as_u16()),
                ..Error::new(operation, ErrorKind::InvalidResponse, "the body is over 8 MiB")
            }),
            Err(Failure::Timeout) => {
                let message = format!("no whole answer within {:?}", self.options.request_timeout);
                Err(Error::new(operation, ErrorKind::Timeout, message))
            }
            Err(Failure::Connection(why)) => Err(Error::new(operation, ErrorKind::Connection, why)),
        }
    }

    fn read_devices(&self, body: &[u8]) -> serde_json::Result<(Vec<Device>, Option<String>)> {
        let (labels, zone) = (&self.options.labels, &self.options.timezone);
        wire::devices_page(body, labels, zone, &mut |flaw| self.flaws.note(flaw))
    }
}

/// One attempt at one page.
struct Request<'a> {
    operation: Operation,
    url: &'a str,
    token: Option<&'a str>,
    kept: &'a Kept,
}

/// The parser's own words may repeat what it read, which is anything: where, not what, is told.
fn not_json(list: &List, error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let why = match error.classify() {
        serde_json::error::Category::Data => "JSON of another shape than documented",
        _ => "not JSON",
    };
    let message = format!("the answer is {why} (line {line}, column {column})");
    Error::new(list.operation, ErrorKind::InvalidResponse, message)
}

/// The flaws in devices that were logged: each form once, however many devices show it.
#[derive(Debug, Default)]
struct KnownFlaws(Mutex<HashSet<Flaw>>);

impl KnownFlaws {
    /// How many are remembered, and so logged.
    const MOST: usize = 100;

    fn note(&self, flaw: Flaw) {
        // A set is whole whatever a thread that held the lock died of.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < Self::MOST && !known.contains(&flaw) {
            tracing::warn!(
                member = flaw.0,
                form = flaw.1,
                "data of a device cannot be read (digits are shown as 9, letters as a); \
                 further ones of this form are not logged"
            );
            known.insert(flaw);
        }
    }
}
