//! Builds the image with buildah from the shipped Dockerfile, and runs it.
//!
//! Local stand-ins replace both base images, so no registry is needed: one has a shell and a script
//! `cargo` that copies the built program, the other the shared libraries of the program.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    health::certificate,
    helm::render::{read, shipped},
    tools,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wickr-exporter");
const INSTALLED: &str = "/usr/bin/wickr-exporter";
const USER: u32 = 65532;

#[test]
fn image_builds_and_runs_unprivileged_on_a_read_only_root() {
    let (Some(buildah), Some(openssl)) = (tools::find("buildah"), tools::find("openssl")) else {
        return;
    };
    let uid = Command::new("id").arg("-u").output().unwrap().stdout;
    if uid != b"0\n" {
        return tools::skip("building images requires root");
    }
    let folder = tempfile::tempdir().unwrap();
    let builder = Builder { buildah, openssl, folder: folder.path().to_owned() };
    let dockerfile = shipped("docker/Dockerfile");
    let text = read(&dockerfile);
    let from = text.lines().filter_map(|line| line.strip_prefix("FROM "));
    let from = from.map(|image| image.trim_start_matches("--platform=$BUILDPLATFORM "));
    let from: Vec<_> = from.collect();
    let [compiler, base] = from[..] else { panic!("{from:?}") };
    builder.stand_in(
        compiler.split(' ').next().unwrap(),
        &["/bin/sh", "/bin/mkdir", "/bin/cp"],
        true,
    );
    builder.stand_in(base, &[], false);

    let root = env!("CARGO_MANIFEST_DIR");
    let output = builder.run(&[
        "bud",
        "--format=docker",
        "--isolation=chroot",
        "--pull-never",
        "--build-arg=REVISION=abc",
        &format!("--ignorefile={}.dockerignore", dockerfile.display()),
        &format!("--file={}", dockerfile.display()),
        "--tag=wickr-exporter",
        root,
    ]);
    let build = "cargo build --profile dist --locked --bin wickr-exporter of abc";
    assert!(output.contains(build), "{output}");

    let image: Value =
        serde_json::from_str(&builder.run(&["inspect", "--type=image", "wickr-exporter"])).unwrap();
    let config = &image["Docker"]["config"];
    assert_eq!(config["User"], format!("{USER}:{USER}"));
    assert_eq!(config["Entrypoint"], json!([INSTALLED]));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", INSTALLED, "health"]));
    assert_eq!(config["ExposedPorts"], json!({"10471/tcp": {}}));
    assert_eq!(config["Labels"]["org.opencontainers.image.revision"], "abc");

    let container = builder.run(&["from", "--pull-never", "wickr-exporter"]).trim().to_owned();
    let root = PathBuf::from(builder.run(&["mount", &container]).trim());
    let state = root.join("var/lib/wickr-exporter").metadata().unwrap();
    assert_eq!((state.uid(), state.gid()), (USER, USER), "owner of the volume");
    let mut demo = Running::start(&root, &["demo", "--web.listen-address=127.0.0.1:0"]);
    let url = demo.url.replace("/metrics", "/-/healthy");
    let health = confined(&root, &["health", &url]).output().unwrap();
    assert!(health.status.success(), "{health:?}");
    demo.child.kill().unwrap();
    demo.child.wait().unwrap();
    let health = confined(&root, &["health", &url]).output().unwrap();
    assert_eq!(health.status.code(), Some(1), "{health:?}");
}

struct Builder {
    buildah: PathBuf,
    openssl: PathBuf,
    folder: PathBuf,
}

impl Builder {
    /// Runs buildah with a private store.
    fn run(&self, arguments: &[&str]) -> String {
        let option = |name: &str| format!("--{name}={}", self.folder.join(name).display());
        let store = [option("root"), option("runroot"), "--storage-driver=vfs".into()];
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        tools::run(&self.buildah, &store.into_iter().chain(arguments).collect::<Vec<_>>())
    }

    /// Builds an image with these programs, and with the libraries of these and the exporter.
    fn stand_in(&self, name: &str, programs: &[&str], is_compiler: bool) {
        let root = tempfile::tempdir_in(&self.folder).unwrap();
        for program in programs.iter().chain([&PROGRAM]) {
            let libraries = Command::new("ldd").arg(program).output().unwrap().stdout;
            let libraries = String::from_utf8(libraries).unwrap();
            for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
                copy(library.as_ref(), &root.path().join(&library[1..]));
            }
        }
        for program in programs {
            copy(program.as_ref(), &root.path().join(&program[1..]));
        }
        if is_compiler {
            copy(PROGRAM.as_ref(), &root.path().join("ready"));
            let cargo = root.path().join("usr/bin/cargo");
            fs::create_dir_all(cargo.parent().unwrap()).unwrap();
            let script = "#!/bin/sh\necho cargo \"$@\" of $WICKR_EXPORTER_REVISION\n\
                          mkdir -p target/dist && cp /ready target/dist/wickr-exporter\n";
            fs::write(&cargo, script).unwrap();
            fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        }
        if programs.is_empty() {
            // The program does not start without certificate authorities.
            certificate(&self.openssl, root.path());
            let pem = root.path().join("cert.pem");
            copy(&pem, &root.path().join("etc/ssl/certs/ca-certificates.crt"));
        }
        let dockerfile = self.folder.join("Dockerfile");
        fs::write(&dockerfile, "FROM scratch\nCOPY . /\nENV PATH=/usr/bin:/bin\n").unwrap();
        let name =
            if name.contains('/') { name.into() } else { format!("docker.io/library/{name}") };
        let (file, tag) = (format!("--file={}", dockerfile.display()), format!("--tag={name}"));
        self.run(&["bud", &file, &tag, root.path().to_str().unwrap()]);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

/// The program in the image, as its user, on a read-only root.
fn confined(root: &Path, arguments: &[&str]) -> Command {
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && root=$1 && shift \
                  && exec chroot --userspec=65532:65532 \"$root\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(root).arg(INSTALLED).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// A process that is killed when dropped.
struct Running {
    child: Child,
    url: String,
}

impl Running {
    /// Starts it and waits until it prints the URL of its metrics.
    fn start(root: &Path, arguments: &[&str]) -> Running {
        let mut child = confined(root, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| {
            let line = line.ok()?;
            Some(line.trim().strip_prefix("metrics ")?.trim().to_owned())
        });
        // Keeps the pipe open.
        std::thread::spawn(move || lines.for_each(drop));
        let url = url.unwrap_or_else(|| panic!("demo does not start: {:?}", child.wait()));
        Running { child, url }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
