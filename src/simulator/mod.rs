//! A Wickr Admin API over HTTP, for `demo`, `simulate` and the tests.
//!
//! It behaves as AWS documents the API, requires signed requests, and injects faults. The default
//! feature `simulator` compiles it. It shares no wire types, signing code or timestamp code with the
//! client: shared code agrees with itself even when it is wrong.
//!
//! In reading order:
//!
//! - [`options`](Options): configuration
//! - `fleet`, `user`, `device`: the data, with builders for tests; `generate` creates a fleet
//!   from a seed, `churn` changes it over time; `organisation` has what is beyond users and devices
//! - `call` → `lists` → `rows`, `paging`: parse a request, list the rows, cut them into pages
//! - `sigv4`, `credentials`: authentication and authorization
//! - `faults`: fault injection and its text form; `responses` sends the faulty responses
//! - `state`, `server`: handle one request, and all connections
//! - `requests`: the request log
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! use wickr_exporter::simulator::{Fault, Options, Simulator};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let simulator = Simulator::start(listener, Options::default())?;
//! simulator.faults().add("429,times=3".parse::<Fault>()?);
//! println!("endpoint URL: {}", simulator.endpoint());
//! simulator.stop().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bot;
mod bucket;
mod call;
mod churn;
mod credentials;
mod device;
mod encoding;
mod errors;
mod faults;
mod fleet;
mod generate;
mod lists;
mod options;
mod organisation;
mod paging;
mod requests;
mod responses;
mod rows;
mod server;
mod sigv4;
mod state;
mod timestamps;
mod user;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

pub use bot::{Bot, bot};
pub use call::Operation;
pub use credentials::{Credential, Credentials, Refusal};
pub use device::{Device, device};
pub use faults::{Fault, FaultId, Faults};
pub use fleet::{Fleet, Network, SecurityGroup, days, hours, minutes, network, security_group};
pub use options::{ACCESS_KEY, ClockError, Count, Latency, Options, SECRET_KEY, UnknownUser};
pub use requests::{RequestRecord, Requests};
pub use timestamps::TimestampForm;
pub use user::{User, user};

use bucket::Bucket;
use server::panic_message;
use state::State;

const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running simulator. It stops when dropped; [`stop`](Self::stop) also reports panics.
pub struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<Vec<String>>,
    churn: Option<JoinHandle<()>>,
    _stop_when_dropped: DropGuard,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Why a simulator did not stop cleanly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// Tasks panicked, with these messages.
    #[error("the simulator panicked: {}", .0.join("; "))]
    Panicked(Vec<String>),
    /// A task did not stop in time.
    #[error("the simulator did not stop within {} s", STOP_TIMEOUT.as_secs())]
    Stuck,
}

impl Simulator {
    /// Serves on this listener, in the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// The listener's address cannot be read.
    pub fn start(listener: TcpListener, mut options: Options) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let fleet = options.fleet.take().unwrap_or_else(|| {
            generate::generate_fleet(&options, Timestamp::now().as_millisecond())
        });
        let churns = options.churn > 0.0;
        let state = Arc::new(State::new(options, fleet));
        let stop = state.stop.clone().drop_guard();
        let server = tokio::spawn(server::run(listener, Arc::clone(&state)));
        let churn = churns.then(|| tokio::spawn(churn::run(Arc::clone(&state))));
        Ok(Self { address, state, server, churn, _stop_when_dropped: stop })
    }

    /// The listening address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as an `endpoint_url`: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The injected faults.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// The accepted credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.state.credentials
    }

    /// The request log, which stays readable after the simulator stopped.
    pub fn requests(&self) -> Requests {
        self.state.requests.clone()
    }

    /// Reads the fleet under its lock.
    pub fn read_fleet<T>(&self, read: impl FnOnce(&Fleet) -> T) -> T {
        read(&self.state.fleet.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the fleet atomically: requests wait until it is done.
    pub fn change_fleet<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T {
        change(&mut self.state.fleet.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the rate limit in requests per second and fills the bucket. `None` is no limit.
    pub fn set_rate_limit(&self, rate: Option<f64>) {
        let mut bucket = self.state.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        *bucket = Bucket::new(rate, Instant::now());
    }

    /// Stops within about a second, even while requests hang.
    ///
    /// # Errors
    ///
    /// A task panicked or did not stop.
    pub async fn stop(self) -> Result<(), StopError> {
        self.state.stop.cancel();
        let stopped = async {
            let mut panics =
                self.server.await.unwrap_or_else(|error| Vec::from_iter(panic_message(error)));
            if let Some(churn) = self.churn {
                panics.extend(churn.await.err().and_then(panic_message));
            }
            panics
        };
        let panics =
            tokio::time::timeout(STOP_TIMEOUT, stopped).await.map_err(|_| StopError::Stuck)?;
        if panics.is_empty() { Ok(()) } else { Err(StopError::Panicked(panics)) }
    }
}

#[cfg(test)]
mod tests;
