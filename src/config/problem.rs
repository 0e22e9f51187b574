//! What is wrong with a configuration, and where.

use std::{cell::RefCell, collections::BTreeSet, fmt, sync::Arc};

use super::syntax::Doubt;

/// As many problems are kept and shown. A file with more of them is most likely not the file that
/// was meant, and thousands of lines would bury the first, which tells most.
const SHOWN: usize = 100;

/// One thing that is wrong, and where.
///
/// It holds no value that could be a secret, so it may be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named to [`load`](super::load) or [`parse`](super::parse).
    pub file: Arc<str>,
    /// The line, counted from 1; 0 if the problem is the file itself, such as its absence.
    pub line: usize,
    /// The column in characters, counted from 1; 0 if `line` is.
    pub column: usize,
    /// The key's full path, such as `network[2].poll.interval`; empty for a syntax error. The
    /// elements of a list are counted from 1.
    pub key: String,
    /// What is wrong and what was expected: a sentence that goes after the key.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `config.toml:12:3: network[1].users: must not be empty`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Why a configuration was refused: at least one [`Problem`].
///
/// It displays as a line per problem, without a newline at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
    more: usize,
}

impl ConfigError {
    /// The problems in the order of the file, the first hundred of them.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many there are beyond those of [`problems`](Self::problems).
    pub fn more(&self) -> usize {
        self.more
    }

    /// About the file itself: it cannot be read, or it is no text.
    pub(super) fn of_file(name: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::at(name, 0, 0, message)
    }

    pub(super) fn at(
        name: &str,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> ConfigError {
        let (file, key, message) = (name.into(), String::new(), message.into());
        ConfigError { problems: vec![Problem { file, line, column, key, message }], more: 0 }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        match self.more {
            0 => Ok(()),
            1 => write!(f, "\nand 1 more problem"),
            more => write!(f, "\nand {more} more problems"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Where something was written: by whom to name it, and where to point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// In bytes from the beginning of the file. First, for problems are sorted by it.
    pub(super) offset: usize,
    /// The full path of the key.
    pub(super) key: String,
}

/// Collects problems while a file is read.
///
/// They arrive in any order and through shared references, for the tables that are being read
/// borrow from each other. Lines are counted only at the end and only for what is shown, so that a
/// huge file full of mistakes costs no more than reading it.
#[derive(Default)]
pub(super) struct Problems {
    kept: RefCell<BTreeSet<(Spot, String)>>,
    more: RefCell<usize>,
    doubt: Doubt,
}

impl Problems {
    /// Ignores what `doubt` says may only follow from a syntax error.
    pub(super) fn doubting(doubt: Doubt) -> Problems {
        Problems { doubt, ..Problems::default() }
    }

    /// Something is wrong with what is written at `spot`.
    pub(super) fn add(&self, spot: &Spot, message: impl Into<String>) {
        self.add_with(spot, || message.into());
    }

    /// Like [`add`](Self::add), for a message that is costly to find.
    pub(super) fn add_with(&self, spot: &Spot, message: impl FnOnce() -> String) {
        if self.doubt.covers(spot.offset) {
            return;
        }
        if self.is_beyond(spot) {
            *self.more.borrow_mut() += 1;
        } else {
            self.keep(spot, message());
        }
    }

    /// Whether there are enough problems before `spot`.
    fn is_beyond(&self, spot: &Spot) -> bool {
        let kept = self.kept.borrow();
        kept.len() == SHOWN && kept.last().is_some_and(|(last, _)| last < spot)
    }

    /// Something is missing at `spot`, or contradicts or lacks something elsewhere.
    pub(super) fn conclude(&self, spot: &Spot, message: impl Into<String>) {
        if self.doubt.is_none() {
            self.keep(spot, message);
        }
    }

    /// The text is no TOML at `offset`.
    pub(super) fn syntax(&self, offset: usize, message: impl Into<String>) {
        self.keep(&Spot { offset, key: String::new() }, message);
    }

    fn keep(&self, spot: &Spot, message: impl Into<String>) {
        let mut kept = self.kept.borrow_mut();
        let is_new = kept.insert((spot.clone(), message.into()));
        if is_new && kept.len() > SHOWN {
            kept.pop_last();
            *self.more.borrow_mut() += 1;
        }
    }

    /// Fails if there was anything to complain about in `text`, the file called `name`.
    pub(super) fn finish(self, text: &str, name: &str) -> Result<(), ConfigError> {
        let file: Arc<str> = name.into();
        let mut place = Places::of(text);
        let problems: Vec<Problem> = self
            .kept
            .into_inner()
            .into_iter()
            .map(|(spot, message)| {
                let (line, column) = place.of_offset(spot.offset);
                Problem { file: Arc::clone(&file), line, column, key: spot.key, message }
            })
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError { problems, more: self.more.into_inner() })
    }
}

/// Translates offsets, which must not decrease, into lines and columns: one walk for all.
pub(super) struct Places<'t> {
    text: &'t str,
    line: usize,
    line_start: usize,
    searched: usize,
}

impl<'t> Places<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Places { text, line: 1, line_start: 0, searched: 0 }
    }

    /// Line and column, both counted from 1, the column in characters.
    pub(super) fn of_offset(&mut self, offset: usize) -> (usize, usize) {
        let bytes = self.text.as_bytes();
        let end = offset.min(bytes.len()).max(self.searched);
        for (i, _) in bytes[self.searched..end].iter().enumerate().filter(|(_, b)| **b == b'\n') {
            self.line += 1;
            self.line_start = self.searched + i + 1;
        }
        self.searched = end;
        // Characters are counted by their first bytes: an offset within one does no harm.
        let is_start = |b: &&u8| (**b & 0xC0) != 0x80;
        (self.line, 1 + bytes[self.line_start..end].iter().filter(is_start).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let mut places = Places::of("ab\nüx\r\n\nend");
        let found: Vec<_> = [0, 1, 2, 3, 5, 8, 9, 11, 99].map(|o| places.of_offset(o)).into();
        let expected =
            [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (4, 1), (4, 3), (4, 4)].to_vec();
        assert_eq!(found, expected);
    }

    #[test]
    fn beyond_a_hundred_problems_the_rest_is_counted() {
        let problems = Problems::default();
        for offset in (0..250).rev() {
            problems.add(&Spot { offset, key: "k".into() }, "is wrong");
        }
        let error = problems.finish(&"x".repeat(300), "f").unwrap_err();
        assert_eq!((error.problems().len(), error.more()), (100, 150));
        let text = error.to_string();
        assert!(text.starts_with("f:1:1: k: is wrong\nf:1:2: k: is wrong\n"));
        assert!(text.ends_with("f:1:100: k: is wrong\nand 150 more problems"));
    }
}
