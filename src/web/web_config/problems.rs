//! Collects the problems of a web configuration. Messages contain no values that could be secret.

use std::{path::Path, sync::Arc};

use super::{table::Located, yaml::Position};
use crate::diagnostics::Problem;

/// A file with more is most likely the wrong file.
const MAX_PROBLEMS: usize = 100;

#[derive(Debug)]
pub(in crate::web) struct Problems {
    file: Arc<str>,
    found: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: &Path) -> Problems {
        Problems { file: file.display().to_string().into(), found: Vec::new() }
    }

    pub(in crate::web) fn add<T>(&mut self, at: &Located<T>, message: impl Into<String>) {
        self.add_at(at.position, &at.key, message);
    }

    pub(super) fn add_at(&mut self, at: Position, key: &str, message: impl Into<String>) {
        if self.found.len() < MAX_PROBLEMS {
            let (file, key, message) = (self.file.clone(), key.to_owned(), message.into());
            self.found.push(Problem { file, line: at.line, column: at.column, key, message });
        }
    }

    /// Without a position.
    pub(super) fn add_for_file(&mut self, message: impl Into<String>) {
        self.add_at(Position { line: 0, column: 0 }, "", message);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// One a line, in the order of the file.
    pub(super) fn into_lines(mut self) -> String {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        let lines: Vec<_> = self.found.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }
}

/// Reports an unknown name with the nearest valid one. Does not repeat `name`: it may be a misplaced
/// secret.
pub(super) fn unknown(kind: &str, name: &str, valid: &[&str]) -> String {
    let hint = nearest(name, valid).map(|name| format!("; did you mean {name}?"));
    format!("unknown {kind}{}", hint.unwrap_or_default())
}

fn nearest<'n>(name: &str, valid: &[&'n str]) -> Option<&'n str> {
    // No valid name is longer, and the comparison takes time proportional to both lengths.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase();
    let similarity = |other: &str| strsim::jaro_winkler(&name, &other.to_lowercase());
    let rated = valid.iter().map(|other| (similarity(other), *other));
    let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 > 0.8).then_some(best.1)
}

/// `a, b or c`.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} or {last}", names.join(", ")),
    }
}
