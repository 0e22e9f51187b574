//! Programs that are started to be measured. Each ends with the value that stands for it, by its
//! own process id, whatever becomes of the run.

use std::{
    collections::VecDeque,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::Command,
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

/// Lines that are kept to tell what went wrong.
const KEPT: usize = 20;
/// Lines that wait to be looked at; a child that says more is not waited for any more.
const WAITING: usize = 256;

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    pub(crate) pid: u32,
    child: tokio::process::Child,
    lines: mpsc::Receiver<String>,
    said: Arc<Mutex<VecDeque<String>>>,
    readers: JoinSet<()>,
}

impl Child {
    /// Starts a program, with nothing of this machine's AWS and proxy settings.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Child> {
        for (variable, _) in std::env::vars_os() {
            let variable = variable.to_string_lossy().into_owned();
            if variable.starts_with("AWS_") || variable.to_lowercase().ends_with("_proxy") {
                // What this program itself set for the child stays.
                let own = |(set, value): (&std::ffi::OsStr, Option<_>)| {
                    set == variable.as_str() && value.is_some()
                };
                if !command.as_std().get_envs().any(own) {
                    command.env_remove(variable);
                }
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.kill_on_drop(true).spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = child.id().with_context(|| format!("{name} ended at once"))?;
        let (sender, lines) = mpsc::channel(WAITING);
        let said = Arc::new(Mutex::new(VecDeque::with_capacity(KEPT)));
        let mut readers = JoinSet::new();
        if let Some(out) = child.stdout.take() {
            readers.spawn(listen(out, sender.clone(), said.clone()));
        }
        if let Some(err) = child.stderr.take() {
            readers.spawn(listen(err, sender, said.clone()));
        }
        Ok(Child { name: name.to_owned(), pid, child, lines, said, readers })
    }

    /// Waits for a line in which `find` finds what it is looking for.
    pub(crate) async fn told<T>(
        &mut self,
        what: &str,
        patience: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let looking = async {
            while let Some(line) = self.lines.recv().await {
                if let Some(found) = find(&line) {
                    return Some(found);
                }
            }
            None
        };
        match timeout(patience, looking).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(self.failed(&format!("ended without telling {what}"))),
            Err(_) => Err(self.failed(&format!("does not tell {what}"))),
        }
    }

    /// An error that says what the program said last.
    pub(crate) fn failed(&self, why: &str) -> anyhow::Error {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        anyhow!("{} {why}; it said last:\n{}", self.name, said.join("\n"))
    }

    /// Ends it now and waits for that.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot end {}", self.name))?;
        while let Some(ended) = self.readers.join_next().await {
            ended.context("reading what a child said")?;
        }
        Ok(())
    }
}

/// Reads lines to the end, so that the program never waits for this one.
async fn listen(
    from: impl AsyncRead + Unpin,
    to: mpsc::Sender<String>,
    said: Arc<Mutex<VecDeque<String>>>,
) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.len() == KEPT {
                said.pop_front();
            }
            said.push_back(line.clone());
        }
        // Nobody may be looking any more.
        let _ = to.try_send(line);
    }
}
