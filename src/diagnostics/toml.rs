//! Parses TOML text, recovers from syntax errors and reports them.

use std::{ops::Range, rc::Rc};

use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

use super::{
    problem::{Problems, UnreliableRegions},
    tree::{Entries, Node, Value},
};

/// Prefixes of parser messages for errors that affect one line only; any other error may put what
/// follows into the wrong table. The parser has no error codes. If its messages change, fewer
/// problems are reported at once.
const SINGLE_LINE_ERRORS: [&str; 8] = [
    "duplicate key",
    "string values must be quoted",
    "invalid basic string",
    "invalid literal string",
    "invalid boolean",
    "invalid float",
    "invalid integer",
    "unexpected leading zero",
];

/// Errors that show that an unclosed list contains what follows it.
const UNCLOSED_LIST: [&str; 2] = ["unexpected `=` in array", "unclosed array,"];

/// The error that the parser repeats within an unclosed list.
const MISSING_COMMA: &str = "missing comma between array elements";

/// Parses `text` as far as possible.
pub(crate) fn parse(text: &str) -> (Node, Problems) {
    let (tree, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(offset);
    if let Some(last) = errors.iter().position(|error| starts_with(error, &UNCLOSED_LIST)) {
        errors.truncate(last + 1);
    }
    let problems = Problems::ignoring(unreliable_regions(text, &errors));
    let mut reported: Option<(&str, Range<usize>)> = None;
    for error in &errors {
        let (message, offset) = (message(error), offset(error));
        // Later errors on a line mostly follow from its first.
        let follows = reported.as_ref().is_some_and(|(previous, line)| {
            line.contains(&offset) || (*previous == message && starts_with(error, &[MISSING_COMMA]))
        });
        if !follows {
            problems.add_syntax_error(offset, format!("not valid TOML: {message}"));
            reported = Some((message, line_around(text, offset)));
        }
    }
    (Node { offset: 0, value: Value::Table(entries(tree.into_inner())) }, problems)
}

fn entries(table: DeTable<'_>) -> Entries {
    let entries = table.into_iter();
    entries
        .map(|(key, value)| (key.get_ref().to_string(), (key.span().start, Rc::new(node(value)))))
        .collect()
}

/// The parser limits the depth, and so the recursion.
fn node(value: Spanned<DeValue<'_>>) -> Node {
    let offset = value.span().start;
    let value = match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => {
            let value = i64::from_str_radix(number.as_str(), number.radix());
            Value::Integer(number.to_string(), value.ok())
        }
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(list) => {
            Value::List(list.into_iter().map(|element| Rc::new(node(element))).collect())
        }
        DeValue::Table(table) => Value::Table(entries(table)),
    };
    Node { offset, value }
}

fn starts_with(error: &Error, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| error.message().starts_with(prefix))
}

fn offset(error: &Error) -> usize {
    error.span().unwrap_or_default().start
}

/// The parser's message, or a clearer one.
fn message(error: &Error) -> &str {
    match error.message() {
        message if message.starts_with(MISSING_COMMA) => "missing `,` or `]` before this",
        message if message.starts_with("unexpected leading zero") => {
            "a number cannot start with a zero; if it is an id, put it in quotes"
        }
        message => message.strip_suffix(", expected literal string").unwrap_or(message),
    }
}

/// `errors` in the order of the text.
fn unreliable_regions(text: &str, errors: &[Error]) -> UnreliableRegions {
    let mut regions = UnreliableRegions::default();
    for error in errors {
        let offset = offset(error);
        if !starts_with(error, &SINGLE_LINE_ERRORS) {
            regions.from = Some(line_around(text, offset).start);
            break;
        }
        // One search per line: a line may have as many errors as bytes.
        if regions.lines.last().is_none_or(|line| !line.contains(&offset)) {
            regions.lines.push(line_around(text, offset));
        }
    }
    regions
}

/// The line that contains `offset`, with its newline or one byte past the end of the text.
fn line_around(text: &str, offset: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let offset = offset.min(bytes.len());
    let start = bytes[..offset].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let end = bytes[offset..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |i| offset + i);
    start..end + 1
}
