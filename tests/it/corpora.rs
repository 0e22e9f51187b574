//! Replays the fuzzer's inputs in `tests/corpora`.

use std::{fs, panic, path::Path};

use crate::targets::TARGETS;

/// The number of files in a target's corpus, and those at which it panics.
fn replay(name: &str, target: fn(&[u8])) -> (usize, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora").join(name);
    let (mut count, mut failed) = (0, Vec::new());
    for file in fs::read_dir(&folder).unwrap() {
        let file = file.unwrap();
        let data = fs::read(file.path()).unwrap();
        count += 1;
        if panic::catch_unwind(|| target(&data)).is_err() {
            failed.push(format!("{name}/{}", file.file_name().display()));
        }
    }
    (count, failed)
}

#[test]
fn corpora_pass_their_targets() {
    let threads =
        TARGETS.map(|(name, target)| std::thread::spawn(move || (name, replay(name, target))));
    let mut failed = Vec::new();
    for thread in threads {
        let (name, (count, found)) = thread.join().unwrap();
        assert!(count > 5, "{name} has a corpus of {count}");
        failed.extend(found);
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn each_target_has_a_fuzz_program_and_a_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| -> Vec<String> {
        let files = fs::read_dir(root.join(folder)).unwrap();
        let mut names: Vec<_> = files
            .map(|file| Path::new(&file.unwrap().file_name()).with_extension(""))
            .map(|name| name.display().to_string())
            .collect();
        names.sort();
        names
    };
    let targets = TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names("tests/corpora"), targets);
    // `cargo package` excludes the fuzzer.
    if root.join("fuzz").is_dir() {
        assert_eq!(names("fuzz/fuzz_targets"), targets);
    }
}
