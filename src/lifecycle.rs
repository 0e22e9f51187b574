//! Requests to reload the configuration, and their results.

use tokio::sync::{mpsc, oneshot};

/// The result of a reload, or why it failed.
pub type ReloadResult = Result<(), String>;

/// Requests reloads.
#[derive(Debug, Clone)]
pub struct ReloadHandle(mpsc::Sender<ReloadRequest>);

/// Receives reload requests.
#[derive(Debug)]
pub struct ReloadRequests(mpsc::Receiver<ReloadRequest>);

/// A reload request that waits for its result.
#[derive(Debug)]
pub struct ReloadRequest(oneshot::Sender<ReloadResult>);

/// Creates a channel that holds 8 requests; further senders wait.
pub fn channel() -> (ReloadHandle, ReloadRequests) {
    let (sender, receiver) = mpsc::channel(8);
    (ReloadHandle(sender), ReloadRequests(receiver))
}

impl ReloadHandle {
    /// Requests a reload and waits for its result.
    pub async fn reload(&self) -> ReloadResult {
        let (sender, receiver) = oneshot::channel();
        let stopping = || "the exporter is stopping".to_owned();
        self.0.send(ReloadRequest(sender)).await.map_err(|_| stopping())?;
        receiver.await.map_err(|_| stopping())?
    }
}

impl ReloadRequests {
    /// The next request. None if all handles were dropped.
    pub async fn next(&mut self) -> Option<ReloadRequest> {
        self.0.recv().await
    }
}

impl ReloadRequest {
    /// Sends the result, if the requester still waits.
    pub fn answer(self, result: ReloadResult) {
        if self.0.send(result).is_err() {
            tracing::debug!("reload requester stopped waiting");
        }
    }
}
