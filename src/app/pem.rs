//! Certificates and keys in PEM files, for connections to a running exporter.

use std::path::Path;

use reqwest::{Certificate, Identity};

use crate::wickr::chain;

/// The certificates in a file, at least one.
///
/// # Errors
///
/// A message with the file name.
pub(super) fn certificates(file: &Path) -> Result<Vec<Certificate>, String> {
    let found = Certificate::from_pem_bundle(&read(file)?)
        .map_err(|error| format!("{}: {}", file.display(), chain(&error)))?;
    if found.is_empty() {
        return Err(format!("{}: contains no certificate in PEM", file.display()));
    }
    Ok(found)
}

/// A certificate with its chain and key.
///
/// # Errors
///
/// A message with the file names, without their content.
pub(super) fn identity(certificate: &Path, key: &Path) -> Result<Identity, String> {
    let mut pem = read(certificate)?;
    pem.push(b'\n');
    pem.extend(read(key)?);
    Identity::from_pem(&pem).map_err(|_| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("{certificate}, {key}: contain no certificate and key in PEM")
    })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}
