//! Files that people write: read up to a bound, and what is wrong where they cannot be.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// What a file holds, but at most one byte more than is allowed, for the size of a pipe is not known
/// before.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why it cannot be read, in words that follow its name.
pub(crate) fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".into(),
        io::ErrorKind::IsADirectory => "is a directory, not a file".into(),
        io::ErrorKind::PermissionDenied => "may not be read: permission denied".into(),
        _ => format!("cannot be read: {error}"),
    }
}
