//! The state that all connections share, and the handling of one request.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use fastrand::Rng;
use http::{HeaderMap, Method, Response, header};
use hyper::body::Body as _;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::bucket::Bucket;
use super::call::Call;
use super::credentials::{Credential, Credentials, Entry};
use super::errors::ApiError;
use super::faults::{FaultKind, FaultPlan, Faults};
use super::fleet::Fleet;
use super::lists::Lists;
use super::options::Options;
use super::paging::{Position, Tokens};
use super::requests::{RequestRecord, Requests};
use super::responses::{self, NoResponse};
use super::sigv4::{Request, Verifier};

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
        let short_pages = options.empty_pages.clamp(0.0, 1.0);
        Self {
            fleet: RwLock::new(fleet),
            credentials: Credentials::new(&options.credentials),
            faults: Faults::new(&options.faults, options.seed),
            requests: Requests::new(options.request_log),
            bucket: Mutex::new(Bucket::new(options.rate_limit, Instant::now())),
            stop: CancellationToken::new(),
            tokens: Tokens::new(options.seed, short_pages),
            rng: Mutex::new(Rng::with_seed(options.seed ^ 0x1D)),
            options,
        }
    }

    pub(super) async fn respond(
        &self,
        request: http::Request<Incoming>,
    ) -> Result<Response<Body>, NoResponse> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or_default();
        let call = Call::parse(path, query);
        let page = call.as_ref().and_then(|call| self.page_number(call));
        let plan = self.faults.plan(call.as_ref(), page);
        let now = Timestamp::now();
        let mut in_flight = self.requests.begin(RequestRecord {
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
        let mut response = match self.check(&parts.method, call, body.is_end_stream(), signed, now)
        {
            Ok((call, entry)) => self.execute(&plan, &call, page, &entry.credential).await?,
            Err(error) => responses::error(error),
        };
        let headers = response.headers_mut();
        responses::set_common_headers(headers, now, self.random());
        let error = headers.get(responses::ERROR_TYPE).and_then(|name| name.to_str().ok());
        let error = error.map(str::to_owned);
        in_flight.set_response(response.status().as_u16(), error);
        Ok(response)
    }

    /// Checks rate limit, method, path, body and signature, in the order of AWS's layers.
    fn check(
        &self,
        method: &Method,
        call: Option<Call>,
        no_body: bool,
        signed: Request<'_>,
        now: Timestamp,
    ) -> Result<(Call, Arc<Entry>), ApiError> {
        self.limit_rate()?;
        if method != Method::GET {
            let message = format!("The method {method} is not allowed.");
            return Err(ApiError::new(405, "MethodNotAllowedException", message));
        }
        let call = call.ok_or_else(|| {
            ApiError::new(404, "UnknownOperationException", "No operation matches this path.")
        })?;
        if !no_body {
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

    /// Runs the operation and applies the planned faults.
    async fn execute(
        &self,
        plan: &FaultPlan,
        call: &Call,
        page: Option<u32>,
        caller: &Credential,
    ) -> Result<Response<Body>, NoResponse> {
        if let Some(error) = plan.error() {
            return Ok(responses::error(error));
        }
        let correct = || match self.list(call, caller) {
            Ok(body) => responses::json(&self.apply_paging_fault(plan, call, page, body)),
            Err(error) => responses::error(error),
        };
        match &plan.response {
            None => Ok(correct()),
            Some(FaultKind::Hang) => {
                self.stop.cancelled().await;
                Err(NoResponse::Close)
            }
            #[cfg(test)]
            #[allow(clippy::panic)] // the purpose of this fault
            Some(FaultKind::Panic) => panic!("injected"),
            Some(fault) => responses::faulty(fault, correct).await,
        }
    }

    fn list(&self, call: &Call, caller: &Credential) -> Result<Value, ApiError> {
        let fleet = self.fleet.read().unwrap_or_else(PoisonError::into_inner);
        let lists = Lists {
            options: &self.options,
            fleet: &fleet,
            tokens: &self.tokens,
            credentials: &self.credentials,
            caller,
        };
        lists.respond(call)
    }

    fn apply_paging_fault(
        &self,
        plan: &FaultPlan,
        call: &Call,
        page: Option<u32>,
        mut body: Value,
    ) -> Value {
        // Both tokens are valid and lead to the start of the list.
        let pages_before = match &plan.paging {
            Some(FaultKind::RepeatToken) => 1,
            Some(_) if body.get("nextToken").is_none() => page.unwrap_or(1),
            _ => return body,
        };
        let start = Position { pages_before, last_row: None };
        body["nextToken"] = self.tokens.write(&call.scope(), &start).into();
        body
    }

    fn page_number(&self, call: &Call) -> Option<u32> {
        let Some(token) = call.token() else { return Some(1) };
        let position = self.tokens.read(&call.scope(), token).ok()?;
        Some(position.pages_before.saturating_add(1))
    }

    fn limit_rate(&self) -> Result<(), ApiError> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.take(Instant::now()) { Ok(()) } else { Err(ApiError::rate_limit()) }
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

    /// Waits, or fails when the simulator stops.
    async fn pause(&self, pause: Duration) -> Result<(), NoResponse> {
        if pause.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.stop.cancelled() => Err(NoResponse::Close),
        }
    }
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::USER_AGENT)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}
