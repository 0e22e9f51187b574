//! Asking for the configuration to be loaded anew, and hearing what came of it.

use tokio::sync::{mpsc, oneshot};

/// What came of a reload: why there was none, otherwise.
pub type Reloaded = Result<(), String>;

/// Asks. Whoever may ask has one.
#[derive(Debug, Clone)]
pub struct Reloads(mpsc::Sender<Request>);

/// Hears who asks.
#[derive(Debug)]
pub struct Requests(mpsc::Receiver<Request>);

/// One that asks, and waits.
#[derive(Debug)]
pub struct Request(oneshot::Sender<Reloaded>);

/// Opens a way to ask. A few may wait; who asks beyond that waits to ask.
pub fn channel() -> (Reloads, Requests) {
    let (sender, receiver) = mpsc::channel(8);
    (Reloads(sender), Requests(receiver))
}

impl Reloads {
    /// Asks for a reload and waits for its end.
    pub async fn reload(&self) -> Reloaded {
        let (answer, heard) = oneshot::channel();
        let ended = || "the exporter is stopping".to_owned();
        self.0.send(Request(answer)).await.map_err(|_| ended())?;
        heard.await.map_err(|_| ended())?
    }
}

impl Requests {
    /// The next that asks; none when nobody can ask any more.
    pub async fn next(&mut self) -> Option<Request> {
        self.0.recv().await
    }
}

impl Request {
    /// Tells what came of it. Who asked may have gone.
    pub fn answer(self, reloaded: Reloaded) {
        if self.0.send(reloaded).is_err() {
            tracing::debug!("nobody waits for the end of the reload");
        }
    }
}
