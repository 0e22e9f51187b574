//! What is wrong with a web configuration, all of it, and where.

use std::{fmt::Display, path::Path, sync::Arc};

use super::yaml::Place;
use crate::config::Problem;

/// As many are kept. A file with more of them is most likely not the file that was meant.
const MOST: usize = 100;

/// Collects what is wrong. It never holds a value that could be a secret.
#[derive(Debug)]
pub(crate) struct Problems {
    file: Arc<str>,
    found: Vec<Problem>,
}

impl Problems {
    pub(crate) fn of(file: &Path) -> Problems {
        Problems { file: file.display().to_string().into(), found: Vec::new() }
    }

    /// Something is wrong with what stands at `place`, under `key`.
    pub(crate) fn add(&mut self, place: Place, key: &str, message: impl Into<String>) {
        self.keep(place.line, place.column, key, message.into());
    }

    /// Something is wrong with the whole file.
    pub(crate) fn add_for_all(&mut self, message: impl Into<String>) {
        self.keep(0, 0, "", message.into());
    }

    fn keep(&mut self, line: usize, column: usize, key: &str, message: String) {
        if self.found.len() < MOST {
            let (file, key) = (self.file.clone(), key.to_owned());
            self.found.push(Problem { file, line, column, key, message });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them in the order of the file, a line each.
    pub(crate) fn told(mut self) -> String {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        let lines: Vec<_> = self.found.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }
}

/// An unknown name, and the nearest that there is.
pub(crate) fn unknown(what: &str, typed: &str, names: &[&str]) -> String {
    let hint = nearest(typed, names).map(|name| format!("; did you mean {name}?"));
    format!("unknown {what}{}", hint.unwrap_or_default())
}

fn nearest<'n>(typed: &str, names: &[&'n str]) -> Option<&'n str> {
    // No name is longer than that, and likeness takes time by the product of both lengths.
    if typed.len() > 64 {
        return None;
    }
    let likeness = |name: &str| strsim::jaro_winkler(&typed.to_lowercase(), &name.to_lowercase());
    let rated = names.iter().map(|name| (likeness(name), *name));
    let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 > 0.8).then_some(best.1)
}

/// `a, b or c`.
pub(crate) fn one_of<T: Display>(names: &[T]) -> String {
    match names {
        [] => String::new(),
        [one] => one.to_string(),
        [many @ .., last] => {
            let many: Vec<_> = many.iter().map(ToString::to_string).collect();
            format!("{} or {last}", many.join(", "))
        }
    }
}
