//! Reads a TOML tree key by key and collects all problems. A derived deserializer would stop at
//! the first.

use std::{collections::HashMap, hash::Hash};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    shape::ALL,
    values::{Parsed, kind_of, shown},
};
use crate::diagnostics::{KeyPath, Location, Problems, Shape};

/// The value of a key in the file.
///
/// `Invalid` has been reported: no further problem must be derived from it.
#[derive(Debug, Clone)]
pub(super) enum Field<T> {
    Absent,
    Invalid,
    Valid(T, Location),
}

impl<T> Field<T> {
    pub(super) fn valid(&self) -> Option<&T> {
        match self {
            Field::Valid(value, _) => Some(value),
            Field::Absent | Field::Invalid => None,
        }
    }

    pub(super) fn into_valid(self) -> Option<T> {
        match self {
            Field::Valid(value, _) => Some(value),
            Field::Absent | Field::Invalid => None,
        }
    }

    pub(super) fn valid_or(self, default: T) -> T {
        self.into_valid().unwrap_or(default)
    }

    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Field::Absent => Field::Absent,
            Field::Invalid => Field::Invalid,
            Field::Valid(value, location) => Field::Valid(map(value), location),
        }
    }

    pub(super) fn is_invalid(&self) -> bool {
        matches!(self, Field::Invalid)
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }

    /// `self`, or `other` if `self` is absent.
    pub(super) fn or<'a>(&'a self, other: &'a Field<T>) -> &'a Field<T> {
        if self.is_absent() { other } else { self }
    }
}

/// A table that is being read.
pub(super) struct Table<'a> {
    problems: &'a Problems,
    shape: &'static Shape,
    location: Location,
    /// None if the file has no such table: it reads like an empty one.
    entries: Option<&'a DeTable<'a>>,
}

impl<'a> Table<'a> {
    /// The root table of a file.
    pub(super) fn root(
        problems: &'a Problems,
        shape: &'static Shape,
        entries: &'a DeTable<'a>,
    ) -> Self {
        Table::open(problems, shape, Location { offset: 0, key: String::new() }, Some(entries))
    }

    /// Reports keys that are not in `shape`.
    fn open(
        problems: &'a Problems,
        shape: &'static Shape,
        location: Location,
        entries: Option<&'a DeTable<'a>>,
    ) -> Self {
        let table = Table { problems, shape, location, entries };
        for (key, _) in entries.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if !shape.has(name) {
                problems.add_with(&table.location_of(name, key.span().start), || {
                    shape.unknown(ALL, &table.location.key, name)
                });
            }
        }
        table
    }

    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    /// Whether the file has this table, even if empty.
    pub(super) fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    pub(super) fn read<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&DeValue<'_>) -> Parsed<T>,
    ) -> Field<T> {
        let Some(value) = self.value(key) else { return Field::Absent };
        let location = self.location_of(key, value.span().start);
        match parse(value.get_ref()) {
            Ok(parsed) => Field::Valid(parsed, location),
            Err(message) => {
                self.problems.add(&location, message);
                Field::Invalid
            }
        }
    }

    /// Reads a list that must not be empty or contain duplicates.
    pub(super) fn list<T: Clone + Eq + Hash>(
        &self,
        key: &str,
        example: &str,
        parse: impl Fn(&DeValue<'_>) -> Parsed<T>,
    ) -> Field<Vec<T>> {
        let Some(value) = self.value(key) else { return Field::Absent };
        let location = self.location_of(key, value.span().start);
        let elements = match value.get_ref() {
            DeValue::Array(elements) if !elements.is_empty() => elements,
            other => {
                let kind = kind_of(other);
                let message = format!("must be a list, such as {example}, not {kind}");
                self.problems.add(&location, message);
                return Field::Invalid;
            }
        };
        let mut valid = Vec::with_capacity(elements.len());
        let mut first_index = HashMap::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let parsed = parse(element.get_ref()).and_then(|value| {
                match *first_index.entry(value.clone()).or_insert(i) {
                    first if first < i => {
                        let original = element_key(&location.key, first);
                        Err(format!("{} is a duplicate of {original}", shown(element.get_ref())))
                    }
                    _ => Ok(value),
                }
            });
            match parsed {
                Ok(value) => valid.push(value),
                Err(message) => self.report(&element_key(key, i), element.span().start, message),
            }
        }
        if valid.len() < elements.len() { Field::Invalid } else { Field::Valid(valid, location) }
    }

    /// The table at `key`, empty if absent or not a table.
    pub(super) fn table(&self, key: &str, shape: &'static Shape) -> Table<'a> {
        let Some(value) = self.value(key) else {
            let location = self.location_of(key, self.location.offset);
            return Table::open(self.problems, shape, location, None);
        };
        let entries = self.entries_of(key, value);
        Table::open(self.problems, shape, self.location_of(key, value.span().start), entries)
    }

    /// The tables `[[key]]`. Reports if there are none.
    pub(super) fn tables(&self, key: &str, shape: &'static Shape, example: &str) -> Vec<Table<'a>> {
        let Some(value) = self.value(key) else {
            self.report_missing(key, &format!("is missing; add {example}"));
            return Vec::new();
        };
        let elements = match value.get_ref() {
            DeValue::Array(elements) if !elements.is_empty() => elements,
            other => {
                let message = format!("must be {example}, not {}", kind_of(other));
                self.report(key, value.span().start, message);
                return Vec::new();
            }
        };
        let mut tables = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let key = element_key(key, i);
            if let Some(entries) = self.entries_of(&key, element) {
                let location = self.location_of(&key, element.span().start);
                tables.push(Table::open(self.problems, shape, location, Some(entries)));
            }
        }
        tables
    }

    fn entries_of(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<&'a DeTable<'a>> {
        match value.get_ref() {
            DeValue::Table(entries) => Some(entries),
            other => {
                let message = format!("must be a table, not {}", kind_of(other));
                self.report(key, value.span().start, message);
                None
            }
        }
    }

    /// Reports that `key` is missing, at the location of this table.
    pub(super) fn report_missing(&self, key: &str, message: &str) {
        self.problems.add_derived(&self.location_of(key, self.location.offset), message);
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.shape.has(key), "{key}");
        self.entries?.get(key)
    }

    fn location_of(&self, key: &str, offset: usize) -> Location {
        let key = KeyPath(&self.location.key, &displayed_key(key)).to_string();
        Location { offset, key }
    }

    fn report(&self, key: &str, offset: usize, message: impl Into<String>) {
        self.problems.add(&self.location_of(key, offset), message);
    }
}

fn element_key(key: &str, index: usize) -> String {
    format!("{key}[{}]", index + 1)
}

/// A key as messages show it: quoted if unusual, and shortened.
fn displayed_key(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '[' | ']');
    if !key.is_empty() && key.len() <= 64 && key.chars().all(plain) {
        return key.to_owned();
    }
    shown(&DeValue::String(key.into()))
}
