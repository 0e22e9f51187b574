//! Reads a tree key by key and collects all problems. A derived deserializer would stop at the
//! first.

use std::{collections::HashMap, hash::Hash, rc::Rc};

use super::{
    problem::{Location, Problems},
    shape::{KeyPath, Schema, Shape},
    tree::{Entries, Node, Value, quoted},
};

/// A parsed value, or an error message.
pub(crate) type Parsed<T> = Result<T, String>;

/// The value of a key in the file.
///
/// `Invalid` has been reported: no further problem must be derived from it.
#[derive(Debug, Clone)]
pub(crate) enum Field<T> {
    Absent,
    Invalid,
    Valid(T, Location),
}

impl<T> Field<T> {
    pub(crate) fn valid(&self) -> Option<&T> {
        if let Field::Valid(value, _) = self { Some(value) } else { None }
    }

    /// Of a valid value.
    pub(crate) fn location(&self) -> Option<&Location> {
        if let Field::Valid(_, location) = self { Some(location) } else { None }
    }

    pub(crate) fn into_valid(self) -> Option<T> {
        if let Field::Valid(value, _) = self { Some(value) } else { None }
    }

    pub(crate) fn valid_or(self, default: T) -> T {
        self.into_valid().unwrap_or(default)
    }

    pub(crate) fn map<U>(self, map: impl FnOnce(T) -> U) -> Field<U> {
        self.and_then(|value, location| Field::Valid(map(value), location))
    }

    pub(crate) fn and_then<U>(self, then: impl FnOnce(T, Location) -> Field<U>) -> Field<U> {
        match self {
            Field::Absent => Field::Absent,
            Field::Invalid => Field::Invalid,
            Field::Valid(value, location) => then(value, location),
        }
    }

    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self, Field::Invalid)
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }

    /// `self`, or `other` if `self` is absent.
    pub(crate) fn or<'a>(&'a self, other: &'a Field<T>) -> &'a Field<T> {
        if self.is_absent() { other } else { self }
    }
}

/// Refuses a reference to an environment variable: taken literally, it would be a wrong value.
fn without_references(value: &Value) -> Parsed<&Value> {
    let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let is_reference = |rest: &str| {
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        // A digit follows `${` in regular expressions.
        !rest.starts_with(|c: char| c.is_ascii_digit())
            && end > 0
            && rest[end..].starts_with(['}', ':'])
    };
    let has_reference = |text: &String| text.split("${").skip(1).any(is_reference);
    match value {
        Value::String(text) | Value::Plain(text) if has_reference(text) => Err(
            "references to environment variables are not replaced; write the value, or create the \
             file with envsubst"
                .into(),
        ),
        value => Ok(value),
    }
}

/// A table that is being read.
pub(crate) struct Table<'a> {
    pub(crate) problems: &'a Problems,
    schema: &'static Schema,
    shape: &'static Shape,
    pub(crate) location: Location,
    /// None if the file has no such table: it reads like an empty one.
    entries: Option<&'a Entries>,
}

impl<'a> Table<'a> {
    /// The root table of a file; none if the file is empty.
    pub(crate) fn root(
        problems: &'a Problems,
        schema: &'static Schema,
        root: Option<&'a Node>,
    ) -> Self {
        let location = Location { offset: root.map_or(0, |root| root.offset), key: String::new() };
        Table { problems, schema, shape: schema.tables[0], location, entries: None }.open(root)
    }

    /// Adds the entries of `node`. Reports keys that are not in the shape.
    fn open(mut self, node: Option<&'a Node>) -> Self {
        self.entries = match node.map(|node| &node.value) {
            Some(Value::Table(entries)) => Some(entries),
            Some(other) if !other.is_null() => {
                let message = format!("must be a table, not {}", other.kind());
                self.problems.add(&self.location, message);
                None
            }
            _ => None,
        };
        for (name, offset, _) in self.entries().filter(|(name, ..)| !self.shape.allows(name)) {
            let location = match self.schema.hides_unknown_keys {
                true => Location { offset, key: self.location.key.clone() },
                false => self.location_of(&displayed_key(name), offset),
            };
            self.problems
                .add_with(&location, || self.shape.unknown(self.schema, &self.location.key, name));
        }
        self
    }

    /// Whether the file has this table, even if empty.
    pub(crate) fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    /// All keys with their offsets and values, in YAML also null.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, usize, &'a Node)> + use<'a> {
        let entries = self.entries.into_iter().flatten();
        entries.map(|(key, (offset, node))| (key.as_str(), *offset, &**node))
    }

    pub(crate) fn read<T>(&self, key: &str, parse: impl FnOnce(&Value) -> Parsed<T>) -> Field<T> {
        let Some(node) = self.node(key) else { return Field::Absent };
        let location = self.location_of(key, node.offset);
        match without_references(&node.value).and_then(parse) {
            Ok(parsed) => Field::Valid(parsed, location),
            Err(message) => {
                self.problems.add(&location, message);
                Field::Invalid
            }
        }
    }

    /// Reads a list that can be empty.
    pub(crate) fn list<T>(&self, key: &str, parse: impl Fn(&Value) -> Parsed<T>) -> Field<Vec<T>> {
        let list = self.read(key, |value| match value {
            Value::List(elements) => Ok(elements.clone()),
            other => Err(format!("must be a list of strings, not {}", other.kind())),
        });
        self.elements(list, |_, value| parse(value))
    }

    /// Reads a list that must not be empty or contain duplicates.
    pub(crate) fn unique_list<T: Clone + Eq + Hash>(
        &self,
        key: &str,
        example: &str,
        parse: impl Fn(&Value) -> Parsed<T>,
    ) -> Field<Vec<T>> {
        let expected = format!("a list, such as {example}");
        let list = self.read(key, |value| non_empty_list(value, &expected));
        let list_key = self.location_of(key, 0).key;
        let mut first_index = HashMap::new();
        self.elements(list, |i, value| {
            let parsed = parse(value)?;
            match *first_index.entry(parsed.clone()).or_insert(i) {
                first if first < i => {
                    let original = element_key(&list_key, first);
                    Err(format!("{} is a duplicate of {original}", value.shown()))
                }
                _ => Ok(parsed),
            }
        })
    }

    fn elements<T>(
        &self,
        list: Field<Vec<Rc<Node>>>,
        mut parse: impl FnMut(usize, &Value) -> Parsed<T>,
    ) -> Field<Vec<T>> {
        list.and_then(|elements, location| {
            let mut valid = Vec::with_capacity(elements.len());
            for (i, element) in elements.iter().enumerate() {
                match without_references(&element.value).and_then(|value| parse(i, value)) {
                    Ok(value) => valid.push(value),
                    Err(message) => {
                        let key = element_key(&location.key, i);
                        self.problems.add(&Location { offset: element.offset, key }, message);
                    }
                }
            }
            if valid.len() < elements.len() {
                Field::Invalid
            } else {
                Field::Valid(valid, location)
            }
        })
    }

    /// The table at `key`, empty if absent or not a table.
    pub(crate) fn table(&self, key: &str, shape: &'static Shape) -> Table<'a> {
        self.child(key, shape, self.node(key))
    }

    /// The tables `[[key]]`. Reports if there are none.
    pub(crate) fn tables(&self, key: &str, shape: &'static Shape, example: &str) -> Vec<Table<'a>> {
        let Some(node) = self.node(key) else {
            self.report_missing(key, &format!("is missing; add {example}"));
            return Vec::new();
        };
        let _: Field<_> = self.read(key, |value| non_empty_list(value, example));
        let Value::List(elements) = &node.value else { return Vec::new() };
        let elements = elements.iter().enumerate();
        let tables =
            elements.map(|(i, element)| self.child(&element_key(key, i), shape, Some(element)));
        tables.filter(Table::is_present).collect()
    }

    fn child(&self, key: &str, shape: &'static Shape, node: Option<&'a Node>) -> Table<'a> {
        let offset = node.map_or(self.location.offset, |node| node.offset);
        let location = self.location_of(key, offset);
        let (problems, schema) = (self.problems, self.schema);
        Table { problems, schema, shape, location, entries: None }.open(node)
    }

    /// Reports if the table is present but `key` is absent.
    pub(crate) fn require<T>(&self, key: &str, field: &Field<T>, example: &str) {
        if self.is_present() && field.is_absent() {
            self.report_missing(key, &format!("is missing; set {example}"));
        }
    }

    /// Reports that `key` is missing, at the location of this table.
    pub(crate) fn report_missing(&self, key: &str, message: &str) {
        self.problems.add_derived(&self.location_of(key, self.location.offset), message);
    }

    /// The value of `key`; none if absent or null.
    fn node(&self, key: &str) -> Option<&'a Node> {
        debug_assert!(self.shape.allows(key), "{key}");
        let (_, node) = self.entries?.get(key)?;
        (!node.value.is_null()).then_some(node)
    }

    fn location_of(&self, key: &str, offset: usize) -> Location {
        Location { offset, key: KeyPath(&self.location.key, key).to_string() }
    }
}

fn non_empty_list(value: &Value, expected: &str) -> Parsed<Vec<Rc<Node>>> {
    match value {
        Value::List(elements) if !elements.is_empty() => Ok(elements.clone()),
        other => Err(format!("must be {expected}, not {}", other.kind())),
    }
}

fn element_key(key: &str, index: usize) -> String {
    format!("{key}[{}]", index + 1)
}

/// A key as messages show it: quoted if unusual, and shortened.
fn displayed_key(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '[' | ']');
    match !key.is_empty() && key.len() <= 64 && key.chars().all(plain) {
        true => key.to_owned(),
        false => quoted(key),
    }
}
