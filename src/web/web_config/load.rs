//! Reads the web configuration and the files that it names. Blocks on the disk.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use sha2::{Digest, Sha256};

use super::{
    AccessSettings,
    raw::{self, Pem, PemSource, RawWebConfig},
};
use crate::{
    diagnostics::{ConfigError, Problems, decode, yaml},
    files,
    web::{auth::TokenBucket, tls},
};

/// Maximum size of each file. Larger files are neither web configurations nor certificates.
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

    pub(in crate::web) fn pem(&mut self, pem: &Pem, problems: &Problems) -> Option<Vec<u8>> {
        match &pem.source {
            PemSource::Inline(text) => Some(text.clone().into_bytes()),
            PemSource::File(path) => match self.read(path) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    problems.add(&pem.location, format!("{} {error}", path.display()));
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
pub(super) fn load(path: &Path) -> (Result<AccessSettings, String>, FilesDigest) {
    let mut files = Files::default();
    let result = read(path, &mut files).map_err(|error| error.to_string());
    (result, files.digest())
}

fn read(path: &Path, files: &mut Files) -> Result<AccessSettings, ConfigError> {
    let name = path.display().to_string();
    let bytes = files.read(path).map_err(|error| ConfigError::for_file(&name, error))?;
    let settings = parse(&bytes, path, |raw, problems| settings(raw, files, problems))?;
    settings.ok_or_else(|| ConfigError::for_file(&name, "cannot be used"))
}

/// None if there was a problem.
fn settings(raw: RawWebConfig, files: &mut Files, problems: &Problems) -> Option<AccessSettings> {
    let RawWebConfig { tls, users, headers, rate_limit } = raw;
    let tls = match tls {
        Some(tls) => Some(tls::build(&tls, files, problems)?),
        None => None,
    };
    let rate_limit = rate_limit.map(|limit| TokenBucket::new(limit, Instant::now()));
    Some(AccessSettings { tls, users, headers, rate_limit })
}

/// The first hundred problems of a web configuration, one per line, without reading the files that it
/// names.
pub fn problems_of(bytes: &[u8], path: &Path) -> String {
    let error = parse(bytes, path, |_, _| ()).err();
    let problems = error.iter().flat_map(ConfigError::problems);
    problems.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn parse<T>(
    bytes: &[u8],
    path: &Path,
    build: impl FnOnce(RawWebConfig, &Problems) -> T,
) -> Result<T, ConfigError> {
    let name = path.display().to_string();
    let text = decode(bytes, &name, "YAML")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let problems = Problems::default();
    let root = yaml::parse(&text, &problems);
    let directory = path.parent().unwrap_or(Path::new(""));
    let built = build(raw::read(root.as_deref(), directory, &problems), &problems);
    problems.into_result(&text, &name)?;
    Ok(built)
}
