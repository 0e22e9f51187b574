//! A parsed file: values with the offsets where they start.

use std::{collections::BTreeMap, rc::Rc};

const MAX_SHOWN_CHARS: usize = 60;

/// A value and where it starts, in bytes from the start of the text. YAML's aliases share nodes.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) offset: usize,
    pub(crate) value: Value,
}

/// The keys of a table, each with its own offset and its value.
pub(crate) type Entries = BTreeMap<String, (usize, Rc<Node>)>;

#[derive(Debug)]
pub(crate) enum Value {
    String(String),
    /// A YAML scalar without quotes. The key decides whether it is a string, boolean or null.
    Plain(String),
    /// The text, and its value unless out of range.
    Integer(String, Option<i64>),
    Float(String),
    Boolean(bool),
    Date,
    List(Vec<Rc<Node>>),
    Table(Entries),
}

impl Value {
    /// Whether it is YAML's null.
    pub(crate) fn is_null(&self) -> bool {
        let nulls = ["", "~", "null", "Null", "NULL"];
        matches!(self, Value::Plain(text) if nulls.contains(&text.as_str()))
    }

    /// The string. The error shows only the kind of another value, which could be secret.
    pub(crate) fn string(&self) -> Result<&str, String> {
        match self {
            Value::String(text) => Ok(text),
            Value::Plain(text) if !self.is_null() => Ok(text),
            other => Err(format!("must be a string, not {}", other.kind())),
        }
    }

    /// The boolean, in YAML in any spelling of version 1.1.
    pub(crate) fn boolean(&self) -> Option<bool> {
        const TRUE: [&str; 11] =
            ["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"];
        const FALSE: [&str; 11] =
            ["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"];
        match self {
            Value::Boolean(value) => Some(*value),
            Value::Plain(text) if TRUE.contains(&text.as_str()) => Some(true),
            Value::Plain(text) if FALSE.contains(&text.as_str()) => Some(false),
            _ => None,
        }
    }

    /// The value as messages show it: on one line and shortened.
    pub(crate) fn shown(&self) -> String {
        match self {
            Value::String(text) | Value::Plain(text) => quoted(text),
            Value::Integer(text, _) | Value::Float(text) => shortened(text),
            Value::Boolean(value) => value.to_string(),
            other => other.kind().to_owned(),
        }
    }

    /// The kind of the value, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Plain(_) if self.is_null() => "null",
            Value::String(_) | Value::Plain(_) => "a string",
            Value::Integer(..) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Date => "a date or time",
            Value::List(list) if list.is_empty() => "an empty list",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// `text` in quotes, shortened and escaped.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String =
        chars.by_ref().take(MAX_SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_shortens_quoted_values() {
        assert_eq!(quoted("a\n\u{1b}[31m\"b\""), r#""a\n\u{1b}[31m\"b\"""#);
        assert_eq!(quoted(&"x".repeat(61)), format!("\"{}…\"", "x".repeat(60)));
    }
}
