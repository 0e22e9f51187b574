//! The shipped systemd units, and the system calls of the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use wickr_exporter::simulator::{ACCESS_KEY, Fleet, SECRET_KEY, device, network, user};

use crate::{
    deploy::{read, shipped},
    harness::{TIMEOUT, config, http, program, serving},
    tools,
};

const SERVICE: &str = "systemd/wickr-exporter.service";

/// The units and these drop-ins in a new folder.
fn installed(drop_ins: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let install = |name: &str| {
        // systemd-analyze requires that the program exists.
        let text = read(&shipped(&format!("systemd/{name}")));
        let program = format!("={} ", env!("CARGO_BIN_EXE_wickr-exporter"));
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text.replace("=/usr/bin/wickr-exporter ", &program)).unwrap();
    };
    install("wickr-exporter.service");
    install("wickr-exporter.socket");
    for name in drop_ins {
        install(&format!("wickr-exporter.service.d/{name}"));
    }
    folder
}

#[test]
fn systemd_accepts_the_units_with_each_combination_of_drop_ins() {
    let Some(analyze) = tools::find("systemd-analyze") else { return };
    let entries = fs::read_dir(shipped("systemd/wickr-exporter.service.d")).unwrap();
    let names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let verify = |drop_ins: &[&str]| {
        let folder = installed(drop_ins);
        let mut arguments: Vec<OsString> = vec!["verify".into(), "--man=no".into()];
        for unit in ["wickr-exporter.service", "wickr-exporter.socket"] {
            arguments.push(folder.path().join(unit).into_os_string());
        }
        // An unknown key is only a warning.
        let output = tools::run(&analyze, &arguments);
        assert!(!output.contains("wickr-exporter"), "{drop_ins:?}: {output}");
        folder
    };
    verify(&[]);
    for name in &names {
        verify(&[name]);
        // No drop-in replaces the command, so that they can be combined.
        let drop_in = read(&shipped(&format!("systemd/wickr-exporter.service.d/{name}")));
        assert!(!drop_in.contains("ExecStart"), "{name}");
        let Some((variable, _)) = drop_in.split_once("_ARGS=") else { continue };
        let variable = variable.rsplit('=').next().unwrap();
        let words = set("ExecStart").remove(0);
        assert!(words.contains(&format!("${variable}_ARGS")), "{name}: {words:?}");
    }
    verify(&names.iter().map(String::as_str).collect::<Vec<_>>());
    // Shows that systemd-analyze reads drop-ins.
    let folder = verify(&[]);
    let bad = folder.path().join("wickr-exporter.service.d");
    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("bad.conf"), "[Service]\nNoSuchKey=1\n").unwrap();
    let unit = folder.path().join("wickr-exporter.service");
    let output = tools::run(&analyze, &["verify".into(), "--man=no".into(), unit.into_os_string()]);
    assert!(output.contains("NoSuchKey"), "{output}");
}

#[test]
fn exposure_of_the_unit_is_at_most_1_5() {
    let Some(analyze) = tools::find("systemd-analyze") else { return };
    // The threshold is 10 times the exposure.
    let options = ["security", "--offline=true", "--no-pager", "--threshold=15"];
    let options = options.into_iter().map(OsString::from);
    let arguments: Vec<OsString> = options.chain([shipped(SERVICE).into_os_string()]).collect();
    tools::run(&analyze, &arguments);
}

/// The words of each line that sets a key of the unit.
fn set(key: &str) -> Vec<Vec<String>> {
    let unit = read(&shipped(SERVICE));
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// systemd's groups of system calls.
fn groups(analyze: &Path) -> BTreeMap<String, Vec<String>> {
    let text = tools::run(analyze, &["syscall-filter", "--no-pager"]);
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut group = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match line.strip_prefix("    ") {
            None => group = line.trim().to_owned(),
            Some(comment) if comment.starts_with('#') => {}
            Some(call) => groups.entry(group.clone()).or_default().push(call.trim().to_owned()),
        }
    }
    assert!(groups.contains_key("@system-service"), "{text}");
    groups
}

fn expand(name: &str, groups: &BTreeMap<String, Vec<String>>, calls: &mut BTreeSet<String>) {
    match groups.get(name) {
        Some(members) => members.iter().for_each(|member| expand(member, groups, calls)),
        None => _ = calls.insert(name.to_owned()),
    }
}

/// The system calls that the unit allows.
fn allowed(analyze: &Path) -> BTreeSet<String> {
    let groups = groups(analyze);
    let mut calls = BTreeSet::new();
    // Every allow list implies this group.
    expand("@default", &groups, &mut calls);
    for words in set("SystemCallFilter") {
        let mut listed = BTreeSet::new();
        words.iter().for_each(|word| expand(word.trim_start_matches('~'), &groups, &mut listed));
        match words[0].starts_with('~') {
            true => calls.retain(|call| !listed.contains(call)),
            false => calls.extend(listed),
        }
    }
    calls
}

/// An exporter under strace.
struct Traced {
    child: Child,
    folder: tempfile::TempDir,
}

impl Traced {
    fn start(strace: &Path, folder: tempfile::TempDir) -> Traced {
        let path = |name: &str| folder.path().join(name);
        let exporter = program();
        let mut command = Command::new(strace);
        // -D: the child process is the exporter, not strace.
        command.args(["-D", "-f", "-c", "-o"]).arg(path("calls")).arg(exporter.get_program());
        for (name, value) in exporter.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let child = command
            .arg(format!("--config.file={}", path("config.toml").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--config.enable-auto-reload"])
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env("AWS_CONFIG_FILE", path("aws"))
            // As without credentials in systemd's credential store.
            .env("AWS_SHARED_CREDENTIALS_FILE", path("missing"))
            .env("NOTIFY_SOCKET", path("notify"))
            .env("WATCHDOG_USEC", "300000")
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).unwrap())
            .spawn()
            .unwrap();
        Traced { child, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for a text in its log; returns the word after it.
    async fn logged(&self, text: &str) -> String {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let log = read(&self.path("log"));
            if let Some((_, rest)) = log.split_once(text) {
                return rest.split_whitespace().next().unwrap_or_default().to_owned();
            }
            assert!(Instant::now() < deadline, "{text} is not in {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Terminates it; returns the names of its system calls.
    async fn stop(mut self) -> BTreeSet<String> {
        self.signal("TERM");
        let child = &mut self.child;
        assert!(tokio::task::block_in_place(|| child.wait().unwrap()).success());
        // strace writes its file after the last process has ended.
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
            if calls.trim_end().ends_with("total") {
                let lines = calls.lines().skip(2).filter(|line| !line.starts_with("---"));
                let names = lines.filter_map(|line| line.split_whitespace().last());
                return names.filter(|name| *name != "total").map(str::to_owned).collect();
            }
            assert!(Instant::now() < deadline, "{calls}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn makes_only_system_calls_that_the_unit_allows() {
    let (Some(analyze), Some(strace)) = (tools::find("systemd-analyze"), tools::find("strace"))
    else {
        return;
    };
    let simulator =
        serving(Fleet::new().network(network("12345678").user(user("1").device(device("a")))))
            .await;
    let folder = tempfile::tempdir().unwrap();
    // DNS, a credential process, a state file, a notification socket.
    let endpoint = simulator.endpoint().replace("127.0.0.1", "localhost");
    let text = config(&endpoint, "interval = \"1s\"", "12345678", &["1"]);
    let state = folder.path().join("state");
    let text = format!("{text}[state]\npath = {state:?}\n");
    fs::write(folder.path().join("config.toml"), &text).unwrap();
    let keys =
        format!(r#"{{"Version":1,"AccessKeyId":"{ACCESS_KEY}","SecretAccessKey":"{SECRET_KEY}"}}"#);
    fs::write(folder.path().join("keys"), keys).unwrap();
    let process = format!("/bin/cat {}", folder.path().join("keys").display());
    fs::write(folder.path().join("aws"), format!("[default]\ncredential_process = {process}\n"))
        .unwrap();
    let _manager = std::os::unix::net::UnixDatagram::bind(folder.path().join("notify")).unwrap();

    let exporter = Traced::start(&strace, folder);
    let address = exporter.logged("message=listening address=").await;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let response = http().get(format!("http://{address}/metrics")).send().await.unwrap();
        if response.text().await.unwrap().contains("wickr_up{network_id=\"12345678\"} 1") {
            break;
        }
        assert!(Instant::now() < deadline, "{}", read(&exporter.path("log")));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    exporter.signal("HUP");
    exporter.logged("configuration reloaded").await;
    fs::write(exporter.path("config.toml"), format!("{text}\n# Another.\n")).unwrap();
    exporter.logged("configuration file changed").await;
    let calls = exporter.stop().await;
    for expected in ["execve", "connect", "openat", "epoll_wait", "fsync"] {
        assert!(calls.contains(expected), "incomplete trace: {calls:?}");
    }
    let allowed = allowed(&analyze);
    assert!(!allowed.contains("mlock") && !allowed.contains("setuid"), "{allowed:?}");
    let forbidden: Vec<_> = calls.difference(&allowed).collect();
    assert!(forbidden.is_empty(), "{forbidden:?} of {calls:?}");
}
