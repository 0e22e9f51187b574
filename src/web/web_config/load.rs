//! Reads the web configuration and the files that it names. Blocks on the disk.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use sha2::{Digest, Sha256};

use super::{
    Located, Problems, Settings,
    raw::{self, Pem, RawWebConfig},
    yaml,
};
use crate::{
    files,
    web::{auth::TokenBucket, tls},
};

/// Of each file. Larger files are neither web configurations nor certificates.
const MAX_MIB: u64 = 1;

/// The names and a digest of the files that were read, to detect changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::web) struct FilesDigest {
    paths: Vec<PathBuf>,
    sha256: [u8; 32],
}

impl FilesDigest {
    /// The digest of the same files as they are now.
    pub(in crate::web) fn recompute(&self) -> FilesDigest {
        let mut files = Files::default();
        for path in &self.paths {
            // The digest covers read errors.
            let _ = files.read(path);
        }
        files.digest()
    }
}

/// Reads files and computes their digest.
#[derive(Debug, Default)]
pub(in crate::web) struct Files {
    paths: Vec<PathBuf>,
    sha256: Sha256,
}

impl Files {
    fn read(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let read = files::read(path, MAX_MIB);
        let content = read.as_deref().unwrap_or_default();
        self.sha256.update([u8::from(read.is_ok())]);
        self.sha256.update(Sha256::digest(content));
        self.paths.push(path.to_owned());
        read
    }

    pub(in crate::web) fn pem(
        &mut self,
        pem: &Located<Pem>,
        problems: &mut Problems,
    ) -> Option<Vec<u8>> {
        match &pem.value {
            Pem::Inline(text) => Some(text.clone().into_bytes()),
            Pem::File(path) => match self.read(path) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    problems.add(pem, format!("{} {error}", path.display()));
                    None
                }
            },
        }
    }

    fn digest(self) -> FilesDigest {
        FilesDigest { paths: self.paths, sha256: self.sha256.finalize().into() }
    }
}

/// The settings or all problems, and the digest of the files that were read.
pub(super) fn load(path: &Path) -> (Result<Settings, String>, FilesDigest) {
    let (mut files, mut problems) = (Files::default(), Problems::new(path));
    let result = match settings(path, &mut files, &mut problems) {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems.into_lines()),
    };
    (result, files.digest())
}

fn settings(path: &Path, files: &mut Files, problems: &mut Problems) -> Option<Settings> {
    let bytes = match files.read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            problems.add_for_file(error);
            return None;
        }
    };
    let RawWebConfig { tls, users, headers, rate_limit } = parse(&bytes, path, problems)?;
    let tls = match tls {
        Some(tls) => Some(tls::build(&tls, files, problems)?),
        None => None,
    };
    let rate_limit = rate_limit.map(|limit| TokenBucket::new(limit, Instant::now()));
    Some(Settings { tls, users, headers, rate_limit })
}

/// The problems of a web configuration, one a line, without reading the files that it names.
pub fn problems_of(bytes: &[u8], path: &Path) -> String {
    let mut problems = Problems::new(path);
    parse(bytes, path, &mut problems);
    problems.into_lines()
}

fn parse(bytes: &[u8], path: &Path, problems: &mut Problems) -> Option<RawWebConfig> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        problems.add_for_file("not valid YAML: not encoded in UTF-8");
        return None;
    };
    let root = match yaml::parse(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        Ok(root) => root,
        Err(error) => {
            problems.add_at(error.position, "", error.message);
            return None;
        }
    };
    let directory = path.parent().unwrap_or(Path::new(""));
    Some(raw::read(root.as_deref(), directory, problems))
}
