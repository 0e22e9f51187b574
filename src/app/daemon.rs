//! The daemon: polls networks and serves HTTP until shutdown.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::Notify,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    AppError,
    notify::{self, Manager},
    pollers::PollerFactory,
    reload::{self, FileDigest},
    shown,
    state::{Since, StateFiles},
    supervisor::Supervisor,
};
use crate::{
    clock::Clock,
    config::Config,
    exposition::CompressionCache,
    inventory::{self, Reader},
    lifecycle,
    telemetry::Metrics,
    web::{
        self, AccessControl, DisplaySettings, ExternalUrl, Listener, RoutePrefix, Server, Site,
        TelemetryPath, WebConfig,
    },
    wickr::{CredentialSource, Interner},
};

/// Time for the tasks to end at shutdown, and then for the last save.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Options of the HTTP server.
#[derive(Debug)]
pub struct Serving {
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// Path of the metrics.
    pub telemetry_path: TelemetryPath,
    /// The prefix of all paths.
    pub route_prefix: RoutePrefix,
    /// The URL for people; its path precedes all links.
    pub external_url: Option<ExternalUrl>,
    /// Enables `POST /-/reload`.
    pub lifecycle: bool,
    /// TLS and authentication.
    pub web_config: Option<WebConfig>,
}

/// The source of a configuration that can be reloaded.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    /// The configuration file.
    pub file: PathBuf,
    /// The digest from before the file was loaded, if a change triggers a reload.
    pub digest: Option<FileDigest>,
}

/// The daemon before it runs.
pub struct Daemon {
    supervisor: Supervisor,
    source: Option<ConfigSource>,
    reader: Reader,
    metrics: Arc<Metrics>,
    shown: Arc<ArcSwap<DisplaySettings>>,
    polled: Arc<Notify>,
    clock: Clock,
    state: Option<StateFiles>,
}

impl Daemon {
    /// A daemon for `config`, in which each network has a region. `credentials` override the configured
    /// ones of all networks.
    ///
    /// # Errors
    ///
    /// Setup failed.
    pub fn new(
        config: &Config,
        source: Option<ConfigSource>,
        credentials: Option<CredentialSource>,
        clock: Clock,
    ) -> Result<Daemon, AppError> {
        let metrics = Metrics::new().and_then(Metrics::with_process);
        let metrics =
            if config.state.is_some() { metrics.and_then(Metrics::with_state) } else { metrics };
        let metrics = Arc::new(metrics.map_err(AppError::setup)?);
        metrics.config_loaded(true, clock.now());
        let labels = Arc::new(Interner::default());
        let state =
            config.state.as_ref().map(|path| StateFiles::new(path, metrics.clone(), clock.clone()));
        let restored = state.as_ref().map(|files| files.load(&labels)).unwrap_or_default();
        let (registrar, reader) = inventory::open();
        if state.is_some() {
            registrar.defer_changes();
        }
        let factory = PollerFactory::new(
            credentials,
            labels,
            registrar,
            metrics.clone(),
            clock.clone(),
            restored,
        );
        let polled = factory.polled.clone();
        let shown = Arc::new(ArcSwap::from_pointee(shown(config)));
        let file = source.as_ref().map(|source| source.file.clone());
        let supervisor = Supervisor::new(factory, config.clone(), file, shown.clone());
        Ok(Daemon { supervisor, source, reader, metrics, shown, polled, clock, state })
    }

    /// Read access to the inventory.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Runs until `shutdown` resolves with the name of a signal.
    ///
    /// # Errors
    ///
    /// A task ended.
    pub async fn run(
        mut self,
        serving: Serving,
        shutdown: impl Future<Output = &'static str>,
    ) -> Result<(), AppError> {
        let (reloads, requests) = lifecycle::channel();
        let access = AccessControl::new(serving.web_config, self.metrics.clone());
        let access = Arc::new(access.map_err(AppError::Setup)?);
        self.supervisor.set_access(access.clone());
        let external_url = serving.external_url.as_ref();
        if let Some(url) = external_url {
            self.metrics.set_external_url(url.as_str());
        }
        let link_prefix = external_url.map_or(&serving.route_prefix, ExternalUrl::path).clone();
        let cache = Arc::new(CompressionCache::default());
        let router = web::router(Site {
            reader: self.reader.clone(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            settings: self.shown.clone(),
            telemetry_path: serving.telemetry_path,
            link_prefix: link_prefix.clone(),
            reloads: serving.lifecycle.then(|| reloads.clone()),
            compression_cache: cache.clone(),
        });
        let server = Server::new(router, access.clone(), serving.route_prefix, link_prefix);
        // Before the server, so that the first request sees restored data.
        self.supervisor.start().await?;
        let stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        for listener in serving.listeners {
            tracing::info!(address = %listener, tls = access.has_tls(), "listening");
            warn_if_exposed(&listener, &access);
            tasks.spawn("HTTP server", infallible(server.clone().serve(listener, stop.clone())));
        }
        let recompressing = web::recompress(
            self.reader.clone(),
            self.shown,
            self.clock.clone(),
            cache,
            stop.clone(),
        );
        tasks.spawn("compression", infallible(recompressing));
        let (clock, stopped) = (self.clock.clone(), stop.clone());
        tasks.spawn(
            "web configuration watcher",
            infallible(async move { access.follow(clock, stopped).await }),
        );
        let manager = Manager::from_env();
        let (prober, responder) = notify::liveness();
        let supervisor = self.supervisor.run(requests, (manager.clone(), responder), stop.clone());
        tasks.spawn("supervisor", supervisor);
        if let Some(source) = self.source {
            let hangups = reload::on_hangup(reloads.clone(), stop.clone());
            tasks.spawn("SIGHUP handler", infallible(hangups.map_err(AppError::setup)?));
            if let Some(digest) = source.digest {
                let watcher = reload::on_change(source.file, digest, reloads, stop.clone());
                tasks.spawn("configuration watcher", infallible(watcher));
            }
        }
        if let Some(files) = self.state.clone() {
            let (reader, polled) = (self.reader.clone(), self.polled);
            let saving = files.save_after_polls(reader, polled, stop.clone());
            tasks.spawn("state file writer", infallible(saving));
        }
        // Sent after the SIGHUP handler is installed, because a SIGHUP before that ends the process.
        manager.ready().await;
        if manager.is_present() {
            let (reader, stop) = (self.reader.clone(), stop.clone());
            let reports = manager.clone().report(notify::watchdog_timeout(), prober, reader, stop);
            tasks.spawn("service manager notifier", infallible(reports));
        }
        let result = tokio::select! {
            signal = shutdown => {
                tracing::info!(signal, "stopping");
                Ok(())
            }
            error = tasks.next_end() => Err(error),
        };
        // Taken before the tasks stop. After a task failed, the state may be inconsistent and is
        // not saved.
        let snapshot = result.is_ok().then(|| self.reader.snapshot());
        stop.cancel();
        manager.stopping().await;
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, tasks.join_all()).await.is_err() {
            tracing::warn!("shutdown timed out");
        }
        if let (Some(files), Some(snapshot)) = (&self.state, snapshot) {
            let saving = files.save(snapshot, Since::LastChange);
            if tokio::time::timeout(SHUTDOWN_TIMEOUT, saving).await.is_err() {
                tracing::warn!("saving the state file timed out");
            }
        }
        result
    }
}

/// Warns if clients on the network can read the metrics without authentication or encryption.
fn warn_if_exposed(listener: &Listener, access: &AccessControl) {
    let Some(address) = listener.address() else { return };
    if let Some(exposure) = access.exposure()
        && !address.ip().to_canonical().is_loopback()
    {
        tracing::warn!(
            %address,
            exposure,
            "address is exposed to the network; see --web.config.file"
        );
    }
}

async fn infallible(task: impl Future<Output = ()>) -> Result<(), AppError> {
    task.await;
    Ok(())
}

/// Tasks that run as long as the process, with their names.
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

    /// Waits until a task ends, and names it and its error.
    async fn next_end(&mut self) -> AppError {
        let (id, error) = match self.set.join_next_with_id().await {
            None => return AppError::TaskEnded("all tasks".into()),
            Some(Ok((_, Err(error)))) => return error,
            Some(Ok((id, Ok(())))) => (id, None),
            Some(Err(error)) => (error.id(), Some(error)),
        };
        let name = self.names.iter().find(|(other, _)| *other == id);
        let name = name.map_or("a task", |(_, name)| name);
        AppError::TaskEnded(match error {
            None => name.to_owned(),
            Some(error) => format!("{name} ({error})"),
        })
    }

    async fn join_all(&mut self) {
        while let Some(result) = self.set.join_next().await {
            if let Err(error) = result.unwrap_or_else(|error| Err(AppError::setup(error))) {
                tracing::error!(%error, "task failed");
            }
        }
    }
}
