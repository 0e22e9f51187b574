//! One poll of everything, for the command line and for the node exporter's textfile collector.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use futures_util::future::join_all;
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;

use super::{AppError, Exporter, groups};
use crate::{
    clock::Clock,
    config::Config,
    exposition::{Exposition, Format},
    inventory::Reader,
};

/// How one poll of everything went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All users were read.
    AllRead,
    /// Some were.
    SomeRead,
    /// None was.
    NoneRead,
}

/// Polls every network of `config` once and gives the exposition in the text format. Each network
/// names its region. Progress is shown on standard error where that is a terminal.
///
/// The metrics of the process are left out: the node exporter, which may take this up, has its own
/// of the same names.
///
/// # Errors
///
/// When it cannot be set up.
pub async fn once(config: &Config, clock: Clock) -> Result<(Outcome, Vec<u8>), AppError> {
    let mut exporter = Exporter::new(config, None, &clock, false)?;
    let polls = join_all(exporter.pollers.iter_mut().map(|poller| poller.poll()));
    tokio::select! {
        _ = polls => {}
        () = show_progress(&exporter.reader) => {}
    }
    let snapshot = exporter.reader.snapshot();
    let (mut users, mut failed) = (0, 0);
    for network in &snapshot.networks {
        users += network.users.len();
        failed += network.users_by_failure().iter().sum::<usize>();
    }
    let outcome = match failed {
        0 => Outcome::AllRead,
        failed if failed == users => Outcome::NoneRead,
        _ => Outcome::SomeRead,
    };
    let exposition = Exposition {
        snapshot: &snapshot,
        now: clock.now(),
        idle_buckets: &config.metrics.idle_buckets,
        own: &exporter.metrics.gather(),
        groups: &groups(config.metrics.detail),
    };
    let text = exposition.render(Format::Text, Vec::new());
    Ok((outcome, text.map_err(|error| AppError::Setup(error.to_string()))?))
}

/// Shows how far the polls are, for as long as it is polled.
async fn show_progress(reader: &Reader) {
    if !io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let bar = ProgressBar::new(0);
    // A bad template leaves the bar's own style.
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} users, {eta} left") {
        bar.set_style(style);
    }
    // Dropped with this future: the bar must not stay behind.
    let _clear = Clear(&bar);
    loop {
        let (mut done, mut total) = (0, 0);
        for network in &reader.snapshot().networks {
            let all = network.users.len();
            let poll = network.polls.under_way.map_or((all, all), |poll| (poll.done, poll.total));
            done += poll.0;
            total += poll.1;
        }
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Clear<'a>(&'a ProgressBar);

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Writes a file so that whoever reads it sees the old content or the new, never a part. A link is
/// followed; what is no regular file, such as `/dev/stdout`, is written to as it is.
///
/// # Errors
///
/// The system's.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), AppError> {
    let write = || {
        if path.metadata().is_ok_and(|there| !there.is_file()) {
            return OpenOptions::new().write(true).open(path)?.write_all(content);
        }
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // The hidden name keeps the textfile collector, which takes *.prom, from reading it.
        let folder = folder.unwrap_or(Path::new("."));
        // The error of a file that cannot be made would name the temporary one.
        folder.metadata()?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        readable_by_all(file.as_file())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| AppError::Write { path: path.display().to_string(), error })
}

/// The node exporter runs as somebody else; a temporary file is its owner's alone.
fn readable_by_all(file: &std::fs::File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::{fs::Permissions, os::unix::fs::PermissionsExt};
        file.set_permissions(Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}
