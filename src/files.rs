//! Bounded reads of configuration files.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Reads a file of at most `max_mib` MiB. Callers print the error after the file name.
pub(crate) fn read(path: &Path, max_mib: u64) -> Result<Vec<u8>, String> {
    let max_bytes = max_mib << 20;
    let mut bytes = Vec::new();
    // The size of a pipe is unknown in advance.
    File::open(path).and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes)).map_err(
        |error| match error.kind() {
            io::ErrorKind::NotFound => "does not exist".into(),
            io::ErrorKind::IsADirectory => "is a directory, not a file".into(),
            io::ErrorKind::PermissionDenied => "cannot be read: permission denied".into(),
            _ => format!("cannot be read: {error}"),
        },
    )?;
    if bytes.len() as u64 > max_bytes {
        return Err(format!("is larger than {max_mib} MiB"));
    }
    Ok(bytes)
}
