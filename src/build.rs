//! Tells the program which revision and compiler it is built with, for
//! `wickr_exporter_build_info`. Where there is no git, a packager says so by
//! `WICKR_EXPORTER_REVISION`.

use std::{env, process::Command};

fn main() {
    let given = env::var("WICKR_EXPORTER_REVISION").ok();
    let revision = given.or_else(|| said("git", &["rev-parse", "--short=12", "HEAD"]));
    println!(
        "cargo:rustc-env=WICKR_EXPORTER_REVISION={}",
        revision.as_deref().unwrap_or("unknown")
    );
    // "rustc 1.95.0 (59807616e 2026-04-14)": the second word.
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = said(&rustc, &["--version"]);
    let version = version.as_deref().and_then(|text| text.split(' ').nth(1)).unwrap_or("unknown");
    println!("cargo:rustc-env=WICKR_EXPORTER_RUSTVERSION={version}");
    println!("cargo:rerun-if-env-changed=WICKR_EXPORTER_REVISION");
    println!("cargo:rerun-if-changed=src/build.rs");
    // In a work tree of its own, .git is a file and git knows better where HEAD is.
    if let Some(head) = said("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={head}");
    }
}

/// What a program says on standard output, without the line's end; none if it fails.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
