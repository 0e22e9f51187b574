//! Writing files so that nobody ever sees half of one.

use std::{
    ffi::OsString,
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    path::Path,
};

use super::AppError;

/// Writes a file so that whoever reads it sees the old content or the new, never a part. A link is
/// followed, unless somebody else has made it; what is no regular file, such as `/dev/stdout`, is
/// written to as it is. `mode` says who may read it, as chmod has it.
///
/// # Errors
///
/// The system's.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), AppError> {
    write(path, content, mode)
        .map_err(|error| AppError::Write { path: path.display().to_string(), error })
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return OpenOptions::new().write(true).open(path)?.write_all(content);
    }
    let named = path;
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // The error of a file that cannot be made would name the temporary one.
    folder.metadata()?;
    // Its hidden name keeps the textfile collector, which takes *.prom, from reading it.
    let mut file = tempfile::Builder::new()
        .prefix(&temporary_prefix(&path))
        .suffix(SUFFIX)
        .tempfile_in(folder)?;
    // In a folder that is everybody's, a link may lead to any file of ours.
    if named.is_symlink() && belongs_to_another(&named.symlink_metadata()?, file.as_file())? {
        return Err(io::Error::other("it is a link that somebody else has made"));
    }
    file.write_all(content)?;
    set_mode(file.as_file(), mode)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    // So that the new name, too, outlives a power cut.
    File::open(folder)?.sync_all()
}

const SUFFIX: &str = ".tmp";

/// What the temporary files of a file begin with: `.name.`
fn temporary_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// Why a file cannot be written atomically by who runs this, if so. Nothing is left behind.
pub(super) fn trouble(path: &Path) -> Option<String> {
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return Some("it is no regular file".into());
    }
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let error = tempfile::tempfile_in(folder).err()?;
    // The error's own words would name the temporary file.
    Some(format!("its folder {} cannot be written to ({})", folder.display(), error.kind()))
}

/// Removes temporary files that a process left which was killed while it wrote.
pub(super) fn remove_leftovers(path: &Path) {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Ok(entries) = folder.unwrap_or(Path::new(".")).read_dir() else { return };
    let prefix = temporary_prefix(&path);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        let random = bytes
            .strip_prefix(prefix.as_encoded_bytes())
            .and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
        // Not those of a file whose name begins with this one's.
        let is_leftover = random.is_some_and(|random| !random.contains(&b'.'));
        if is_leftover && let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove a leftover");
        }
    }
}

/// Whether a file that is there, or a link in its place, is neither ours nor root's. In a folder where
/// that cannot be told, nothing can be written either.
pub(super) fn is_anothers(path: &Path) -> bool {
    // That of the name, not of what a link leads to: whoever made the link has chosen that.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Ok(ours) = tempfile::tempfile_in(folder.unwrap_or(Path::new("."))) else { return false };
    let is = |there: io::Result<Metadata>| {
        there.and_then(|there| belongs_to_another(&there, &ours)).unwrap_or(false)
    };
    is(path.symlink_metadata()) || is(path.metadata())
}

/// Whose a new file is tells who we are.
fn belongs_to_another(there: &Metadata, ours: &File) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Ok(there.uid() != 0 && there.uid() != ours.metadata()?.uid())
    }
    #[cfg(not(unix))]
    {
        let _ = (there, ours);
        Ok(false)
    }
}

/// A temporary file is its owner's alone at first.
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::{fs::Permissions, os::unix::fs::PermissionsExt};
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    #[cfg(not(unix))]
    let _ = (file, mode);
    Ok(())
}
