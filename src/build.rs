//! Sets the revision and compiler version for `wickr_exporter_build_info`, and renders the
//! documentation. A build without git sets `WICKR_EXPORTER_REVISION`.

#[path = "web/pages/docs/render.rs"]
mod render;

use std::{env, error::Error, fmt::Write as _, fs, path::Path, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    documentation()?;
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
    Ok(())
}

/// Writes the list of rendered documents for `include!`.
fn documentation() -> Result<(), Box<dyn Error>> {
    let mut files = vec!["README.md".to_owned(), "SECURITY.md".into(), "deploy/README.md".into()];
    for entry in fs::read_dir("docs")? {
        let name = entry?.file_name().into_string().map_err(|_| "a file name is not UTF-8")?;
        files.push(format!("docs/{name}"));
    }
    files.sort();
    let mut list = "pub(super) const DOCUMENTS: &[Document] = &[\n".to_owned();
    for file in files.iter().filter(|file| file.ends_with(".md")) {
        println!("cargo:rerun-if-changed={file}");
        let markdown = fs::read_to_string(file)?;
        let Some(render::RenderedDocument { slug, title, html }) = render::render(file, &markdown)
        else {
            continue;
        };
        let path = format!("/docs/{slug}");
        let path = path.trim_end_matches('/');
        writeln!(list, "Document {{ path: {path:?}, title: {title:?}, html: {html:?} }},")?;
    }
    list.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("docs.rs"), list)?;
    println!("cargo:rerun-if-changed=docs");
    println!("cargo:rerun-if-changed=src/web/pages/docs/render.rs");
    Ok(())
}

/// Trimmed standard output of a program, or `None` if it fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
