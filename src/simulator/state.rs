//! What all connections of one simulator share, and how one request is answered.

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use fastrand::Rng;
use http::{HeaderMap, Method, Response, header};
use hyper::body::Body as _;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::answers::{self, NoAnswer};
use super::bucket::Bucket;
use super::call::Call;
use super::credentials::{Credentials, Known};
use super::errors::ApiError;
use super::faults::{FaultKind, Faults, Plan};
use super::fleet::Fleet;
use super::lists::Lists;
use super::options::Options;
use super::paging::{Position, Tokens};
use super::requests::{Record, Requests};
use super::sigv4::{Request, Verifier};

/// The state of a running simulator.
pub(super) struct State {
    pub(super) options: Options,
    pub(super) fleet: RwLock<Fleet>,
    pub(super) credentials: Credentials,
    pub(super) faults: Faults,
    pub(super) requests: Requests,
    pub(super) bucket: Mutex<Bucket>,
    pub(super) stop: CancellationToken,
    tokens: Tokens,
    rng: Mutex<Rng>,
}

impl State {
    pub(super) fn new(options: Options, fleet: Fleet) -> Self {
        let quirk = options.empty_pages.clamp(0.0, 1.0);
        Self {
            fleet: RwLock::new(fleet),
            credentials: Credentials::new(&options.credentials),
            faults: Faults::new(&options.faults, options.seed),
            requests: Requests::new(options.request_log),
            bucket: Mutex::new(Bucket::new(options.rate_limit, Instant::now())),
            stop: CancellationToken::new(),
            tokens: Tokens::new(options.seed, quirk),
            rng: Mutex::new(Rng::with_seed(options.seed ^ 0x1D)),
            options,
        }
    }

    /// The answer to one request; none where a fault wants the connection gone.
    pub(super) async fn answer(
        &self,
        request: http::Request<Incoming>,
    ) -> Result<Response<Body>, NoAnswer> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or_default();
        let call = Call::parse(path, query);
        let page = call.as_ref().and_then(|call| self.page_number(call));
        let plan = self.faults.strike(call.as_ref(), page);
        let now = Timestamp::now();
        let mut in_flight = self.requests.begin(Record {
            at: now,
            operation: call.as_ref().map(|call| call.operation),
            path: path.to_owned(),
            query: query.to_owned(),
            page,
            user_agent: user_agent(&parts.headers),
            status: None,
            error: None,
        });
        let now = now.saturating_add(plan.skew).unwrap_or(now);
        self.pause(self.latency().saturating_add(plan.delay)).await?;
        let signed = Request { path, query, headers: &parts.headers };
        let mut response = match self.admit(&parts.method, call, body.is_end_stream(), signed, now)
        {
            Ok((call, known)) => self.play(&plan, &call, page, &known).await?,
            Err(error) => answers::error(error),
        };
        let headers = response.headers_mut();
        answers::stamp(headers, now, self.random());
        let kind = headers.get(answers::ERROR_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.map(str::to_owned);
        in_flight.answered(response.status().as_u16(), kind);
        Ok(response)
    }

    /// All that comes before the operation itself, in the order of a service's layers.
    fn admit(
        &self,
        method: &Method,
        call: Option<Call>,
        bodiless: bool,
        signed: Request<'_>,
        now: Timestamp,
    ) -> Result<(Call, std::sync::Arc<Known>), ApiError> {
        self.limit_rate()?;
        if method != Method::GET {
            let message = format!("The method {method} is not allowed.");
            return Err(ApiError::new(405, "MethodNotAllowedException", message));
        }
        let call = call.ok_or_else(|| {
            ApiError::new(404, "UnknownOperationException", "No operation lives at this path.")
        })?;
        if !bodiless {
            return Err(ApiError::bad_request("A GET request has no body."));
        }
        let verifier = Verifier {
            credentials: &self.credentials,
            region: &self.options.region,
            clock_error: self.options.clock_error,
            now,
        };
        Ok((call, verifier.verify(signed)?))
    }

    /// The true answer, or what the faults make of it.
    async fn play(
        &self,
        plan: &Plan,
        call: &Call,
        page: Option<u32>,
        known: &Known,
    ) -> Result<Response<Body>, NoAnswer> {
        if let Some(error) = plan.error() {
            return Ok(answers::error(error));
        }
        let truth = || match self.list(call, known) {
            Ok(answer) => answers::json(&self.page_fault(plan, call, page, answer)),
            Err(error) => answers::error(error),
        };
        match &plan.answer {
            None => Ok(truth()),
            Some(FaultKind::Hang) => {
                self.stop.cancelled().await;
                Err(NoAnswer::Close)
            }
            #[cfg(test)]
            #[allow(clippy::panic)] // this is what it is for
            Some(FaultKind::Panic) => panic!("as scripted"),
            Some(fault) => answers::faulty(fault, truth).await,
        }
    }

    fn list(&self, call: &Call, known: &Known) -> Result<Value, ApiError> {
        let fleet = self.fleet.read().unwrap_or_else(PoisonError::into_inner);
        let lists = Lists {
            options: &self.options,
            fleet: &fleet,
            tokens: &self.tokens,
            credentials: &self.credentials,
            asker: &known.credential,
        };
        lists.answer(call)
    }

    fn page_fault(&self, plan: &Plan, call: &Call, page: Option<u32>, mut answer: Value) -> Value {
        // Both tokens are good ones: they lead back to the start of the list.
        let before = match &plan.paging {
            Some(FaultKind::RepeatToken) => 1,
            Some(_) if answer.get("nextToken").is_none() => page.unwrap_or(1),
            _ => return answer,
        };
        let start = Position { before, seen: None };
        answer["nextToken"] = self.tokens.write(&call.scope(), &start).into();
        answer
    }

    fn page_number(&self, call: &Call) -> Option<u32> {
        let Some(token) = call.token() else { return Some(1) };
        let position = self.tokens.read(&call.scope(), token).ok()?;
        Some(position.before.saturating_add(1))
    }

    fn limit_rate(&self) -> Result<(), ApiError> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(Instant::now()).map_err(|seconds| {
            let mut error = ApiError::rate_limit();
            if self.options.retry_after {
                error.retry_after = Some(format!("{}", seconds.ceil()));
            }
            error
        })
    }

    fn latency(&self) -> Duration {
        let latency = self.options.latency;
        let spread = latency.max.saturating_sub(latency.min);
        if spread.is_zero() {
            return latency.min;
        }
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        latency.min + spread.mul_f64(rng.f64())
    }

    fn random(&self) -> u128 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).u128(..)
    }

    /// Waits, but not for longer than the simulator lives.
    async fn pause(&self, pause: Duration) -> Result<(), NoAnswer> {
        if pause.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.stop.cancelled() => Err(NoAnswer::Close),
        }
    }
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::USER_AGENT)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}
