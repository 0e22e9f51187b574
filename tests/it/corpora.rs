//! What the fuzzer has found and what led it there: every file in `tests/corpora` goes through its
//! target again.

use std::{fs, panic, path::Path};

use crate::targets::TARGETS;

/// Runs a target's corpus, and gives the files that it panicked at.
fn replay(name: &str, target: fn(&[u8])) -> (usize, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora").join(name);
    let (mut read, mut bad) = (0, Vec::new());
    for file in fs::read_dir(&folder).unwrap() {
        let file = file.unwrap();
        let data = fs::read(file.path()).unwrap();
        read += 1;
        if panic::catch_unwind(|| target(&data)).is_err() {
            bad.push(format!("{name}/{}", file.file_name().display()));
        }
    }
    (read, bad)
}

#[test]
fn what_was_found_once_stays_found() {
    let replaying =
        TARGETS.map(|(name, target)| std::thread::spawn(move || (name, replay(name, target))));
    let mut bad = Vec::new();
    for replayed in replaying {
        let (name, (read, found)) = replayed.join().unwrap();
        assert!(read > 5, "{name} has a corpus of {read}");
        bad.extend(found);
    }
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn each_target_is_a_program_and_has_a_corpus() {
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
    // A package of this crate comes without the fuzzer.
    if root.join("fuzz").is_dir() {
        assert_eq!(names("fuzz/fuzz_targets"), targets);
    }
}
