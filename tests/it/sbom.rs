//! `deploy/sbom`, compared with Cargo and validated against the CycloneDX schema.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::tools;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).arg("--locked").current_dir(root()).output();
    stdout(output.unwrap())
}

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn host() -> String {
    let version = stdout(Command::new("rustc").arg("-vV").output().unwrap());
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

fn sbom() -> String {
    let mut command = Command::new(root().join("deploy/sbom"));
    command.args([&host(), env!("CARGO_BIN_EXE_wickr-exporter")]);
    stdout(command.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap())
}

/// `.ci/package` compares the SBOM with the compiler's arguments and the packaged program.
#[test]
fn sbom_is_reproducible_and_lists_the_packages_that_cargo_builds() {
    let Some(python) = tools::python("cyclonedx.validation.json, cyclonedx.schema") else { return };
    let text = sbom();
    assert_eq!(text, sbom(), "not reproducible");
    assert!(!text.contains(root().to_str().unwrap()), "contains a local path");
    let sbom: Value = serde_json::from_str(&text).unwrap();
    let metadata = &sbom["metadata"];
    assert_eq!(metadata["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(metadata["component"]["name"], "wickr-exporter");
    assert_eq!(metadata["component"]["version"], env!("CARGO_PKG_VERSION"));

    let host = host();
    let packages = |edges: &str| -> BTreeSet<String> {
        let tree = ["tree", "--target", &host, "-e", edges, "--prefix", "none"];
        let tree = cargo(&[&tree[..], &["--format", "{p}"]].concat());
        let names = tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
        names.filter(|name| !name.starts_with("wickr-exporter ")).collect()
    };
    let components = sbom["components"].as_array().unwrap();
    let named = |scope: &str| -> BTreeSet<String> {
        let of_scope = components.iter().filter(|component| component["scope"] == scope);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        of_scope.map(|c| format!("{} v{}", text(&c["name"]), text(&c["version"]))).collect()
    };
    let (linked, built) = (named("required"), named("excluded"));
    assert_eq!(&linked | &built, packages("normal,build"));
    assert!(linked.iter().any(|name| name.starts_with("tokio v")), "{linked:?}");
    assert!(built.iter().any(|name| name.starts_with("syn v2")), "{built:?}");
    let for_tests = &packages("all") - &packages("normal,build");
    assert!(for_tests.iter().any(|name| name.starts_with("rcgen v")), "{for_tests:?}");
    assert!((&for_tests & &(&linked | &built)).is_empty());
    for component in components {
        assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64, "{component}");
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sbom.json");
    std::fs::write(&file, &text).unwrap();
    let script = "import sys\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        from cyclonedx.schema import SchemaVersion\n\
        error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())\n\
        sys.exit(str(error) if error else 0)\n";
    tools::run(&python, &["-c".as_ref(), script.as_ref(), file.as_os_str()]);
}
