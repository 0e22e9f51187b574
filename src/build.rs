//! Sets the revision and compiler version for `wickr_exporter_build_info`. A build without git sets
//! `WICKR_EXPORTER_REVISION`.

use std::{env, process::Command};

fn main() {
    let revision = env::var("WICKR_EXPORTER_REVISION").ok();
    let revision = revision.or_else(|| output("git", &["rev-parse", "--short=12", "HEAD"]));
    println!(
        "cargo:rustc-env=WICKR_EXPORTER_REVISION={}",
        revision.as_deref().unwrap_or("unknown")
    );
    // The second word of "rustc 1.95.0 (59807616e 2026-04-14)".
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = output(&rustc, &["--version"]);
    let version = version.as_deref().and_then(|text| text.split(' ').nth(1)).unwrap_or("unknown");
    println!("cargo:rustc-env=WICKR_EXPORTER_RUSTVERSION={version}");
    println!("cargo:rerun-if-env-changed=WICKR_EXPORTER_REVISION");
    println!("cargo:rerun-if-changed=src/build.rs");
    // In a linked worktree, .git is a file, so git resolves the path.
    if let Some(head) = output("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={head}");
    }
}

/// Trimmed standard output of a program, or `None` if it fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
