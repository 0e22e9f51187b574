//! `deploy/terraform`: python-hcl2 parses the module, its task is that of `deploy/aws`, and checkov
//! finds no known weakness. Terraform itself does not run.

use std::process::Command;

use serde_json::Value;

use crate::{
    deploy::{read, shipped},
    tools,
};

/// Parses the module, and prints its variables with their defaults and its containers as JSON.
const PARSE: &str = r#"
import json, re, sys, hcl2

def plain(value):
    """Without the quotes and marks of python-hcl2."""
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items() if not k.startswith("__")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return json.loads(value)
    return value

files = {}
for name in sys.argv[1:]:
    with open(name) as file:
        text = file.read()
    files[name.rsplit("/", 1)[1]] = (text, plain(hcl2.loads(text)))
main, module = files["main.tf"]
variables = {}
for block in files["variables.tf"][1]["variable"]:
    variables.update(block)
used = set(re.findall(r"\bvar\.(\w+)", main))
assert used == set(variables), used ^ set(variables)
for name, variable in variables.items():
    assert variable["description"] and variable["type"], name
resources = {(kind, name) for block in module["resource"] for kind, v in block.items() for name in v}
data = {(kind, name) for block in module["data"] for kind, v in block.items() for name in v}
# Each reference is to a resource or data source of the module.
for prefix, kind, name in re.findall(r"\b(data\.)?(aws_\w+)\.(\w+)[.\[]", main):
    assert (kind, name) in (data if prefix else resources), (prefix, kind, name)
containers = re.search(r"container_definitions = jsonencode\((\[.*?\n  \])\)", main, re.S)[1]
containers = plain(hcl2.loads(f"containers = {containers}\n"))["containers"]
service = next(v for block in module["resource"] for k, v in block.items() if k == "aws_ecs_service")
print(json.dumps({"variables": variables, "containers": containers, "service": service["this"]}))
"#;

fn parsed() -> Option<Value> {
    let python = tools::python("hcl2")?;
    let files = ["main.tf", "variables.tf", "outputs.tf", "versions.tf"];
    let files = files.map(|name| shipped("terraform").join(name).display().to_string());
    let arguments: Vec<String> =
        ["-c".to_owned(), PARSE.to_owned()].into_iter().chain(files).collect();
    Some(serde_json::from_str(&tools::run(&python, &arguments)).unwrap())
}

#[test]
fn module_runs_the_task_of_the_task_definition_one_at_a_time() {
    let Some(module) = parsed() else { return };
    let task: Value =
        serde_json::from_str(&read(&shipped("aws/ecs/task-definition.json"))).unwrap();
    let expected = task["containerDefinitions"].as_array().unwrap();
    let actual = module["containers"].as_array().unwrap();
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        for (key, value) in expected.as_object().unwrap() {
            // These refer to other resources of the module.
            let differs = ["logConfiguration", "secrets"].contains(&key.as_str())
                || (key == "image" && expected["name"] == "wickr-exporter");
            assert!(differs || actual[key] == *value, "{key}: {} {value}", actual[key]);
        }
    }
    let service = &module["service"];
    assert_eq!(service["desired_count"], 1);
    assert_eq!(service["deployment_maximum_percent"], 100);
    assert_eq!(service["deployment_minimum_healthy_percent"], 0);
}

#[test]
fn readme_lists_each_variable() {
    let Some(module) = parsed() else { return };
    let readme = read(&shipped("terraform/README.md"));
    let variables = module["variables"].as_object().unwrap();
    for (name, variable) in variables {
        let description = variable["description"].as_str().unwrap();
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{name}` | ")));
        let row = row.unwrap_or_else(|| panic!("{name} is not listed"));
        assert!(row.ends_with(&format!(" | {description} |")), "{row}");
        assert_eq!(row.contains("| required |"), variable.get("default").is_none(), "{row}");
    }
    assert_eq!(readme.lines().filter(|line| line.starts_with("| `")).count(), variables.len());
}

#[test]
fn checkov_finds_no_problem_in_the_module() {
    let Some(checkov) = tools::find("checkov") else { return };
    // Checkov ignores folders with a leading dot in their path.
    let output = Command::new(checkov)
        .env("CKV_SKIP_PACKAGE_UPDATE_CHECK", "true")
        .args(["--quiet", "--compact", "--skip-download", "--framework=terraform"])
        .args(["--output=json", "--directory"])
        .arg(shipped("terraform"))
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report:#}");
    assert!(report["summary"]["passed"].as_u64().is_some_and(|count| count > 40), "{report:#}");
}
