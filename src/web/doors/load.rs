//! From the files to the settings, and whether the files have changed since.
//!
//! All here waits for the disk, so it runs on threads that may.

use std::{
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    Settings,
    problems::Problems,
    reader::Spot,
    tls,
    written::{self, Pem, Written},
    yaml,
};
use crate::config::file;

/// What is larger is neither a web configuration nor a certificate.
const MAX_BYTES: u64 = 1 << 20;

/// One reading of the web configuration and of all files that it names.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What came of it: the settings, or what is wrong.
    pub(super) result: Result<Settings, String>,
    pub(super) seen: Seen,
}

/// What was read, so that a change of it can be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    files: Vec<PathBuf>,
    digest: [u8; 32],
}

impl Seen {
    /// The same files as they are now.
    pub(super) fn again(&self) -> Seen {
        let mut files = Files::default();
        for path in &self.files {
            // That it cannot be read is something to see, too.
            let _ = files.read(path);
        }
        files.seen()
    }
}

/// Reads files, and remembers which and what.
#[derive(Debug, Default)]
pub(super) struct Files {
    read: Vec<PathBuf>,
    digest: Sha256,
}

impl Files {
    fn read(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let read = read(path);
        let content = read.as_deref().unwrap_or_default();
        self.digest.update([u8::from(read.is_ok())]);
        self.digest.update(Sha256::digest(content));
        self.read.push(path.to_owned());
        read.map_err(|error| file::describe_read_error(&error))
    }

    /// Something in PEM, wherever it is.
    pub(super) fn pem(&mut self, spot: &Spot<Pem>, problems: &mut Problems) -> Option<Vec<u8>> {
        match &spot.value {
            Pem::Inline(text) => Some(text.clone().into_bytes()),
            Pem::File(path) => match self.read(path) {
                Ok(bytes) => Some(bytes),
                Err(why) => {
                    problems.add(spot.place, &spot.key, format!("{} {why}", path.display()));
                    None
                }
            },
        }
    }

    fn seen(self) -> Seen {
        Seen { files: self.read, digest: self.digest.finalize().into() }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = file::read(path, MAX_BYTES)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}

/// Reads the web configuration at `path` and makes settings of it.
pub(super) fn load(path: &Path) -> Attempt {
    let (mut files, mut problems) = (Files::default(), Problems::of(path));
    let settings = settings(path, &mut files, &mut problems);
    let result = match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems.told()),
    };
    Attempt { result, seen: files.seen() }
}

fn settings(path: &Path, files: &mut Files, problems: &mut Problems) -> Option<Settings> {
    let bytes = match files.read(path) {
        Ok(bytes) => bytes,
        Err(why) => {
            problems.add_for_all(why);
            return None;
        }
    };
    let written = written_in(&bytes, path, problems)?;
    let tls = match &written.tls {
        Some(tls) => Some(tls::build(tls, files, problems)?),
        None => None,
    };
    Some(Settings::new(tls, written))
}

/// What is wrong with a text as a web configuration, a line each, files that it names aside; empty
/// if nothing is.
pub fn problems_of(bytes: &[u8], path: &Path) -> String {
    let mut problems = Problems::of(path);
    written_in(bytes, path, &mut problems);
    problems.told()
}

fn written_in(bytes: &[u8], path: &Path, problems: &mut Problems) -> Option<Written> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        problems.add_for_all("not valid YAML: not encoded in UTF-8");
        return None;
    };
    let root = match yaml::parse(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        Ok(root) => root,
        Err(broken) => {
            problems.add(broken.place, "", broken.message);
            return None;
        }
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    Some(written::read(root.as_deref(), folder, problems))
}
