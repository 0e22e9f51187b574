//! `deploy/aws`: policies and the ECS task, compared with the program and botocore's service models.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use wickr_exporter::{collectors::CollectorRef, wickr::Operation};

use crate::{
    deploy::{read, shipped},
    harness::program,
    tools,
};

const ACCOUNT: &str = "111122223333";
const ROLE: &str = "arn:aws:iam::111122223333:role/wickr-exporter";

fn json(name: &str) -> Value {
    let text = read(&shipped(&format!("aws/{name}")));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files of a folder, relative to `deploy/aws`.
fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(shipped(&format!("aws/{folder}"))).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.map(|name| format!("{folder}/{name}")).collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// The statements of a policy document, which may have only members of IAM's grammar.
fn statements(name: &str) -> Vec<Value> {
    let document = json(name);
    assert_eq!(document["Version"], "2012-10-17", "{name}");
    let members: Vec<_> = document.as_object().unwrap().keys().collect();
    assert_eq!(members, ["Statement", "Version"], "{name}");
    let statements = document["Statement"].as_array().unwrap().clone();
    assert!(!statements.is_empty(), "{name}");
    for statement in &statements {
        assert_eq!(statement["Effect"], "Allow", "{name}");
        for member in statement.as_object().unwrap().keys() {
            let known = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
            assert!(known.contains(&member.as_str()), "{name}: {member}");
        }
        let sid = statement["Sid"].as_str().unwrap_or_default();
        assert!(sid.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{name}: {sid}");
        for action in strings(&statement["Action"]) {
            assert!(!action.contains('*'), "{name}: {action}");
        }
    }
    statements
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

fn actions(name: &str) -> BTreeSet<String> {
    let statements = statements(name);
    let actions = statements.iter().flat_map(|statement| strings(&statement["Action"]));
    actions.map(str::to_owned).collect()
}

fn action_of(operation: Operation) -> String {
    format!("wickr:{}", operation.as_str())
}

#[test]
fn policies_allow_exactly_the_operations_of_the_client() {
    let all: BTreeSet<String> = Operation::ALL.into_iter().map(action_of).collect();
    let assume = "policies/assume-role.json";
    for name in files("policies").iter().filter(|name| *name != assume) {
        let unused: Vec<_> = actions(name).difference(&all).cloned().collect();
        assert!(unused.is_empty(), "{name}: {unused:?}");
        for statement in statements(name) {
            // Resource types as in AWS's service authorization reference.
            let lists_networks = strings(&statement["Action"]) == ["wickr:ListNetworks"];
            for resource in strings(&statement["Resource"]) {
                let network = format!("arn:aws:wickr:us-east-1:{ACCOUNT}:network/");
                assert!(
                    if lists_networks { resource == "*" } else { resource.starts_with(&network) },
                    "{name}: {resource}"
                );
            }
        }
    }
    let of_collectors: BTreeSet<String> = CollectorRef::all()
        .flat_map(|collector| collector.get().operations())
        .map(|operation| action_of(*operation))
        .collect();
    let of_polls = ["ListDevicesForUser", "ListUsers", "ListSecurityGroups", "ListNetworks"];
    let of_polls: BTreeSet<String> = of_polls.map(|name| format!("wickr:{name}")).into();
    assert_eq!(of_polls.union(&of_collectors).cloned().collect::<BTreeSet<_>>(), all);
    assert_eq!(actions("policies/all-networks.json"), of_polls);
    assert_eq!(actions("vpc-endpoint-policy.json"), all);
    assert_eq!(actions(assume), ["sts:AssumeRole".to_owned()].into());
    // ListNetworks does not support resource tags.
    let mut of_networks = all;
    of_networks.remove(&action_of(Operation::ListNetworks));
    assert_eq!(actions("policies/by-tag.json"), of_networks);
}

/// Runs `check --iam-policy`.
fn check(configuration: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, configuration).unwrap();
    let flag = format!("--config.file={}", file.display());
    program().args(["check", "--iam-policy", &flag]).output().unwrap()
}

/// The documents on stdout, and the headings on stderr.
fn printed(output: &Output) -> (Vec<String>, Vec<String>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, headings) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{headings}");
    let documents = out.split_inclusive("\n}\n").map(str::to_owned).collect();
    (documents, headings.lines().map(str::to_owned).collect())
}

#[test]
fn check_prints_the_shipped_policies() {
    let aws = |role: &str| format!("[aws]\nregion = \"us-east-1\"\n{role}\n");
    let role = format!("role_arn = {ROLE:?}");
    let listed = "[[network]]\nid = \"12345678\"\nusers = [\"1001\"]\n";
    let discovered = "[[network]]\nid = \"12345678\"\nusers = \"all\"\n";
    let every = "[[network]]\nid = \"all\"\nusers = \"all\"\n";
    let sso = "[sso]\nmax_idle = \"security-groups\"\n";
    let every_collector: Vec<_> = CollectorRef::all().collect();
    let collectors = format!("[collectors]\nenable = {every_collector:?}\n");
    for (name, rest) in [
        ("collectors", format!("{collectors}{listed}")),
        ("listed-users", listed.to_owned()),
        ("discovery", discovered.to_owned()),
        ("sso-limits", format!("{sso}{listed}")),
        ("sso-limits", format!("{sso}{discovered}")),
        ("all-networks", format!("{sso}{every}")),
    ] {
        let policy = read(&shipped(&format!("aws/policies/{name}.json")));
        let (documents, headings) = printed(&check(&format!("{}{rest}", aws(&role))));
        assert_eq!(documents, [read(&shipped("aws/policies/assume-role.json")), policy.clone()]);
        assert_eq!(headings.len(), 2, "{headings:?}");
        assert!(headings[0].contains("default credential chain"), "{headings:?}");
        assert!(headings[1].contains(ROLE), "{headings:?}");
        // The account is unknown without a role.
        let (documents, headings) = printed(&check(&format!("{}{rest}", aws(""))));
        assert_eq!(documents, [policy.replace(&format!(":{ACCOUNT}:"), ":*:")]);
        assert!(headings.is_empty(), "{headings:?}");
    }
}

#[test]
fn endpoint_policy_allows_only_the_role() {
    for statement in statements("vpc-endpoint-policy.json") {
        assert_eq!(statement["Principal"], "*");
        assert_eq!(statement["Condition"]["ArnEquals"]["aws:PrincipalArn"], ROLE);
    }
}

#[test]
fn trust_policies_trust_one_principal_with_the_expected_conditions() {
    // File, kind and prefix of the principal, actions, suffixes of the condition keys.
    let assume: &[&str] = &["sts:AssumeRole"];
    let cases = [
        ("ec2", ("Service", "ec2.amazonaws.com"), assume, &[][..]),
        (
            "eks-irsa",
            ("Federated", "arn:aws:iam::111122223333:oidc-provider/oidc.eks."),
            &["sts:AssumeRoleWithWebIdentity"],
            &[":aud", ":sub"],
        ),
        (
            "eks-pod-identity",
            ("Service", "pods.eks.amazonaws.com"),
            &["sts:AssumeRole", "sts:TagSession"],
            &["eks-cluster-arn", "kubernetes-namespace", "kubernetes-service-account"],
        ),
        (
            "ecs",
            ("Service", "ecs-tasks.amazonaws.com"),
            assume,
            &["aws:SourceAccount", "aws:SourceArn"],
        ),
        ("cross-account", ("AWS", "arn:aws:iam::444455556666:role/"), assume, &["sts:ExternalId"]),
    ];
    let names: BTreeSet<String> =
        cases.iter().map(|case| format!("trust/{}.json", case.0)).collect();
    assert_eq!(names, files("trust").into_iter().collect());
    for (name, (kind, principal), actions, conditions) in cases {
        let statements = statements(&format!("trust/{name}.json"));
        let [statement] = &statements[..] else { panic!("{name}: several statements") };
        assert!(statement.get("Resource").is_none(), "{name}");
        let principals = statement["Principal"].as_object().unwrap();
        assert_eq!(principals.len(), 1, "{name}");
        assert!(principals[kind].as_str().unwrap().starts_with(principal), "{name}");
        assert_eq!(strings(&statement["Action"]), actions, "{name}");
        let mut keys: Vec<&str> = Vec::new();
        for (operator, tests) in statement["Condition"].as_object().into_iter().flatten() {
            assert!(["StringEquals", "ArnLike"].contains(&operator.as_str()), "{name}");
            keys.extend(tests.as_object().unwrap().keys().map(String::as_str));
        }
        assert_eq!(keys.len(), conditions.len(), "{name}: {keys:?}");
        for condition in conditions {
            assert!(keys.iter().any(|key| key.ends_with(condition)), "{name}: {condition}");
        }
    }
    let provider = &json("trust/eks-irsa.json")["Statement"][0];
    let issuer = provider["Principal"]["Federated"].as_str().unwrap();
    let issuer = issuer.split_once("oidc-provider/").unwrap().1;
    for key in provider["Condition"]["StringEquals"].as_object().unwrap().keys() {
        assert!(key.starts_with(issuer), "{key} is a key of another cluster");
    }
}

/// Validates the task definition and the names of actions.
const BOTOCORE: &str = r#"
import json, sys, botocore.session
from botocore.validate import ParamValidator
task, *actions = sys.argv[1:]
session = botocore.session.get_session()

def invalid(shape, value, path):
    """Values that are not in their enumeration."""
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from invalid(shape.members[name], member, f"{path}.{name}")
    elif shape.type_name == "list":
        for member in value:
            yield from invalid(shape.member, member, path)
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{path}: {value}"

shape = session.get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
with open(task) as file:
    definition = json.load(file)
report = ParamValidator().validate(definition, shape)
if report.has_errors():
    sys.exit(report.generate_report())
found = list(invalid(shape, definition, "task"))
if found:
    sys.exit("\n".join(found))

for action in actions:
    service, operation = action.split(":")
    model = session.get_service_model(service)
    if operation not in model.operation_names:
        sys.exit(f"{action} is not an operation")
    if service == "wickr" and model.operation_model(operation).http["method"] != "GET":
        sys.exit(f"{action} is not read-only")
print("valid")
"#;

#[test]
fn botocore_accepts_the_task_definition_and_knows_every_action() {
    let Some(python) = tools::python("botocore") else { return };
    let mut named: BTreeSet<String> = BTreeSet::new();
    let policies = files("policies").into_iter().chain(files("trust"));
    let others = ["vpc-endpoint-policy.json", "ecs/execution-role-policy.json"];
    for name in policies.chain(others.map(str::to_owned)) {
        named.extend(actions(&name));
    }
    // A permission without an operation.
    assert!(named.remove("sts:TagSession"));
    let task = shipped("aws/ecs/task-definition.json");
    let mut arguments = vec!["-c".to_owned(), BOTOCORE.to_owned(), task.display().to_string()];
    arguments.extend(named);
    assert_eq!(tools::run(&python, &arguments).trim(), "valid");
    // Shows that an invalid value is found.
    let bad = tempfile::NamedTempFile::new().unwrap();
    let text = read(&task).replace("\"FARGATE\"", "\"FARGATES\"");
    fs::write(bad.path(), text).unwrap();
    let output = Command::new(&python).args(["-c", BOTOCORE]).arg(bad.path()).output().unwrap();
    assert!(!output.status.success());
}

/// Checks the service, operation and options of each `aws` command in code blocks.
const COMMANDS: &str = r#"
import re, shlex, sys, botocore.session
from botocore import xform_name
session = botocore.session.get_session()
GLOBAL = {"query", "output", "region", "profile"}
# Commands that only the AWS CLI has.
CUSTOM = {("ecr", "get-login-password")}
count = 0
for name in sys.argv[1:]:
    with open(name) as file:
        blocks = re.findall(r"```sh\n(.*?)```", file.read(), re.S)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        for command in re.findall(r"(?:^|\$\()aws ([^|]*)", line.strip()):
            words = shlex.split(command.rstrip(")"))
            service, operation, *words = words
            count += 1
            if (service, operation) in CUSTOM or "--cli-input-json" in words:
                continue
            model = session.get_service_model(service)
            operations = {xform_name(name, "-"): name for name in model.operation_names}
            shape = model.operation_model(operations[operation]).input_shape
            known = {xform_name(member, "-"): member for member in shape.members}
            given = {word.removeprefix("--") for word in words if word.startswith("--")}
            for option in given - GLOBAL:
                assert option in known, (operation, option, sorted(known))
            for member in shape.required_members:
                assert xform_name(member, "-") in given, (operation, member)
print(count)
"#;

#[test]
fn commands_of_the_readme_are_operations_with_known_options() {
    let Some(python) = tools::python("botocore") else { return };
    let check = |file: &Path| {
        let mut command = Command::new(&python);
        command.args(["-c", COMMANDS]).arg(file).output().unwrap()
    };
    let readme = shipped("aws/README.md");
    let output = check(&readme);
    assert!(output.status.success(), "{output:?}");
    let count: u32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(count > 15, "{count}");
    let bad = tempfile::NamedTempFile::new().unwrap();
    fs::write(bad.path(), read(&readme).replace("--desired-count", "--desired-counts")).unwrap();
    assert!(!check(bad.path()).status.success());
}

#[test]
fn task_is_confined_and_runs_this_version_with_the_given_configuration() {
    let task = json("ecs/task-definition.json");
    let containers = task["containerDefinitions"].as_array().unwrap();
    for container in containers {
        assert_eq!(container["readonlyRootFilesystem"], true, "{container}");
        assert_eq!(container["linuxParameters"]["capabilities"]["drop"][0], "ALL");
        assert_eq!(container["logConfiguration"]["logDriver"], "awslogs");
    }
    let [config, exporter] = &containers[..] else { panic!("{} containers", containers.len()) };
    assert_eq!(exporter["user"], "65532:65532");
    assert_eq!(exporter["portMappings"][0]["containerPort"], 10471);
    let dockerfile = read(&shipped("docker/Dockerfile"));
    let entry = dockerfile.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).unwrap();
    let entry: Vec<String> = serde_json::from_str(entry).unwrap();
    assert_eq!(strings(&exporter["healthCheck"]["command"]), ["CMD", &entry[0], "health"]);
    let version = format!(":{}", env!("CARGO_PKG_VERSION"));
    assert!(exporter["image"].as_str().unwrap().ends_with(&version), "{exporter}");
    // The execution role may read the configuration's parameter only.
    let parameter = &config["secrets"][0]["valueFrom"];
    let allowed = &statements("ecs/execution-role-policy.json")[0]["Resource"];
    assert_eq!(strings(allowed), [parameter.as_str().unwrap()]);

    // The first container writes the configuration that the exporter reads.
    let folder = tempfile::tempdir().unwrap();
    let relocated =
        |word: &str| word.replace("/etc/wickr-exporter", folder.path().to_str().unwrap());
    let command: Vec<String> = strings(&config["command"]).into_iter().map(relocated).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = read(&root.join("config.example.toml"));
    let status =
        Command::new(&command[0]).args(&command[1..]).env("CONFIG", &example).status().unwrap();
    assert!(status.success());
    assert_eq!(read(&folder.path().join("config.toml")), example);
    let arguments = strings(&exporter["command"]).into_iter().map(relocated);
    let output = program().arg("check").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
