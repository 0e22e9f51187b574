//! What a process has used of the machine, as the kernel tells it. Linux only: elsewhere nothing is
//! said, rather than something wrong.

use std::time::Duration;

/// Of one process, up to now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// In its own code and in the kernel for it, all threads.
    pub(crate) cpu: Duration,
    /// Bytes resident now.
    pub(crate) rss: u64,
    /// Bytes resident at most so far.
    pub(crate) peak: u64,
    pub(crate) threads: u64,
    /// Open files, sockets among them.
    pub(crate) files: u64,
}

/// What the process with this id has used; none where the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn of(pid: u32) -> Option<Usage> {
    use nix::{time, unistd::Pid};

    // Its clock rather than /proc/PID/stat, which counts in hundredths of a second.
    let clock = time::clock_getcpuclockid(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    let cpu = time::clock_gettime(clock).ok()?.into();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    };
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"))?;
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some(Usage {
        cpu,
        rss: bytes("VmRSS:")?,
        peak: bytes("VmHWM:")?,
        threads: threads.trim().parse().ok()?,
        files,
    })
}

/// Elsewhere it is not known how to ask.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of(_: u32) -> Option<Usage> {
    None
}

/// CPU time used from `before` to `after`.
pub(crate) fn cpu_between(before: Option<Usage>, after: Option<Usage>) -> Option<Duration> {
    Some(after?.cpu.saturating_sub(before?.cpu))
}
