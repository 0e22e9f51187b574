//! The disk of the state file, which can be full or missing.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use fastrand::Rng;
use flate2::read::GzDecoder;

/// A folder, on a file system of 1 MiB if the process may mount one.
pub struct Disk {
    folder: PathBuf,
    mounted: bool,
    failure: Failure,
}

#[derive(Clone, Copy, PartialEq)]
enum Failure {
    None,
    Full,
    Missing,
}

impl Disk {
    pub fn new(folder: &Path) -> Disk {
        let folder = folder.join("disk");
        fs::create_dir(&folder).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(&folder)
            .output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        let disk = Disk { folder, mounted, failure: Failure::None };
        fs::create_dir(disk.data()).unwrap();
        disk
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn moved(&self) -> PathBuf {
        self.folder.join("moved")
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    pub fn state(&self) -> PathBuf {
        self.data().join("state")
    }

    /// The uncompressed content of all state files.
    pub fn saved(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for entry in fs::read_dir(self.data()).into_iter().flatten().flatten() {
            let file = fs::read(entry.path()).unwrap_or_default();
            // A line, a checksum and the compressed content. A temporary file can be incomplete.
            let line = file.iter().position(|byte| *byte == b'\n').unwrap_or_default();
            let compressed = file.get(line + 1 + 32..).unwrap_or_default();
            let _ = GzDecoder::new(compressed).read_to_end(&mut content);
        }
        content
    }

    /// Whether saving the state fails.
    pub fn has_failed(&self) -> bool {
        self.failure != Failure::None
    }

    pub fn is_available(&self) -> bool {
        self.failure != Failure::Missing
    }

    /// Repairs a failure, or causes one; returns its description.
    pub fn toggle_failure(&mut self, rng: &mut Rng) -> &'static str {
        if self.has_failed() {
            self.repair();
            return "disk repaired";
        }
        if self.mounted && rng.bool() {
            let full = fs::write(self.filler(), vec![0; 2 << 20]);
            assert!(full.is_err(), "the disk is larger than 1 MiB");
            self.failure = Failure::Full;
            return "disk full";
        }
        fs::rename(self.data(), self.moved()).unwrap();
        self.failure = Failure::Missing;
        "folder of the state file missing"
    }

    pub fn repair(&mut self) {
        match self.failure {
            Failure::None => {}
            Failure::Full => fs::remove_file(self.filler()).unwrap(),
            Failure::Missing => fs::rename(self.moved(), self.data()).unwrap(),
        }
        self.failure = Failure::None;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let unmounted = Command::new("umount").arg(&self.folder).status();
            if !unmounted.is_ok_and(|status| status.success()) {
                eprintln!("{} is still mounted", self.folder.display());
            }
        }
    }
}
