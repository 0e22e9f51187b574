//! Reads a tree of TOML key by key and collects every problem on the way.
//!
//! A derived deserializer would stop at the first. What a value must look like is not known here:
//! the caller hands over a function that tells it from one [`DeValue`].

use std::{collections::HashMap, hash::Hash, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    problem::{Problems, Spot},
    shape::{Joined, Shape, Standing},
    values::{kind_of, shown},
};

/// The value of a key as it was written.
///
/// A bad one is not an absent one: it has been complained about, and nothing more should be
/// concluded from it.
#[derive(Debug, Clone)]
pub(super) enum Field<T> {
    Absent,
    Bad,
    Good(T, Spot),
}

impl<T> Field<T> {
    pub(super) fn good(&self) -> Option<&T> {
        match self {
            Field::Good(value, _) => Some(value),
            Field::Absent | Field::Bad => None,
        }
    }

    pub(super) fn into_good(self) -> Option<T> {
        match self {
            Field::Good(value, _) => Some(value),
            Field::Absent | Field::Bad => None,
        }
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Field::Absent => Field::Absent,
            Field::Bad => Field::Bad,
            Field::Good(value, spot) => Field::Good(change(value), spot),
        }
    }

    pub(super) fn is_bad(&self) -> bool {
        matches!(self, Field::Bad)
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }

    /// This one if it was written, else `other`.
    pub(super) fn or<'a>(&'a self, other: &'a Field<T>) -> &'a Field<T> {
        if self.is_absent() { other } else { self }
    }
}

/// Tells a value from what was written, or says in a sentence what is wrong with it.
pub(super) type Told<T> = Result<T, String>;

/// A table that is being read.
pub(super) struct Table<'a> {
    problems: &'a Problems,
    shape: &'static Shape,
    spot: Spot,
    /// None where the table was not written, so that it reads like an empty one.
    entries: Option<&'a DeTable<'a>>,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn file(
        problems: &'a Problems,
        shape: &'static Shape,
        entries: &'a DeTable<'a>,
    ) -> Self {
        let spot = Spot { offset: 0, key: String::new() };
        Table::open(problems, shape, spot, Some(entries))
    }

    /// Complains at once of keys that `shape` does not know.
    fn open(
        problems: &'a Problems,
        shape: &'static Shape,
        spot: Spot,
        entries: Option<&'a DeTable<'a>>,
    ) -> Self {
        let table = Table { problems, shape, spot, entries };
        for (key, _) in entries.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            match shape.standing(name) {
                Some(Standing::Known) => {}
                Some(Standing::Refused(reason)) => table.complain(name, key.span(), reason),
                None => problems.add_with(&table.spot_of(name, key.span()), || {
                    shape.unknown(&table.spot.key, name)
                }),
            }
        }
        table
    }

    /// Where the table itself begins.
    pub(super) fn spot(&self) -> &Spot {
        &self.spot
    }

    /// Whether it was written, as a table, be it an empty one.
    pub(super) fn is_written(&self) -> bool {
        self.entries.is_some()
    }

    /// The key, read by `tell`.
    pub(super) fn read<T>(
        &self,
        key: &str,
        tell: impl FnOnce(&DeValue<'_>) -> Told<T>,
    ) -> Field<T> {
        let Some(value) = self.value(key) else { return Field::Absent };
        let spot = self.spot_of(key, value.span());
        match tell(value.get_ref()) {
            Ok(good) => Field::Good(good, spot),
            Err(message) => {
                self.problems.add(&spot, message);
                Field::Bad
            }
        }
    }

    /// The key, a list whose elements are each read by `tell`: not empty, and without doubles.
    pub(super) fn list<T: Clone + Eq + Hash>(
        &self,
        key: &str,
        example: &str,
        tell: impl Fn(&DeValue<'_>) -> Told<T>,
    ) -> Field<Vec<T>> {
        let Some(value) = self.value(key) else { return Field::Absent };
        let spot = self.spot_of(key, value.span());
        let DeValue::Array(elements) = value.get_ref() else {
            let kind = kind_of(value.get_ref());
            self.problems.add(&spot, format!("must be a list, such as {example}, not {kind}"));
            return Field::Bad;
        };
        if elements.is_empty() {
            self.problems.add(&spot, format!("must not be empty; write {example}, for example"));
            return Field::Bad;
        }
        let mut good = Vec::with_capacity(elements.len());
        let mut first = HashMap::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let told = tell(element.get_ref()).and_then(|value| {
                match *first.entry(value.clone()).or_insert(i) {
                    before if before < i => Err(format!(
                        "{} is given twice, first as {}[{}]",
                        shown(element.get_ref()),
                        spot.key,
                        before + 1
                    )),
                    _ => Ok(value),
                }
            });
            match told {
                Ok(value) => good.push(value),
                Err(message) => self.complain(&element_key(key, i), element.span(), message),
            }
        }
        if good.len() < elements.len() { Field::Bad } else { Field::Good(good, spot) }
    }

    /// The table at `key`: an empty one if there is none or if it is something else.
    pub(super) fn table(&self, key: &str, shape: &'static Shape) -> Table<'a> {
        let (span, entries) = match self.value(key) {
            None => (self.spot.offset..self.spot.offset, None),
            Some(value) => match value.get_ref() {
                DeValue::Table(entries) => (value.span(), Some(entries)),
                other => {
                    let message = format!("must be a table, not {}", kind_of(other));
                    self.complain(key, value.span(), message);
                    (value.span(), None)
                }
            },
        };
        Table::open(self.problems, shape, self.spot_of(key, span), entries)
    }

    /// The tables at `key`, `[[key]]` each; none, with a complaint, if there is none.
    pub(super) fn tables(&self, key: &str, shape: &'static Shape, example: &str) -> Vec<Table<'a>> {
        let Some(value) = self.value(key) else {
            self.missing(key, &format!("there is none; write one as {example}"));
            return Vec::new();
        };
        let elements = match value.get_ref() {
            DeValue::Array(elements) if !elements.is_empty() => elements,
            other => {
                let kind = match other {
                    DeValue::Array(_) => "an empty list",
                    other => kind_of(other),
                };
                let message = format!("must be written as {example}, not as {kind}");
                self.complain(key, value.span(), message);
                return Vec::new();
            }
        };
        let mut tables = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let key = element_key(key, i);
            match element.get_ref() {
                DeValue::Table(entries) => {
                    let spot = self.spot_of(&key, element.span());
                    tables.push(Table::open(self.problems, shape, spot, Some(entries)));
                }
                other => {
                    let message = format!("must be a table, not {}", kind_of(other));
                    self.complain(&key, element.span(), message);
                }
            }
        }
        tables
    }

    /// Complains that `key` should have been there, at the place of its table.
    pub(super) fn missing(&self, key: &str, message: &str) {
        self.problems.conclude(&self.spot_of(key, self.spot.offset..self.spot.offset), message);
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert_eq!(self.shape.standing(key), Some(Standing::Known), "{key} in its shape");
        self.entries?.get(key)
    }

    fn spot_of(&self, key: &str, span: Range<usize>) -> Spot {
        Spot { offset: span.start, key: Joined(&self.spot.key, &written_key(key)).to_string() }
    }

    fn complain(&self, key: &str, span: Range<usize>, message: impl Into<String>) {
        self.problems.add(&self.spot_of(key, span), message);
    }
}

fn element_key(key: &str, index: usize) -> String {
    format!("{key}[{}]", index + 1)
}

/// A key as a message may show it: quoted if it is an odd one, and never long.
fn written_key(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '[' | ']');
    if !key.is_empty() && key.len() <= 64 && key.chars().all(plain) {
        return key.to_owned();
    }
    shown(&DeValue::String(key.into()))
}
