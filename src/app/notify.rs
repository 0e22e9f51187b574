//! What the service manager is told, by systemd's notification protocol: that the exporter is ready,
//! loads its configuration anew or stops, how far its polls are, and that it is alive.
//!
//! Without a service manager that wants to know, nobody is told anything. Nothing here waits for
//! long: a manager that does not listen holds nobody up.
//!
//! The watchdog is to prove that the program works, not that one thread of it still counts. So before
//! each sign of life the supervisor is asked to answer: then the runtime's timers fire, it runs tasks,
//! and the one that everything hangs on makes progress. A task that ends, ends the process anyway.

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

/// The longest that a message may wait for the manager to take it.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often is looked whether there is something new to say of the polls.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// Signs of life in the time after which the manager gives the exporter up: two may get lost.
const SIGNS: u32 = 3;

/// The service manager, or none.
#[derive(Debug, Clone, Default)]
pub(super) struct Manager {
    address: Option<Arc<OsString>>,
    /// Whether the last configuration that was loaded anew was refused.
    refused: Arc<AtomicBool>,
}

impl Manager {
    /// The one that started this process, if it wants to be told.
    pub(super) fn of_environment() -> Manager {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        Manager { address: address.map(Arc::new), refused: Arc::default() }
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.address.is_some()
    }

    /// It listens, and its configuration is good. Polls may take hours: they are not waited for.
    pub(super) async fn ready(&self) {
        self.tell("READY=1").await;
    }

    /// The configuration is about to be loaded anew.
    pub(super) async fn reloading(&self) {
        self.tell(&format!("RELOADING=1{}", this_moment())).await;
    }

    /// It was loaded anew, or refused. Either way the exporter goes on.
    pub(super) async fn reloaded(&self, good: bool) {
        self.tell("READY=1").await;
        self.refused.store(!good, Ordering::Relaxed);
    }

    /// It was told to end.
    pub(super) async fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Stopping").await;
    }

    async fn tell(&self, message: &str) {
        let Some(address) = &self.address else { return };
        let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
        let sent = timeout(LONGEST_WAIT, send(address, message)).await;
        if let Err(error) = sent.unwrap_or_else(late) {
            tracing::warn!(%error, "cannot tell the service manager");
        }
    }

    /// Tells how far the polls are, and that the exporter is alive, until `stop`.
    pub(super) async fn attend(
        self,
        watchdog: Option<Duration>,
        pulse: Pulse,
        reader: Reader,
        stop: CancellationToken,
    ) {
        let mut statuses = interval(STATUS_EVERY);
        let mut signs = watchdog.map(|limit| {
            let period = limit / SIGNS;
            interval_at(Instant::now() + period, period)
        });
        for timer in [Some(&mut statuses), signs.as_mut()].into_iter().flatten() {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut told = String::new();
        loop {
            let sign = async {
                match &mut signs {
                    Some(signs) => _ = signs.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sign => match stop.run_until_cancelled(pulse.feel()).await {
                    Some(true) => self.tell("WATCHDOG=1").await,
                    // The supervisor has ended. Why, is for it to say, not for this task's end.
                    Some(false) => stop.cancelled().await,
                    None => return,
                },
                _ = statuses.tick() => {
                    let status = status(&reader.snapshot(), self.refused.load(Ordering::Relaxed));
                    if status != told {
                        self.tell(&format!("STATUS={status}")).await;
                        told = status;
                    }
                }
            }
        }
    }
}

/// After how long without a sign of life the manager gives this process up, if it ever does.
pub(super) fn watchdog() -> Option<Duration> {
    #[cfg(unix)]
    return sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
    #[cfg(not(unix))]
    None
}

/// By this, systemd tells one reload from another.
fn this_moment() -> String {
    #[cfg(unix)]
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        return format!("\n{now}");
    }
    String::new()
}

/// Not by `sd_notify`, which waits for as long as the manager does not listen.
#[cfg(unix)]
async fn send(address: &OsStr, message: &str) -> io::Result<()> {
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let socket = UnixDatagram::unbound()?;
    let address = match unlisted(address) {
        Some(address) => address?,
        None => SocketAddr::from_pathname(address)?,
    };
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    tokio::net::UnixDatagram::from_std(socket)?.send(message.as_bytes()).await.map(drop)
}

/// The address that stands for a name which is in no file system, if it is such a name.
#[cfg(unix)]
fn unlisted(address: &OsStr) -> Option<io::Result<std::os::unix::net::SocketAddr>> {
    let name = address.as_encoded_bytes().strip_prefix(b"@")?;
    #[cfg(target_os = "linux")]
    return {
        use std::os::linux::net::SocketAddrExt;
        Some(std::os::unix::net::SocketAddr::from_abstract_name(name))
    };
    #[cfg(not(target_os = "linux"))]
    Some(Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has such names")))
}

#[cfg(not(unix))]
async fn send(_: &OsStr, _: &str) -> io::Result<()> {
    Ok(())
}

/// How far the polls are, in a line.
fn status(known: &Snapshot, refused: bool) -> String {
    let polls = || known.networks.iter().map(|network| &network.polls);
    let ended = |wanted: PollResult| {
        polls().filter(|polls| polls.last.is_some_and(|last| last.result == wanted)).count()
    };
    let mut parts = vec![match known.networks.len() {
        1 => "1 network".to_owned(),
        count => format!("{count} networks"),
    }];
    for (count, what) in [
        (ended(PollResult::Success), "read"),
        (ended(PollResult::Partial), "read in part"),
        (ended(PollResult::Failure), "not readable"),
        (polls().filter(|polls| polls.last.is_none()).count(), "not polled yet"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let (done, total) = polls()
        .filter_map(|polls| polls.progress)
        .fold((0, 0), |(done, total), one| (done + one.done, total + one.total));
    if total > 0 {
        parts.push(format!("polling, {done} of {total} users done"));
    }
    if refused {
        parts.push("the last configuration was refused and the former one stays".to_owned());
    }
    parts.join("; ")
}

/// Feels whether the supervisor answers.
#[derive(Debug)]
pub(super) struct Pulse(mpsc::Sender<oneshot::Sender<()>>);

/// Answers that; it is the supervisor's.
#[derive(Debug)]
pub(super) struct Beats(mpsc::Receiver<oneshot::Sender<()>>);

/// A way to feel whether somebody answers.
pub(super) fn pulse() -> (Pulse, Beats) {
    let (sender, receiver) = mpsc::channel(1);
    (Pulse(sender), Beats(receiver))
}

impl Pulse {
    /// Waits for an answer, for as long as it takes. False if none can come any more.
    async fn feel(&self) -> bool {
        let (answer, heard) = oneshot::channel();
        self.0.send(answer).await.is_ok() && heard.await.is_ok()
    }
}

impl Beats {
    /// Answers who asks next. None when nobody can ask any more.
    pub(super) async fn answer(&mut self) -> Option<()> {
        // Who asked may have gone.
        self.0.recv().await.map(|asked| _ = asked.send(()))
    }

    /// Answers whoever asks while something else is waited for that may take its time.
    pub(super) async fn during<T>(&mut self, waited_for: impl Future<Output = T>) -> T {
        let mut waited_for = std::pin::pin!(waited_for);
        loop {
            tokio::select! {
                done = &mut waited_for => return done,
                Some(()) = self.answer() => {}
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use tokio::net::UnixDatagram;

    use super::*;
    use crate::inventory;

    async fn heard(socket: &UnixDatagram, within: Duration) -> Option<String> {
        let mut message = [0; 1024];
        let length = timeout(within, socket.recv(&mut message)).await.ok()?.unwrap();
        Some(String::from_utf8(message[..length].to_vec()).unwrap())
    }

    #[tokio::test]
    async fn there_is_no_sign_of_life_while_the_supervisor_does_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("notify");
        let socket = UnixDatagram::bind(&address).unwrap();
        let manager =
            Manager { address: Some(Arc::new(address.into_os_string())), ..Manager::default() };
        let (_keeper, reader) = inventory::open();
        let (pulse, mut beats) = pulse();
        let stop = CancellationToken::new();
        let limit = Some(Duration::from_millis(150));
        let attending = tokio::spawn(manager.attend(limit, pulse, reader, stop.clone()));
        assert_eq!(
            heard(&socket, Duration::from_secs(20)).await.as_deref(),
            Some("STATUS=0 networks")
        );
        assert_eq!(heard(&socket, Duration::from_millis(600)).await, None, "nobody answers");
        beats.answer().await.unwrap();
        assert_eq!(heard(&socket, Duration::from_secs(20)).await.as_deref(), Some("WATCHDOG=1"));
        // So it is while the supervisor waits for something else.
        let asking = heard(&socket, Duration::from_secs(20));
        assert_eq!(beats.during(asking).await.as_deref(), Some("WATCHDOG=1"));
        stop.cancel();
        attending.await.unwrap();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_manager_may_have_a_name_that_is_in_no_file_system() {
        use std::os::{linux::net::SocketAddrExt, unix::net};
        let name = format!("wickr-exporter-test-{}", std::process::id());
        let address = net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = net::UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = UnixDatagram::from_std(socket).unwrap();
        let manager =
            Manager { address: Some(Arc::new(format!("@{name}").into())), ..Manager::default() };
        manager.ready().await;
        assert_eq!(heard(&socket, Duration::from_secs(20)).await.as_deref(), Some("READY=1"));
    }

    #[tokio::test]
    async fn a_manager_that_is_away_holds_nobody_up() {
        let manager = Manager { address: Some(Arc::new("/nowhere".into())), ..Manager::default() };
        timeout(LONGEST_WAIT, manager.ready()).await.unwrap();
    }
}
