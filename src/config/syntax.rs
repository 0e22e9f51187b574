//! Text to a tree of TOML, as far as it can be had, and what is wrong with the text.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::problem::Problems;

/// The parser's messages for errors that end where their line does, by how they begin. Whatever
/// else it finds may have put all that follows into the wrong table. The parser has no codes for
/// its errors; should its words change, less is reported at once, and nothing wrong.
const CONTAINED: [&str; 8] = [
    "duplicate key",
    "string values must be quoted",
    "invalid basic string",
    "invalid literal string",
    "invalid boolean",
    "invalid float",
    "invalid integer",
    "unexpected leading zero",
];

/// What gives away a list that was never closed and has swallowed what came after it.
const SWALLOWED: [&str; 2] = ["unexpected `=` in array", "unclosed array,"];

/// What the parser says again and again in such a list.
const LIST_GOES_ON: &str = "missing comma between array elements";

/// Parses `text`. The tree is what could be made out; its problems know what to doubt of it.
pub(super) fn parse(text: &str) -> (DeTable<'_>, Problems) {
    let (tree, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| span_of(error).start);
    if let Some(end) = errors.iter().position(|error| begins(error, &SWALLOWED)) {
        errors.truncate(end + 1);
    }
    let problems = Problems::doubting(Doubt::of(text, &errors));
    let mut told: Option<(&str, Range<usize>)> = None;
    for error in &errors {
        let (words, offset) = (words_of(error), span_of(error).start);
        // The first on a line tells; the others mostly follow from it.
        let follows = told.as_ref().is_some_and(|(before, line)| {
            line.contains(&offset)
                || (*before == words && error.message().starts_with(LIST_GOES_ON))
        });
        if !follows {
            problems.syntax(offset, format!("not valid TOML: {words}"));
            told = Some((words, line_around(text, offset)));
        }
    }
    (tree.into_inner(), problems)
}

fn begins(error: &Error, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| error.message().starts_with(beginning))
}

fn span_of(error: &Error) -> Range<usize> {
    error.span().unwrap_or_default()
}

/// The parser's words, bettered where they would mislead.
fn words_of(error: &Error) -> &str {
    match error.message() {
        message if message.starts_with(LIST_GOES_ON) => {
            "before this, a comma or the end of the list, `]`, is missing"
        }
        message if message.starts_with("unexpected leading zero") => {
            "a number must not begin with a zero; write it in quotes if it is an id"
        }
        message => message.strip_suffix(", expected literal string").unwrap_or(message),
    }
}

/// Where a tree made out of broken text is not to be trusted.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// The lines with errors, in order.
    lines: Vec<Range<usize>>,
    /// All from here on.
    from: Option<usize>,
}

impl Doubt {
    /// `errors` in the order of the text.
    fn of(text: &str, errors: &[Error]) -> Doubt {
        let mut doubt = Doubt::default();
        for error in errors {
            let offset = span_of(error).start;
            if !begins(error, &CONTAINED) {
                doubt.from = Some(line_around(text, offset).start);
                break;
            }
            // Lines are looked for once each: there may be as many errors as bytes on one.
            if doubt.lines.last().is_none_or(|line| !line.contains(&offset)) {
                doubt.lines.push(line_around(text, offset));
            }
        }
        doubt
    }

    /// Whether what the tree has at `offset` may not be what was meant.
    pub(super) fn covers(&self, offset: usize) -> bool {
        let next = self.lines.partition_point(|line| line.start <= offset);
        let on_line = next.checked_sub(1).is_some_and(|last| self.lines[last].contains(&offset));
        // What the parser makes up to go on, it puts at the very beginning.
        let made_up = offset == 0 && !self.is_none();
        on_line || made_up || self.from.is_some_and(|from| offset >= from)
    }

    /// Whether all the text was understood.
    pub(super) fn is_none(&self) -> bool {
        self.lines.is_empty() && self.from.is_none()
    }
}

/// The line that `offset` is on, with its newline or the end of the text as one more byte.
fn line_around(text: &str, offset: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let offset = offset.min(bytes.len());
    let start = bytes[..offset].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let end = bytes[offset..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |i| offset + i);
    start..end + 1
}
