//! Notifications for the service manager in systemd's protocol: ready, reloading, stopping, status and
//! watchdog. Without `NOTIFY_SOCKET`, nothing is sent. A message times out if the manager does not read it.
//!
//! Before each watchdog message, the supervisor must respond. That shows that timers fire, the runtime runs
//! tasks, and the central task makes progress.

use std::{
    ffi::{OsStr, OsString},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, interval_at, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::inventory::{PollResult, Reader, Snapshot};

/// Timeout for a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the status is compared with the last one sent.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// Messages per watchdog timeout, so that two can be lost.
const MESSAGES_PER_TIMEOUT: u32 = 3;

/// The service manager, if there is one.
#[derive(Debug, Clone, Default)]
pub(super) struct Manager {
    address: Option<Arc<OsString>>,
    reload_failed: Arc<AtomicBool>,
}

impl Manager {
    /// The manager of this process, from `NOTIFY_SOCKET`.
    pub(super) fn from_env() -> Manager {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        Manager { address: address.map(Arc::new), reload_failed: Arc::default() }
    }

    pub(super) fn is_present(&self) -> bool {
        self.address.is_some()
    }

    /// The server listens. The first poll can take hours, and is not awaited.
    pub(super) async fn ready(&self) {
        self.send("READY=1").await;
    }

    /// A reload starts.
    pub(super) async fn reloading(&self) {
        self.send(&format!("RELOADING=1{}", monotonic_time())).await;
    }

    /// A reload ended. If it failed, the exporter continues.
    pub(super) async fn reloaded(&self, successful: bool) {
        self.send("READY=1").await;
        self.reload_failed.store(!successful, Ordering::Relaxed);
    }

    /// Shutdown starts.
    pub(super) async fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Stopping").await;
    }

    async fn send(&self, message: &str) {
        let Some(address) = &self.address else { return };
        let timed_out = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
        let sent = timeout(SEND_TIMEOUT, send(address, message)).await;
        if let Err(error) = sent.unwrap_or_else(timed_out) {
            tracing::warn!(%error, "cannot notify the service manager");
        }
    }

    /// Sends status and watchdog messages until `stop`.
    pub(super) async fn report(
        self,
        watchdog_timeout: Option<Duration>,
        prober: Prober,
        reader: Reader,
        stop: CancellationToken,
    ) {
        let mut status_timer = interval(STATUS_INTERVAL);
        let mut watchdog_timer = watchdog_timeout.map(|timeout| {
            let period = timeout / MESSAGES_PER_TIMEOUT;
            interval_at(Instant::now() + period, period)
        });
        for timer in [Some(&mut status_timer), watchdog_timer.as_mut()].into_iter().flatten() {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut sent = String::new();
        loop {
            let watchdog = async {
                match &mut watchdog_timer {
                    Some(timer) => _ = timer.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = watchdog => match stop.run_until_cancelled(prober.probe()).await {
                    Some(true) => self.send("WATCHDOG=1").await,
                    // The supervisor ended, and the daemon reports why. This task must not end first.
                    Some(false) => stop.cancelled().await,
                    None => return,
                },
                _ = status_timer.tick() => {
                    let reload_failed = self.reload_failed.load(Ordering::Relaxed);
                    let status = status(&reader.snapshot(), reload_failed);
                    if status != sent {
                        self.send(&format!("STATUS={status}")).await;
                        sent = status;
                    }
                }
            }
        }
    }
}

/// The manager's watchdog timeout, if it has one.
pub(super) fn watchdog_timeout() -> Option<Duration> {
    #[cfg(unix)]
    return sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
    #[cfg(not(unix))]
    None
}

/// The field by which systemd distinguishes reloads.
fn monotonic_time() -> String {
    #[cfg(unix)]
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        return format!("\n{now}");
    }
    String::new()
}

/// `sd_notify::notify` would block while the manager does not read.
#[cfg(unix)]
async fn send(address: &OsStr, message: &str) -> io::Result<()> {
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let socket = UnixDatagram::unbound()?;
    let address = match abstract_address(address) {
        Some(address) => address?,
        None => SocketAddr::from_pathname(address)?,
    };
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    tokio::net::UnixDatagram::from_std(socket)?.send(message.as_bytes()).await.map(drop)
}

/// The abstract socket address for a name that starts with `@`.
#[cfg(unix)]
fn abstract_address(address: &OsStr) -> Option<io::Result<std::os::unix::net::SocketAddr>> {
    let name = address.as_encoded_bytes().strip_prefix(b"@")?;
    #[cfg(target_os = "linux")]
    return {
        use std::os::linux::net::SocketAddrExt;
        Some(std::os::unix::net::SocketAddr::from_abstract_name(name))
    };
    #[cfg(not(target_os = "linux"))]
    Some(Err(io::Error::new(io::ErrorKind::Unsupported, "abstract socket addresses require Linux")))
}

#[cfg(not(unix))]
async fn send(_: &OsStr, _: &str) -> io::Result<()> {
    Ok(())
}

/// The state of the polls in one line.
fn status(snapshot: &Snapshot, reload_failed: bool) -> String {
    let polls = || snapshot.networks.iter().map(|network| &network.polls);
    let ended = |result: PollResult| {
        polls().filter(|polls| polls.last.is_some_and(|last| last.result == result)).count()
    };
    let mut parts = vec![match snapshot.networks.len() {
        1 => "1 network".to_owned(),
        count => format!("{count} networks"),
    }];
    for (count, state) in [
        (ended(PollResult::Success), "read"),
        (ended(PollResult::Partial), "partially read"),
        (ended(PollResult::Failure), "failed"),
        (polls().filter(|polls| polls.last.is_none()).count(), "not polled yet"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {state}"));
        }
    }
    let (done, total) = polls()
        .filter_map(|polls| polls.progress)
        .fold((0, 0), |(done, total), one| (done + one.done, total + one.total));
    if total > 0 {
        parts.push(format!("polling, {done} of {total} users done"));
    }
    if reload_failed {
        parts.push("reload failed, previous configuration in use".to_owned());
    }
    parts.join("; ")
}

/// Checks that the supervisor responds.
#[derive(Debug)]
pub(super) struct Prober(mpsc::Sender<oneshot::Sender<()>>);

/// The supervisor's side of [`Prober`].
#[derive(Debug)]
pub(super) struct Responder(mpsc::Receiver<oneshot::Sender<()>>);

pub(super) fn liveness() -> (Prober, Responder) {
    let (sender, receiver) = mpsc::channel(1);
    (Prober(sender), Responder(receiver))
}

impl Prober {
    /// Waits for a response, without timeout. Returns false if the responder is dropped.
    async fn probe(&self) -> bool {
        let (sender, receiver) = oneshot::channel();
        self.0.send(sender).await.is_ok() && receiver.await.is_ok()
    }
}

impl Responder {
    /// Responds to the next probe. Returns `None` if the prober is dropped.
    pub(super) async fn respond(&mut self) -> Option<()> {
        self.0.recv().await.map(|probe| _ = probe.send(()))
    }

    /// Responds to probes while `future` runs.
    pub(super) async fn during<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                output = &mut future => return output,
                Some(()) = self.respond() => {}
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use tokio::net::UnixDatagram;

    use super::*;
    use crate::inventory;

    const RECEIVE_TIMEOUT: Duration = Duration::from_secs(20);

    async fn receive(socket: &UnixDatagram, within: Duration) -> Option<String> {
        let mut message = [0; 1024];
        let length = timeout(within, socket.recv(&mut message)).await.ok()?.unwrap();
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    fn manager(address: impl Into<OsString>) -> Manager {
        Manager { address: Some(Arc::new(address.into())), ..Manager::default() }
    }

    #[tokio::test]
    async fn sends_no_watchdog_message_while_the_supervisor_does_not_respond() {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("notify");
        let socket = UnixDatagram::bind(&address).unwrap();
        let (_registrar, reader) = inventory::open();
        let (prober, mut responder) = liveness();
        let stop = CancellationToken::new();
        let limit = Some(Duration::from_millis(150));
        let reports = tokio::spawn(manager(address).report(limit, prober, reader, stop.clone()));
        let receive = |within| receive(&socket, within);
        assert_eq!(receive(RECEIVE_TIMEOUT).await.as_deref(), Some("STATUS=0 networks"));
        assert_eq!(receive(Duration::from_millis(600)).await, None);
        responder.respond().await.unwrap();
        assert_eq!(receive(RECEIVE_TIMEOUT).await.as_deref(), Some("WATCHDOG=1"));
        let message = responder.during(receive(RECEIVE_TIMEOUT)).await;
        assert_eq!(message.as_deref(), Some("WATCHDOG=1"));
        stop.cancel();
        reports.await.unwrap();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn sends_to_an_abstract_socket_address() {
        use std::os::{linux::net::SocketAddrExt, unix::net};
        let name = format!("wickr-exporter-test-{}", std::process::id());
        let address = net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = net::UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = UnixDatagram::from_std(socket).unwrap();
        manager(format!("@{name}")).ready().await;
        assert_eq!(receive(&socket, RECEIVE_TIMEOUT).await.as_deref(), Some("READY=1"));
    }

    #[tokio::test]
    async fn missing_manager_does_not_block() {
        timeout(SEND_TIMEOUT, manager("/nowhere").ready()).await.unwrap();
    }
}
