//! The program that is measured: given, or built as its users build it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Where the exporter's own manifest is.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");

/// The given program, or the release, after a build.
pub(crate) fn find(given: Option<&Path>) -> Result<PathBuf> {
    let found = match given {
        Some(path) => path.to_owned(),
        None => build()?,
    };
    fs::canonicalize(&found).with_context(|| format!("no program at {}", found.display()))
}

fn build() -> Result<PathBuf> {
    eprintln!("building the release");
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--bin=wickr-exporter"])
        .args(["--message-format=json-render-diagnostics", "--manifest-path", MANIFEST])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(built.status.success(), "the build failed");
    let messages = String::from_utf8_lossy(&built.stdout);
    let mut executables = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    });
    executables.next_back().context("cargo does not say where the program is")
}

/// What it says of itself.
pub(crate) fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{} --version fails", program.display());
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
