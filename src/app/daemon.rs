//! The daemon: polls and answers until it is told to stop.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{AppError, Exporter, groups};
use crate::{
    clock::Clock,
    config::Config,
    inventory::Reader,
    web::{self, Site, TelemetryPath},
    wickr::CredentialSource,
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
}

/// The daemon, ready to run.
pub struct Daemon {
    exporter: Exporter,
    clock: Clock,
    config: Config,
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
        credentials: Option<&CredentialSource>,
        clock: Clock,
    ) -> Result<Daemon, AppError> {
        let exporter = Exporter::new(config, credentials, &clock, true)?;
        Ok(Daemon { exporter, clock, config: config.clone() })
    }

    /// What it knows.
    pub fn reader(&self) -> &Reader {
        &self.exporter.reader
    }

    /// Polls and answers until `shutdown` resolves with the name of what ended it.
    ///
    /// # Errors
    ///
    /// When a part of it dies.
    pub async fn run(
        self,
        serving: Serving,
        shutdown: impl Future<Output = &'static str>,
    ) -> Result<(), AppError> {
        let router = web::router(Site {
            reader: self.exporter.reader,
            metrics: self.exporter.metrics,
            clock: self.clock,
            groups: groups(self.config.metrics.detail),
            idle_buckets: self.config.metrics.idle_buckets,
            scrapes: Arc::new(Semaphore::new(self.config.web.max_concurrent_scrapes)),
            telemetry_path: serving.telemetry_path,
        });
        let stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        for listener in serving.listeners {
            let address = listener.local_addr().map(|at| at.to_string()).unwrap_or_default();
            tracing::info!(address, "listening");
            tasks.spawn("the HTTP server", web::serve(listener, router.clone(), stop.clone()));
        }
        for poller in self.exporter.pollers {
            tasks.spawn("the polling of a network", poller.run(stop.clone()));
        }
        let ended = tokio::select! {
            signal = shutdown => {
                tracing::info!(signal, "stopping");
                Ok(())
            }
            died = tasks.next() => Err(AppError::Died(died)),
        };
        stop.cancel();
        if tokio::time::timeout(LONGEST_END, tasks.all_end()).await.is_err() {
            tracing::warn!("not everything ended in time");
        }
        ended
    }
}

/// The tasks that live as long as the process, by name.
#[derive(Debug, Default)]
struct Tasks {
    set: JoinSet<()>,
    names: Vec<(Id, &'static str)>,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(task);
        self.names.push((handle.id(), name));
    }

    /// Waits for one of them to end, well or badly, and says which it was and why.
    async fn next(&mut self) -> String {
        let (id, why) = match self.set.join_next_with_id().await {
            None => return "everything".into(),
            Some(Ok((id, ()))) => (id, None),
            Some(Err(error)) => (error.id(), Some(error)),
        };
        let name =
            self.names.iter().find(|(other, _)| *other == id).map_or("a task", |(_, name)| name);
        match why {
            None => name.to_owned(),
            Some(why) => format!("{name} ({why})"),
        }
    }

    async fn all_end(&mut self) {
        while let Some(ended) = self.set.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task ended badly");
            }
        }
    }
}
