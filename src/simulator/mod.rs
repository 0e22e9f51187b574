//! A Wickr Admin API of our own, over HTTP: for the demo, for `simulate` and for the tests.
//!
//! It answers as AWS documents it, to requests that are signed as AWS demands, and fails in
//! every way that a service on the far side of a network can. It is always compiled, so that
//! all of its users start the identical server. It shares no wire types, no signing code and
//! no timestamp code with the client: shared ones agree even when both are wrong.
//!
//! In reading order:
//!
//! - [`options`](Options): what it is told at the start
//! - `fleet`, `user`, `device`: what it serves, and how a test writes it down; `generate` makes a
//!   fleet out of a seed, `churn` lets time pass over it
//! - `call` → `lists` → `rows`, `paging`: a request read, answered, cut into pages
//! - `sigv4`, `credentials`: who may ask
//! - `faults`: scripted trouble, with its text form; `answers` puts it on the wire
//! - `state`, `server`: one request, and all connections
//! - `requests`: what was asked
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! use wickr_exporter::simulator::{Fault, Options, Simulator};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let simulator = Simulator::start(listener, Options::default())?;
//! simulator.faults().add("429,times=3".parse::<Fault>()?);
//! println!("point an SDK at {}", simulator.endpoint());
//! simulator.stop().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
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
mod paging;
mod requests;
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

pub use call::Operation;
pub use credentials::{Credential, Credentials, Refusal};
pub use device::{Device, device};
pub use faults::{Fault, FaultId, FaultKind, Faults};
pub use fleet::{Fleet, Network, SecurityGroup, days, hours, minutes, network, security_group};
pub use options::{ACCESS_KEY, ClockError, Count, Latency, Options, SECRET_KEY, UnknownUser};
pub use requests::{Record, Requests};
pub use timestamps::TimestampForm;
pub use user::{User, user};

use bucket::Bucket;
use state::State;

/// Everything ends well within this, or something is stuck.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running simulator. Dropped, it ends by itself; [`stop`](Self::stop) waits for the end
/// and tells how it went.
pub struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<Vec<String>>,
    churn: Option<JoinHandle<()>>,
    _stop_when_dropped: DropGuard,
}

/// Where it is, and not the million devices in it.
impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Why a simulator did not end well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// Something in it panicked, with these texts.
    #[error("the simulator panicked: {}", .0.join("; "))]
    Panicked(Vec<String>),
    /// It was told to end and did not.
    #[error("the simulator did not stop within {} s", STOP_TIMEOUT.as_secs())]
    Stuck,
}

impl Simulator {
    /// Serves on this listener, within the Tokio runtime that it is called in.
    ///
    /// # Errors
    ///
    /// The listener's address cannot be told.
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as an `endpoint_url`: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What goes wrong from now on.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Who may ask from now on.
    pub fn credentials(&self) -> &Credentials {
        &self.state.credentials
    }

    /// What was asked; it outlives the simulator.
    pub fn requests(&self) -> Requests {
        self.state.requests.clone()
    }

    /// Reads the fleet. No request is answered with a change half made.
    pub fn read_fleet<T>(&self, read: impl FnOnce(&Fleet) -> T) -> T {
        read(&self.state.fleet.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the fleet. Requests wait until it is done.
    pub fn change_fleet<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T {
        change(&mut self.state.fleet.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Limits requests a second from now on, with a full bucket; none is no limit.
    pub fn set_rate_limit(&self, rate: Option<f64>) {
        let mut bucket = self.state.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        *bucket = Bucket::new(rate, Instant::now());
    }

    /// Ends it within a second or so, requests that hang among the rest.
    ///
    /// # Errors
    ///
    /// A task panicked: what it said. Or one does not end.
    pub async fn stop(self) -> Result<(), StopError> {
        self.state.stop.cancel();
        let end = async {
            let served = self.server.await;
            let churned = match self.churn {
                Some(churn) => server::panic_of(churn.await),
                None => None,
            };
            let mut panics: Vec<String> = churned.into_iter().collect();
            match served {
                Ok(more) => panics.extend(more),
                Err(error) => panics.extend(server::panic_of::<()>(Err(error))),
            }
            panics
        };
        let panics = tokio::time::timeout(STOP_TIMEOUT, end).await.map_err(|_| StopError::Stuck)?;
        if panics.is_empty() { Ok(()) } else { Err(StopError::Panicked(panics)) }
    }
}

#[cfg(test)]
mod tests;
