//! The daemon: polls and answers until it is told to stop.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    net::TcpListener,
    sync::Notify,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    AppError,
    notify::{self, Manager},
    pollers::PollerFactory,
    reload::{self, Content},
    shown,
    state::StateFile,
    supervisor::Supervisor,
};
use crate::{
    clock::Clock,
    config::Config,
    exposition::CompressionCache,
    inventory::{self, Reader},
    lifecycle,
    telemetry::Metrics,
    web::{self, AccessControl, Server, Shown, Site, TelemetryPath, WebConfig},
    wickr::{CredentialSource, Interner},
};

/// The longest that the tasks may take to end once they are told to.
const LONGEST_END: Duration = Duration::from_secs(5);

/// How the daemon is reached.
#[derive(Debug)]
pub struct Serving {
    /// Bound and listening.
    pub listeners: Vec<TcpListener>,
    /// Where the metrics are.
    pub telemetry_path: TelemetryPath,
    /// Whether a client may ask for a reload.
    pub lifecycle: bool,
    /// TLS, passwords and the like, if there is a file that says so.
    pub web_config: Option<WebConfig>,
}

/// Where the configuration came from, if it can be loaded anew.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// Whether it is loaded anew whenever its content has changed, and what that was before it was
    /// loaded.
    pub watch: Option<Content>,
}

/// The daemon, ready to run.
pub struct Daemon {
    supervisor: Supervisor,
    origin: Option<Origin>,
    reader: Reader,
    metrics: Arc<Metrics>,
    shown: Arc<ArcSwap<Shown>>,
    polled: Arc<Notify>,
    clock: Clock,
    state: Option<StateFile>,
}

impl Daemon {
    /// A daemon for `config`, every network of which names its region. `credentials` are for all
    /// networks in place of the configured ones.
    ///
    /// # Errors
    ///
    /// When something on this machine cannot be set up.
    pub fn new(
        config: &Config,
        origin: Option<Origin>,
        credentials: Option<CredentialSource>,
        clock: Clock,
    ) -> Result<Daemon, AppError> {
        let metrics = Metrics::new().and_then(Metrics::with_process);
        let metrics =
            if config.state.is_some() { metrics.and_then(Metrics::with_state) } else { metrics };
        let metrics = Arc::new(metrics.map_err(|error| AppError::Setup(error.to_string()))?);
        metrics.reloaded(true, clock.now());
        let labels = Arc::new(Interner::default());
        let state = config
            .state
            .as_ref()
            .map(|path| StateFile::new(path.clone(), metrics.clone(), clock.clone()));
        let restored = state.as_ref().map(|file| file.load(&labels)).unwrap_or_default();
        let (keeper, reader) = inventory::open();
        let fleet = PollerFactory::new(
            credentials,
            labels,
            keeper,
            metrics.clone(),
            clock.clone(),
            restored,
        );
        let polled = fleet.polled();
        let shown = Arc::new(ArcSwap::from_pointee(shown(config)));
        let file = origin.as_ref().map(|origin| origin.file.clone());
        let supervisor = Supervisor::new(fleet, config.clone(), file, shown.clone());
        Ok(Daemon { supervisor, origin, reader, metrics, shown, polled, clock, state })
    }

    /// What it knows.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Polls and answers until `shutdown` resolves with the name of what ended it.
    ///
    /// # Errors
    ///
    /// When a part of it dies.
    pub async fn run(
        mut self,
        serving: Serving,
        shutdown: impl Future<Output = &'static str>,
    ) -> Result<(), AppError> {
        let (reloads, requests) = lifecycle::channel();
        let access = AccessControl::new(serving.web_config, self.metrics.clone());
        let access = Arc::new(access.map_err(AppError::Setup)?);
        self.supervisor.set_access(access.clone());
        let router = web::router(Site {
            reader: self.reader.clone(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            shown: self.shown,
            telemetry_path: serving.telemetry_path,
            reloads: serving.lifecycle.then(|| reloads.clone()),
            kept: CompressionCache::default(),
        });
        let server = Server::new(router, access.clone());
        // Restored data is there before the first client can ask.
        self.supervisor.start().await?;
        let stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        for listener in serving.listeners {
            let address = listener.local_addr().map(|at| at.to_string()).unwrap_or_default();
            tracing::info!(address, tls = access.has_tls(), "listening");
            warn_if_exposed(&listener, &access);
            tasks.spawn("the HTTP server", well(server.clone().serve(listener, stop.clone())));
        }
        let (following, clock, stopped) = (access, self.clock.clone(), stop.clone());
        tasks.spawn(
            "the watching of the web configuration",
            well(async move { following.follow(clock, stopped).await }),
        );
        let manager = Manager::of_environment();
        let (pulse, beats) = notify::pulse();
        let polling = self.supervisor.run(requests, (manager.clone(), beats), stop.clone());
        tasks.spawn("the polling", polling);
        if let Some(origin) = self.origin {
            #[cfg(unix)]
            {
                let hangups = reload::on_hangup(reloads.clone(), stop.clone());
                let hangups = hangups.map_err(|error| AppError::Setup(error.to_string()))?;
                tasks.spawn("the waiting for SIGHUP", well(hangups));
            }
            if let Some(content) = origin.watch {
                let watching = reload::on_change(origin.file, content, reloads, stop.clone());
                tasks.spawn("the watching of the configuration", well(watching));
            }
        }
        if let Some(file) = self.state.clone() {
            let (reader, polled) = (self.reader.clone(), self.polled);
            let saving = file.save_after_polls(reader, polled, stop.clone());
            tasks.spawn("the saving of the state", well(saving));
        }
        // Not before: a SIGHUP that comes now finds who waits for it.
        manager.ready().await;
        if manager.is_there() {
            let (reader, stop) = (self.reader.clone(), stop.clone());
            let attending = manager.clone().attend(notify::watchdog(), pulse, reader, stop);
            tasks.spawn("the telling of the service manager", well(attending));
        }
        let ended = tokio::select! {
            signal = shutdown => {
                tracing::info!(signal, "stopping");
                Ok(())
            }
            died = tasks.next() => Err(died),
        };
        // As it is now, before anybody is told to end. Where something died, what was saved after the
        // last poll has to do: what it left behind may be of half a poll.
        let last = ended.is_ok().then(|| self.reader.snapshot());
        stop.cancel();
        manager.stopping().await;
        if tokio::time::timeout(LONGEST_END, tasks.all_end()).await.is_err() {
            tracing::warn!("not everything ended in time");
        }
        if let (Some(file), Some(last)) = (&self.state, last)
            && tokio::time::timeout(LONGEST_END, file.save(last)).await.is_err()
        {
            tracing::warn!("the state could not be saved in time");
        }
        ended
    }
}

/// Says so if strangers can read what is not for them.
fn warn_if_exposed(listener: &TcpListener, access: &AccessControl) {
    let Ok(address) = listener.local_addr() else { return };
    if let Some(why) = access.exposure()
        && !address.ip().to_canonical().is_loopback()
    {
        tracing::warn!(
            %address,
            why,
            "whoever reaches this address can read which users and devices there are; \
             see --web.config.file"
        );
    }
}

/// A task that cannot fail, among those that can.
async fn well(task: impl Future<Output = ()>) -> Result<(), AppError> {
    task.await;
    Ok(())
}

/// The tasks that live as long as the process, by name.
#[derive(Debug, Default)]
struct Tasks {
    set: JoinSet<Result<(), AppError>>,
    names: Vec<(Id, &'static str)>,
}

impl Tasks {
    fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), AppError>> + Send + 'static,
    ) {
        let handle = self.set.spawn(task);
        self.names.push((handle.id(), name));
    }

    /// Waits for one of them to end, well or badly, and says which it was and why.
    async fn next(&mut self) -> AppError {
        let (id, why) = match self.set.join_next_with_id().await {
            None => return AppError::Died("everything".into()),
            Some(Ok((_, Err(error)))) => return error,
            Some(Ok((id, Ok(())))) => (id, None),
            Some(Err(error)) => (error.id(), Some(error)),
        };
        let name = self.names.iter().find(|(other, _)| *other == id);
        let name = name.map_or("a task", |(_, name)| name);
        AppError::Died(match why {
            None => name.to_owned(),
            Some(why) => format!("{name} ({why})"),
        })
    }

    async fn all_end(&mut self) {
        while let Some(ended) = self.set.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a task ended badly"),
                Err(error) => tracing::error!(%error, "a task ended badly"),
            }
        }
    }
}
