//! The disk under the state file, which can be full or away.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use fastrand::Rng;

/// A folder of its own; on a small disk of its own where this process may mount one.
pub struct Disk {
    folder: PathBuf,
    pub mounted: bool,
    trouble: Trouble,
}

#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    None,
    Full,
    Away,
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
        let disk = Disk { folder, mounted, trouble: Trouble::None };
        fs::create_dir(disk.data()).unwrap();
        disk
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn elsewhere(&self) -> PathBuf {
        self.folder.join("elsewhere")
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    pub fn state(&self) -> PathBuf {
        self.data().join("state")
    }

    /// Whether what is saved is kept, and nothing new can be.
    pub fn is_in_trouble(&self) -> bool {
        self.trouble != Trouble::None
    }

    pub fn is_there(&self) -> bool {
        self.trouble != Trouble::Away
    }

    /// It is full, or away, or neither any more.
    pub fn befall(&mut self, rng: &mut Rng) -> &'static str {
        if self.is_in_trouble() {
            self.mend();
            return "the disk is well again";
        }
        if self.mounted && rng.bool() {
            // It ends with an error: that is when it is full.
            let full = fs::write(self.filler(), vec![0; 2 << 20]);
            assert!(full.is_err(), "the disk is larger than it should be");
            self.trouble = Trouble::Full;
            return "the disk is full";
        }
        fs::rename(self.data(), self.elsewhere()).unwrap();
        self.trouble = Trouble::Away;
        "the folder of the state file is away"
    }

    pub fn mend(&mut self) {
        match self.trouble {
            Trouble::None => {}
            Trouble::Full => fs::remove_file(self.filler()).unwrap(),
            Trouble::Away => fs::rename(self.elsewhere(), self.data()).unwrap(),
        }
        self.trouble = Trouble::None;
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
