//! Writing files so that nobody ever sees half of one.

use std::{
    ffi::OsString,
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::AppError;

/// Why a file is not touched that is none in truth: a pipe would be waited for for ever, and whoever
/// holds its other end would be told what is known.
const ODD: &str = "it is no regular file";

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
    if is_odd(path) {
        is_our_link(path)?;
        return OpenOptions::new().write(true).open(path)?.write_all(content);
    }
    replace(path, content, mode, Former::Goes)
}

/// What becomes of the file that another takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Former {
    Goes,
    /// It gets `.old` after its name, or `.old.2` and so on where there is such a one.
    IsKept,
}

fn is_odd(path: &Path) -> bool {
    path.metadata().is_ok_and(|there| !there.is_file())
}

/// Writes a regular file, or none, so that it is read whole or as it was.
///
/// # Errors
///
/// The system's, or what stands there instead.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32, former: Former) -> io::Result<()> {
    let path = place(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // The error of a file that cannot be made would name the temporary one.
    folder.metadata()?;
    // Its hidden name keeps the textfile collector, which takes *.prom, from reading it.
    let mut file = tempfile::Builder::new()
        .prefix(&temporary_prefix(&path))
        .suffix(SUFFIX)
        .tempfile_in(folder)?;
    file.write_all(content)?;
    set_mode(file.as_file(), mode)?;
    file.as_file().sync_all()?;
    if former == Former::IsKept {
        keep(&path)?;
    }
    file.persist(&path).map_err(|error| error.error)?;
    // So that the new name, too, outlives a power cut.
    File::open(folder)?.sync_all()
}

/// Gives a file, if there is one, another name that nothing has, beside its own where that can be had.
fn keep(path: &Path) -> io::Result<()> {
    for number in 1..=MOST_KEPT {
        let mut kept = OsString::from(path);
        kept.push(if number == 1 { ".old".to_owned() } else { format!(".old.{number}") });
        match std::fs::hard_link(path, &kept) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if is_taken(Path::new(&kept)) => {}
            // Of somebody else, or where there are no links.
            Err(_) => return std::fs::rename(path, &kept),
        }
    }
    Err(io::Error::other("there are too many files that were kept, with .old after its name"))
}

fn is_taken(path: &Path) -> bool {
    !path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Where a file is, or will be: behind the link, if there is one.
fn place(path: &Path) -> io::Result<PathBuf> {
    if is_odd(path) {
        return Err(io::Error::other(ODD));
    }
    match is_our_link(path)? {
        // A link in a place where there was none is not followed: a new name takes its place.
        false => Ok(path.to_owned()),
        true => Ok(path.canonicalize().unwrap_or_else(|_| path.to_owned())),
    }
}

const SUFFIX: &str = ".tmp";
const MOST_KEPT: u32 = 99;

/// What the temporary files of a file begin with: `.name.`
fn temporary_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// Why a file cannot be written atomically by who runs this, if so. Nothing is left behind.
pub(super) fn trouble(path: &Path) -> Option<String> {
    let path = match place(path) {
        Ok(path) => path,
        Err(error) => return Some(error.to_string()),
    };
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

/// Opens a file to read what an earlier process of ours has written: a regular file, which is ours
/// or root's, as is the link that may stand in its place.
pub(super) fn open_ours(path: &Path) -> io::Result<File> {
    let file = open_at_once(path, is_our_link(path)?)?;
    let there = file.metadata()?;
    if !there.is_file() {
        return Err(io::Error::other(ODD));
    }
    if belongs_to_another(&there) {
        return Err(io::Error::other("it belongs to somebody else"));
    }
    Ok(file)
}

/// Whether there is a link, which nobody else has made. In a folder that is everybody's, one may lead
/// to any file of ours; but there, nobody can put another in the place of ours.
fn is_our_link(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(there) if there.is_symlink() && belongs_to_another(&there) => {
            Err(io::Error::other("it is a link that somebody else has made"))
        }
        Ok(there) => Ok(there.is_symlink()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens whatever is there, and waits for nobody at the other end of a pipe. Unless it is to follow a
/// link, it follows none that has come since somebody looked.
#[cfg(unix)]
fn open_at_once(path: &Path, follow: bool) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    Ok(open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open_at_once(path: &Path, _: bool) -> io::Result<File> {
    File::open(path)
}

#[cfg(unix)]
fn belongs_to_another(there: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    there.uid() != 0 && there.uid() != rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn belongs_to_another(_: &Metadata) -> bool {
    false
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
