//! CPU time, memory, threads and files of a process. Only Linux is supported.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// User and system time of all threads.
    pub(crate) cpu: Duration,
    /// Resident bytes.
    pub(crate) rss: u64,
    /// Maximum of resident bytes.
    pub(crate) peak: u64,
    pub(crate) threads: u64,
    /// Open files and sockets.
    pub(crate) files: u64,
}

/// The usage of a process; `None` if it is not available.
#[cfg(target_os = "linux")]
pub(crate) fn of(pid: u32) -> Option<Usage> {
    use nix::{time, unistd::Pid};

    // /proc/PID/stat has a resolution of only 10 ms.
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

#[cfg(not(target_os = "linux"))]
pub(crate) fn of(_: u32) -> Option<Usage> {
    None
}

/// CPU time used from `before` to `after`.
pub(crate) fn cpu_between(before: Option<Usage>, after: Option<Usage>) -> Option<Duration> {
    Some(after?.cpu.saturating_sub(before?.cpu))
}
