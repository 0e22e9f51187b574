//! Third-party programs that tests run. `.ci/tools` installs them.
//!
//! Where one is missing, the test that wants it says so loudly and passes, so that a plain
//! `cargo test` works on any machine. With `CI=true` it fails instead: there, nothing may be
//! skipped in silence.

use std::{
    env,
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// The program of that name: from the tests' own Python environment, else from `PATH`.
///
/// # Panics
///
/// With `CI=true`, if there is none.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let found = directories().map(|directory| directory.join(name)).find(|file| is_program(file));
    if found.is_none() {
        skip(&format!("{name} is neither in {} nor in PATH", environment().display()));
    }
    found
}

/// The folder with the packages of `browser/package.json`.
///
/// # Panics
///
/// With `CI=true`, if there is none.
pub(crate) fn node_modules() -> Option<PathBuf> {
    let folder = cache("WICKR_TEST_NODE", ".cache/wickr-exporter-browser");
    let found = folder.join("node_modules/playwright-core").is_dir();
    if !found {
        skip(&format!("{} has no playwright-core", folder.display()));
    }
    found.then_some(folder)
}

/// Tells loudly that a test cannot run here, and why.
///
/// # Panics
///
/// With `CI=true`.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{why}: run .ci/tools");
    // Not eprintln: the test harness swallows that of a test that passes.
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("\n*** SKIPPED {test}: {why}. Install it with .ci/tools.\n").as_bytes(),
    );
}

/// Runs a program to its end and gives back all that it wrote.
///
/// # Panics
///
/// If it fails, with what it wrote.
pub(crate) fn run(program: &Path, arguments: &[impl AsRef<OsStr>]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// Where `.ci/tools` puts the Python environment.
fn environment() -> PathBuf {
    cache("WICKR_TEST_VENV", ".cache/wickr-exporter-tests").join("bin")
}

/// A folder that a variable names, or the usual one in the home.
fn cache(variable: &str, usual: &str) -> PathBuf {
    let home = || Path::new(&env::var_os("HOME").unwrap_or_default()).to_owned();
    env::var_os(variable)
        .filter(|path| !path.is_empty())
        .map_or_else(|| home().join(usual), PathBuf::from)
}

fn directories() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = env::split_paths(&path).collect();
    std::iter::once(environment()).chain(path)
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
