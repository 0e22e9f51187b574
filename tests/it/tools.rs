//! Third-party programs that tests run. `.ci/tools` installs them.
//!
//! A test whose program is missing prints `SKIPPED` and passes, so that `cargo test` works on any
//! machine. With `CI=true` it fails.

use std::{
    env,
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Finds a program in the tests' Python environment, else in `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let found = directories().map(|directory| directory.join(name)).find(|file| is_program(file));
    if found.is_none() {
        skip(&format!("{name} is neither in {} nor in PATH", environment().display()));
    }
    found
}

/// Finds a Python that can import these modules.
pub fn python(modules: &str) -> Option<PathBuf> {
    let python = find("python3")?;
    let mut command = Command::new(&python);
    let output = command.args(["-c", &format!("import {modules}")]).output().unwrap();
    if !output.status.success() {
        skip(&format!("python3 cannot import {modules}"));
    }
    output.status.success().then_some(python)
}

/// The folder with the packages of `browser/package.json`.
pub fn node_modules() -> Option<PathBuf> {
    let folder = cache("WICKR_TEST_NODE", ".cache/wickr-exporter-browser");
    let found = folder.join("node_modules/playwright-core").is_dir();
    if !found {
        skip(&format!("{} has no playwright-core", folder.display()));
    }
    found.then_some(folder)
}

/// Reports that the test is skipped; panics with `CI=true`.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{why}: run .ci/tools");
    // The test harness hides the `eprintln!` output of a passing test.
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("\n*** SKIPPED {test}: {why}. Install it with .ci/tools.\n").as_bytes(),
    );
}

/// Runs a program that must succeed; returns its stdout and stderr.
pub fn run(program: &Path, arguments: &[impl AsRef<OsStr>]) -> String {
    let mut command = Command::new(program);
    // Programs in Go, such as promtool, otherwise spend a fifth of their CPU time on garbage collection.
    command.args(arguments).env("GOGC", "400");
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// The Python environment that `.ci/tools` installs.
fn environment() -> PathBuf {
    cache("WICKR_TEST_VENV", ".cache/wickr-exporter-tests").join("bin")
}

/// The folder in an environment variable, or a default in the home directory.
fn cache(variable: &str, default: &str) -> PathBuf {
    let home = || Path::new(&env::var_os("HOME").unwrap_or_default()).to_owned();
    env::var_os(variable)
        .filter(|path| !path.is_empty())
        .map_or_else(|| home().join(default), PathBuf::from)
}

fn directories() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = env::split_paths(&path).collect();
    std::iter::once(environment()).chain(path)
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
