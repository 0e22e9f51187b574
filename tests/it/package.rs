//! The Debian package's sources. `.ci/package` installs the package itself.

use std::{fs, path::Path, process::Command};

use crate::{
    deploy::{read, shipped},
    harness::program,
};

/// Runs `check` on a configuration: its exit status and output.
fn check(configuration: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, configuration).unwrap();
    let output =
        program().args(["check", "--config.file", file.to_str().unwrap()]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn installed_configuration_is_valid_only_with_its_example_network() {
    let shipped = read(&shipped("debian/config.toml"));
    let (status, output) = check(&shipped);
    assert_eq!(status, Some(2), "{output}");
    assert!(output.contains("network: is missing"), "{output}");
    // Comments have a space after `#`; disabled settings have none.
    let settings: Vec<&str> = shipped
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
            _ => line,
        })
        .collect();
    let (status, output) = check(&settings.join("\n"));
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains("2 users"), "{output}");
}

#[test]
fn packaged_files_exist_or_are_generated_by_release_sh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = read(&root.join("Cargo.toml")).parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let release = read(&shipped("release.sh"));
    let sources = deb["assets"].as_array().unwrap().iter().map(|asset| asset[0].as_str().unwrap());
    for source in sources.chain(["license-file", "changelog"].map(|key| deb[key].as_str().unwrap()))
    {
        let name = source.rsplit('/').next().unwrap();
        let is_generated = source.starts_with("target/release/")
            || source.starts_with("dist/assets/") && release.contains(name);
        let folder = root.join(source.trim_end_matches(name));
        let exists = match name.strip_prefix('*') {
            None => root.join(source).is_file(),
            Some(end) => folder
                .read_dir()
                .unwrap()
                .any(|entry| entry.unwrap().file_name().into_string().unwrap().ends_with(end)),
        };
        assert!(is_generated || exists, "{source}");
    }
}

#[test]
fn scripts_have_valid_syntax() {
    for script in ["debian/scripts/postinst", "debian/scripts/postrm"] {
        // cargo-deb replaces this line with debhelper's snippets.
        assert!(read(&shipped(script)).contains("\n#DEBHELPER#\n"), "{script}");
        assert!(Command::new("sh").arg("-n").arg(shipped(script)).status().unwrap().success());
    }
    assert!(Command::new("bash").arg("-n").arg(shipped("release.sh")).status().unwrap().success());
}
