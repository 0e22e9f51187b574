//! Problems in a configuration and where they are.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fmt,
    ops::Range,
    sync::Arc,
};

/// A file with more problems is probably not a configuration file.
const MAX_PROBLEMS: usize = 100;

/// One problem. It contains no value that could be secret, so it can be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The name of the file, as given by the caller.
    pub file: Arc<str>,
    /// The line, counted from 1; 0 for a problem with the file itself.
    pub line: usize,
    /// The column in characters, counted from 1; 0 if `line` is 0.
    pub column: usize,
    /// The key's full path, such as `network[2].poll.interval`; empty for a syntax error. List
    /// indexes start at 1.
    pub key: String,
    /// What is wrong and what is expected. It follows the key.
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

/// An invalid configuration: at least one [`Problem`], displayed one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
    omitted: usize,
}

impl ConfigError {
    /// The first hundred problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The number of problems that [`problems`](Self::problems) omits.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// A problem with the file itself, without a position.
    pub(crate) fn for_file(name: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::new(name, 0, 0, message)
    }

    fn new(name: &str, line: usize, column: usize, message: impl Into<String>) -> ConfigError {
        let (file, key, message) = (name.into(), String::new(), message.into());
        ConfigError { problems: vec![Problem { file, line, column, key, message }], omitted: 0 }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))?;
        match self.omitted {
            0 => Ok(()),
            1 => write!(f, "\nand 1 more problem"),
            omitted => write!(f, "\nand {omitted} more problems"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The location of a value or table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    /// In bytes from the start of the file. The first field, because problems are sorted by it.
    pub(crate) offset: usize,
    /// The full path of the key.
    pub(crate) key: String,
}

/// The parts of the text where a syntax error makes the tree unreliable.
#[derive(Debug, Default)]
pub(crate) struct UnreliableRegions {
    /// Lines with errors, in order.
    pub(crate) lines: Vec<Range<usize>>,
    /// Everything from this offset on.
    pub(crate) from: Option<usize>,
}

impl UnreliableRegions {
    fn contains(&self, offset: usize) -> bool {
        let next = self.lines.partition_point(|line| line.start <= offset);
        let on_line = next.checked_sub(1).is_some_and(|last| self.lines[last].contains(&offset));
        // The parser puts nodes that it inserts for recovery at offset 0.
        let inserted = offset == 0 && !self.is_empty();
        on_line || inserted || self.from.is_some_and(|from| offset >= from)
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.from.is_none()
    }
}

/// Collects problems in any order and through shared references.
///
/// Lines are counted at the end and only for the problems that are reported, so that a large file
/// full of problems stays cheap.
#[derive(Default)]
pub(crate) struct Problems {
    reported: RefCell<BTreeSet<(Location, String)>>,
    omitted: Cell<usize>,
    unreliable: UnreliableRegions,
}

impl Problems {
    /// Ignores problems in `unreliable`: a syntax error may have caused them.
    pub(crate) fn ignoring(unreliable: UnreliableRegions) -> Problems {
        Problems { unreliable, ..Problems::default() }
    }

    /// Adds a problem with the value at `location`.
    pub(crate) fn add(&self, location: &Location, message: impl Into<String>) {
        self.add_with(location, || message.into());
    }

    /// Like [`add`](Self::add), for a message that is expensive to build.
    pub(crate) fn add_with(&self, location: &Location, message: impl FnOnce() -> String) {
        if self.unreliable.contains(location.offset) {
            return;
        }
        if self.is_past_limit(location) {
            self.omit();
        } else {
            self.insert(location, message());
        }
    }

    fn is_past_limit(&self, location: &Location) -> bool {
        let reported = self.reported.borrow();
        reported.len() == MAX_PROBLEMS && reported.last().is_some_and(|(last, _)| last < location)
    }

    /// Adds a problem that depends on a missing key or on several keys, unless the text has a
    /// syntax error.
    pub(crate) fn add_derived(&self, location: &Location, message: impl Into<String>) {
        if self.unreliable.is_empty() {
            self.insert(location, message.into());
        }
    }

    /// Adds a syntax error.
    pub(crate) fn add_syntax_error(&self, offset: usize, message: String) {
        self.insert(&Location { offset, key: String::new() }, message);
    }

    fn insert(&self, location: &Location, message: String) {
        let mut reported = self.reported.borrow_mut();
        let is_new = reported.insert((location.clone(), message));
        if is_new && reported.len() > MAX_PROBLEMS {
            reported.pop_last();
            self.omit();
        }
    }

    fn omit(&self) {
        self.omitted.set(self.omitted.get() + 1);
    }

    /// Fails if there are problems in `text`, the file called `name`.
    pub(crate) fn into_result(self, text: &str, name: &str) -> Result<(), ConfigError> {
        let file: Arc<str> = name.into();
        let mut lines = LineCounter::new(text);
        let reported = self.reported.into_inner().into_iter();
        let problems: Vec<_> = reported
            .map(|(Location { offset, key }, message)| {
                let (line, column) = lines.position(offset);
                Problem { file: Arc::clone(&file), line, column, key, message }
            })
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError { problems, omitted: self.omitted.get() })
    }
}

/// The text of the file called `name`.
pub(crate) fn decode<'b>(
    bytes: &'b [u8],
    name: &str,
    format: &str,
) -> Result<&'b str, ConfigError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let (line, column) = LineCounter::new(&valid).position(valid.len());
        ConfigError::new(name, line, column, format!("not valid {format}: not encoded in UTF-8"))
    })
}

/// Converts ascending offsets to lines and columns in one pass over the text.
struct LineCounter<'t> {
    text: &'t str,
    line: usize,
    line_start: usize,
    searched: usize,
}

impl<'t> LineCounter<'t> {
    fn new(text: &'t str) -> Self {
        LineCounter { text, line: 1, line_start: 0, searched: 0 }
    }

    /// Line and column, counted from 1, the column in characters. `offset` must not decrease.
    fn position(&mut self, offset: usize) -> (usize, usize) {
        let bytes = self.text.as_bytes();
        let end = offset.min(bytes.len()).max(self.searched);
        for (i, _) in bytes[self.searched..end].iter().enumerate().filter(|(_, b)| **b == b'\n') {
            self.line += 1;
            self.line_start = self.searched + i + 1;
        }
        self.searched = end;
        // Counts the first bytes of characters, so that an offset within one is allowed.
        let is_first = |b: &&u8| (**b & 0xC0) != 0x80;
        (self.line, 1 + bytes[self.line_start..end].iter().filter(is_first).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_columns_from_one_in_characters() {
        let mut lines = LineCounter::new("ab\nüx\r\n\nend");
        let found = [0, 1, 2, 3, 5, 8, 9, 11, 99].map(|offset| lines.position(offset));
        let expected = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (4, 1), (4, 3), (4, 4)];
        assert_eq!(found, expected);
    }

    #[test]
    fn reports_the_first_hundred_problems_and_counts_the_rest() {
        let problems = Problems::default();
        for offset in (0..250).rev() {
            problems.add(&Location { offset, key: "k".into() }, "is wrong");
        }
        let error = problems.into_result(&"x".repeat(300), "f").unwrap_err();
        assert_eq!((error.problems().len(), error.omitted()), (100, 150));
        let text = error.to_string();
        assert!(text.starts_with("f:1:1: k: is wrong\nf:1:2: k: is wrong\n"));
        assert!(text.ends_with("f:1:100: k: is wrong\nand 150 more problems"));
    }
}
