//! Child processes. Each is killed when its value is dropped.

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

/// Last lines of output, for error messages.
const TAIL: usize = 20;
/// Capacity of the channel of unread lines; further lines are dropped.
const UNREAD: usize = 256;

/// A running program, killed on drop.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    pub(crate) pid: u32,
    child: tokio::process::Child,
    lines: mpsc::Receiver<String>,
    tail: Arc<Mutex<VecDeque<String>>>,
    readers: JoinSet<()>,
}

impl Child {
    /// Starts a program without the inherited AWS and proxy variables.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Child> {
        for (variable, _) in std::env::vars_os() {
            let variable = variable.to_string_lossy().into_owned();
            if variable.starts_with("AWS_") || variable.to_lowercase().ends_with("_proxy") {
                let explicit = |(set, value): (&std::ffi::OsStr, Option<_>)| {
                    set == variable.as_str() && value.is_some()
                };
                if !command.as_std().get_envs().any(explicit) {
                    command.env_remove(variable);
                }
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.kill_on_drop(true).spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = child.id().with_context(|| format!("{name} exited immediately"))?;
        let (sender, lines) = mpsc::channel(UNREAD);
        let tail = Arc::new(Mutex::new(VecDeque::with_capacity(TAIL)));
        let mut readers = JoinSet::new();
        if let Some(out) = child.stdout.take() {
            readers.spawn(read_lines(out, sender.clone(), tail.clone()));
        }
        if let Some(err) = child.stderr.take() {
            readers.spawn(read_lines(err, sender, tail.clone()));
        }
        Ok(Child { name: name.to_owned(), pid, child, lines, tail, readers })
    }

    /// Waits for a line that `parse` accepts.
    pub(crate) async fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let search = async {
            while let Some(line) = self.lines.recv().await {
                if let Some(value) = parse(&line) {
                    return Some(value);
                }
            }
            None
        };
        match timeout(limit, search).await {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(self.error(&format!("exited without printing {what}"))),
            Err(_) => Err(self.error(&format!("did not print {what} in time"))),
        }
    }

    /// An error with the last lines of output.
    pub(crate) fn error(&self, problem: &str) -> anyhow::Error {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let tail: Vec<&str> = tail.iter().map(String::as_str).collect();
        anyhow!("{} {problem}; last output:\n{}", self.name, tail.join("\n"))
    }

    /// Kills the program and waits for its end.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot stop {}", self.name))?;
        while let Some(result) = self.readers.join_next().await {
            result.context("cannot read the output of a child")?;
        }
        Ok(())
    }
}

/// Reads all output, so that the child never blocks.
async fn read_lines(
    output: impl AsyncRead + Unpin,
    sender: mpsc::Sender<String>,
    tail: Arc<Mutex<VecDeque<String>>>,
) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line.clone());
        }
        // Fails once no receiver reads the lines.
        let _ = sender.try_send(line);
    }
}
