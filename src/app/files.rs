//! Atomic file writes.

use std::{
    ffi::OsString,
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::AppError;

/// Opening a pipe would block, and its reader could be another user.
const NOT_REGULAR: &str = "it is not a regular file";
const TEMPORARY_SUFFIX: &str = ".tmp";
const MAX_BACKUPS: u32 = 99;

/// Writes a file atomically, with Unix permissions `mode`. Follows a link unless another user owns it.
/// Writes in place to a special file such as `/dev/stdout`.
///
/// # Errors
///
/// [`AppError::Write`].
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), AppError> {
    let written = if is_special(path) {
        is_own_link(path)
            .and_then(|_| OpenOptions::new().write(true).open(path)?.write_all(content))
    } else {
        replace(path, content, mode, Previous::Remove)
    };
    written.map_err(|error| AppError::Write { path: path.display().to_string(), error })
}

/// What happens to the file that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Previous {
    Remove,
    /// Renames it with the suffix `.old`, or `.old.2` and so on if that exists.
    Keep,
}

fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file())
}

/// Replaces or creates a regular file atomically.
///
/// # Errors
///
/// The system's error, or that the path is not a regular file.
pub(super) fn replace(
    path: &Path,
    content: &[u8],
    mode: u32,
    previous: Previous,
) -> io::Result<()> {
    let path = target(path)?;
    let folder = folder(&path);
    // Fails here first, because a later error would name the temporary file.
    folder.metadata()?;
    // The textfile collector reads *.prom, so it skips this name.
    let mut file = tempfile::Builder::new()
        .prefix(&temporary_prefix(&path))
        .suffix(TEMPORARY_SUFFIX)
        .tempfile_in(folder)?;
    file.write_all(content)?;
    set_mode(file.as_file(), mode)?;
    file.as_file().sync_all()?;
    if previous == Previous::Keep {
        back_up(&path)?;
    }
    file.persist(&path).map_err(|error| error.error)?;
    // Makes the rename durable.
    File::open(folder)?.sync_all()
}

/// Links an existing file to an unused name, or renames it if that is not possible.
fn back_up(path: &Path) -> io::Result<()> {
    for number in 1..=MAX_BACKUPS {
        let mut backup = OsString::from(path);
        backup.push(if number == 1 { ".old".to_owned() } else { format!(".old.{number}") });
        match std::fs::hard_link(path, &backup) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if exists(Path::new(&backup)) => {}
            // Another user owns the file, or the file system has no links.
            Err(_) => return std::fs::rename(path, &backup),
        }
    }
    Err(io::Error::other("there are too many backups with the suffix .old; remove some"))
}

/// The directory of a file.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn exists(path: &Path) -> bool {
    !path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The regular file to write: the path itself, or the target of a link.
fn target(path: &Path) -> io::Result<PathBuf> {
    if is_special(path) {
        return Err(io::Error::other(NOT_REGULAR));
    }
    // Without a link, a link that appears later is replaced and not followed.
    match is_own_link(path)? {
        false => Ok(path.to_owned()),
        true => Ok(path.canonicalize().unwrap_or_else(|_| path.to_owned())),
    }
}

/// Prefix of the temporary files of a file: `.NAME.`
fn temporary_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// Why this user cannot write a file atomically, or `None`. Leaves nothing behind.
pub(super) fn write_problem(path: &Path) -> Option<String> {
    let path = match target(path) {
        Ok(path) => path,
        Err(error) => return Some(error.to_string()),
    };
    let folder = folder(&path);
    let error = tempfile::tempfile_in(folder).err()?;
    // Only the kind, because the message would name the temporary file.
    Some(format!("its directory {} is not writable ({})", folder.display(), error.kind()))
}

/// Removes temporary files of a process that was killed while it wrote `path`, or a file next to it
/// whose name has a further part that `is_part` accepts.
pub(super) fn remove_temporary_files(path: &Path, is_part: impl Fn(&str) -> bool) {
    let Ok(entries) = folder(path).read_dir() else { return };
    let prefix = temporary_prefix(path);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        let rest = bytes
            .strip_prefix(prefix.as_encoded_bytes())
            .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX.as_bytes()))
            .and_then(|rest| std::str::from_utf8(rest).ok());
        let is_ours =
            rest.is_some_and(|rest| rest.rsplit_once('.').is_none_or(|(part, _)| is_part(part)));
        if is_ours && let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove a temporary file");
        }
    }
}

/// The target of a link, which need not exist. The path itself if it is not a link of this user or root.
pub(super) fn follow_own_link(path: &Path) -> PathBuf {
    let target = match is_own_link(path) {
        Ok(true) => path.canonicalize().or_else(|_| Ok(folder(path).join(path.read_link()?))),
        other => other.map(|_| path.to_owned()),
    };
    target.unwrap_or_else(|_: io::Error| path.to_owned())
}

/// Opens a regular file for reading. It, and a link to it, must belong to this user or root.
pub(super) fn open_owned(path: &Path) -> io::Result<File> {
    let file = open_nonblocking(path, is_own_link(path)?)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(NOT_REGULAR));
    }
    if is_foreign(&metadata) {
        return Err(io::Error::other("it belongs to another user"));
    }
    Ok(file)
}

/// Whether the path is a link; an error if another user owns it. In a directory that all users can write
/// to, such a link can point to any file of this user.
fn is_own_link(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() && is_foreign(&metadata) => {
            Err(io::Error::other("it is a link of another user"))
        }
        Ok(metadata) => Ok(metadata.is_symlink()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens without blocking on a pipe. Without `follow`, fails for a link that was created in the meantime.
#[cfg(unix)]
fn open_nonblocking(path: &Path, follow: bool) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    Ok(open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open_nonblocking(path: &Path, _: bool) -> io::Result<File> {
    File::open(path)
}

#[cfg(unix)]
fn is_foreign(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.uid() != 0 && metadata.uid() != rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_foreign(_: &Metadata) -> bool {
    false
}

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
