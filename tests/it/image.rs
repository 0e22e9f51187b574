//! The image, built by the real buildah from the Dockerfile as it is shipped, and run.
//!
//! No registry is asked: the two images that it is made from are replaced by stand-ins of the same
//! names. One holds a shell and, as `cargo`, a script that has the program ready; the other the
//! libraries that the program loads. So everything is proved but the compilation and those images.

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
/// Where the image has it.
const INSTALLED: &str = "/usr/bin/wickr-exporter";
const USER: u32 = 65532;

#[test]
fn the_image_is_built_and_runs_confined() {
    let (Some(buildah), Some(openssl)) = (tools::find("buildah"), tools::find("openssl")) else {
        return;
    };
    let who = Command::new("id").arg("-u").output().unwrap().stdout;
    if who != b"0\n" {
        return tools::skip("only root can build images here");
    }
    let folder = tempfile::tempdir().unwrap();
    let builder = Builder { buildah, openssl, folder: folder.path().to_owned() };
    let dockerfile = shipped("docker/Dockerfile");
    let text = read(&dockerfile);
    let from: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    let [compiler, base] = from[..] else { panic!("{from:?}") };
    builder.stand_in(
        compiler.split(' ').next().unwrap(),
        &["/bin/sh", "/bin/mkdir", "/bin/cp"],
        true,
    );
    builder.stand_in(base, &[], false);

    let root = env!("CARGO_MANIFEST_DIR");
    let said = builder.run(&[
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
    assert!(said.contains("cargo build --release --locked --bin wickr-exporter of abc"), "{said}");

    let image: Value =
        serde_json::from_str(&builder.run(&["inspect", "--type=image", "wickr-exporter"])).unwrap();
    let config = &image["Docker"]["config"];
    assert_eq!(config["User"], format!("{USER}:{USER}"));
    assert_eq!(config["Entrypoint"], json!([INSTALLED]));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", INSTALLED, "health"]));
    assert_eq!(config["ExposedPorts"], json!({"10471/tcp": {}}));
    assert_eq!(config["Labels"]["org.opencontainers.image.revision"], "abc");

    let container = builder.run(&["from", "--pull-never", "wickr-exporter"]).trim().to_owned();
    let inside = PathBuf::from(builder.run(&["mount", &container]).trim());
    let state = inside.join("var/lib/wickr-exporter").metadata().unwrap();
    assert_eq!((state.uid(), state.gid()), (USER, USER), "its volume is to be its own");
    let mut demo = Running::start(&inside, &["demo", "--web.listen-address=127.0.0.1:0"]);
    let url = demo.base.replace("/metrics", "/-/healthy");
    let asked = confined(&inside, &["health", &url]).output().unwrap();
    assert!(asked.status.success(), "{asked:?}");
    demo.child.kill().unwrap();
    demo.child.wait().unwrap();
    let asked = confined(&inside, &["health", &url]).output().unwrap();
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
}

struct Builder {
    buildah: PathBuf,
    openssl: PathBuf,
    folder: PathBuf,
}

impl Builder {
    /// Runs buildah with a store of its own.
    fn run(&self, arguments: &[&str]) -> String {
        let option = |name: &str| format!("--{name}={}", self.folder.join(name).display());
        let store = [option("root"), option("runroot"), "--storage-driver=vfs".into()];
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        tools::run(&self.buildah, &store.into_iter().chain(arguments).collect::<Vec<_>>())
    }

    /// An image of that name with these programs, the exporter, and the libraries that they load.
    fn stand_in(&self, name: &str, programs: &[&str], compiles: bool) {
        let root = tempfile::tempdir_in(&self.folder).unwrap();
        for program in programs.iter().chain([&PROGRAM]) {
            let loaded = Command::new("ldd").arg(program).output().unwrap().stdout;
            let loaded = String::from_utf8(loaded).unwrap();
            for library in loaded.split_whitespace().filter(|word| word.starts_with('/')) {
                place(library.as_ref(), &root.path().join(&library[1..]));
            }
        }
        for program in programs {
            place(program.as_ref(), &root.path().join(&program[1..]));
        }
        if compiles {
            place(PROGRAM.as_ref(), &root.path().join("ready"));
            let cargo = root.path().join("usr/bin/cargo");
            fs::create_dir_all(cargo.parent().unwrap()).unwrap();
            let script = "#!/bin/sh\necho cargo \"$@\" of $WICKR_EXPORTER_REVISION\n\
                          mkdir -p target/release && cp /ready target/release/wickr-exporter\n";
            fs::write(&cargo, script).unwrap();
            fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        }
        if programs.is_empty() {
            // In place of the public authorities' certificates, for it does not start without any.
            certificate(&self.openssl, root.path());
            let pem = root.path().join("cert.pem");
            place(&pem, &root.path().join("etc/ssl/certs/ca-certificates.crt"));
        }
        let recipe = self.folder.join("recipe");
        fs::write(&recipe, "FROM scratch\nCOPY . /\nENV PATH=/usr/bin:/bin\n").unwrap();
        let known =
            if name.contains('/') { name.into() } else { format!("docker.io/library/{name}") };
        let (file, tag) = (format!("--file={}", recipe.display()), format!("--tag={known}"));
        self.run(&["bud", &file, &tag, root.path().to_str().unwrap()]);
    }
}

fn place(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

/// The program in the image: as its user, with nothing writable.
fn confined(inside: &Path, arguments: &[&str]) -> Command {
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && root=$1 && shift \
                  && exec chroot --userspec=65532:65532 \"$root\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(inside).arg(INSTALLED).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// Killed when it is dropped.
struct Running {
    child: Child,
    base: String,
}

impl Running {
    /// Starts it and waits until it tells where its metrics are.
    fn start(inside: &Path, arguments: &[&str]) -> Running {
        let mut child = confined(inside, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.find_map(|line| {
            let line = line.ok()?;
            Some(line.trim().strip_prefix("metrics ")?.trim().to_owned())
        });
        // What it says from now on is nobody's business, but its output stays open.
        std::thread::spawn(move || lines.for_each(drop));
        let mut running = Running { child, base: String::new() };
        running.base =
            told.unwrap_or_else(|| panic!("it does not start: {:?}", running.child.wait()));
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
