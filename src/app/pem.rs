//! Certificates and keys in files, for connections to exporters that run.

use std::path::Path;

use reqwest::{Certificate, Identity};

use crate::wickr::chain;

/// The certificates in a file, at least one.
///
/// # Errors
///
/// A sentence with the file's name.
pub(super) fn authorities(file: &Path) -> Result<Vec<Certificate>, String> {
    let found = Certificate::from_pem_bundle(&read(file)?);
    let found = found.map_err(|error| format!("{}: {}", file.display(), chain(&error)))?;
    if found.is_empty() {
        return Err(format!("{}: holds no certificate in PEM", file.display()));
    }
    Ok(found)
}

/// A certificate, with those that lead from it to its authority, and its key.
///
/// # Errors
///
/// A sentence with the files' names, and nothing of what they hold.
pub(super) fn identity(certificate: &Path, key: &Path) -> Result<Identity, String> {
    let mut pem = read(certificate)?;
    pem.push(b'\n');
    pem.extend(read(key)?);
    Identity::from_pem(&pem).map_err(|_| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("{certificate}, {key}: hold no certificate and key in PEM")
    })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}
