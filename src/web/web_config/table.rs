//! Reads keys out of a YAML tree as Go's YAML library would, and complains of what is left.

use std::{collections::HashSet, rc::Rc};

use super::{
    problems::{Problems, unknown},
    yaml::{Node, Place, Value},
};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Spot<T> {
    pub(crate) place: Place,
    /// The full path of its key.
    pub(crate) key: String,
    pub(crate) value: T,
}

impl<T> Spot<T> {
    pub(crate) fn with<U>(&self, value: U) -> Spot<U> {
        Spot { place: self.place, key: self.key.clone(), value }
    }
}

/// The entries of a map, each key once.
pub(crate) struct Table<'n> {
    pub(crate) place: Place,
    path: String,
    entries: Vec<(String, Place, &'n Node)>,
}

impl<'n> Table<'n> {
    /// The entries of a map whose keys are anything, such as names of users; none if it is no map.
    pub(crate) fn open(node: &'n Node, path: &str, problems: &mut Problems) -> Option<Table<'n>> {
        let pairs: &[(Rc<Node>, Rc<Node>)] = match &node.value {
            Value::Map(pairs) => pairs,
            _ if node.is_null() => &[],
            _ => {
                problems.add(node.place, path, "must be a map: keys, each with a value");
                return None;
            }
        };
        let mut entries: Vec<(String, Place, &Node)> = Vec::new();
        let mut seen = HashSet::new();
        for (key, value) in pairs {
            match &key.value {
                Value::Scalar(name, _) if name == "<<" => {
                    problems.add(key.place, path, "merge keys (<<) are not supported");
                }
                Value::Scalar(name, _) if !seen.insert(name.as_str()) => {
                    problems.add(key.place, path, "a key stands twice");
                }
                Value::Scalar(name, _) => entries.push((name.clone(), key.place, value)),
                _ => problems.add(key.place, path, "a key must be a text"),
            }
        }
        Some(Table { place: node.place, path: path.to_owned(), entries })
    }

    /// The entries of a map that has these keys and no others.
    pub(crate) fn with_keys(
        node: &'n Node,
        path: &str,
        known: &[&str],
        problems: &mut Problems,
    ) -> Option<Table<'n>> {
        let table = Table::open(node, path, problems)?;
        for (name, place, _) in &table.entries {
            if !known.contains(&name.as_str()) {
                // The name is not repeated: it may be a value that slipped to the wrong place.
                problems.add(*place, path, unknown("key", name, known));
            }
        }
        Some(table)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, Place, &'n Node)> {
        self.entries.iter().map(|(name, place, node)| (name.as_str(), *place, *node))
    }

    /// What stands under a key, unless that is nothing.
    pub(crate) fn get(&self, name: &str) -> Option<Spot<&'n Node>> {
        let (_, _, node) = self.entries.iter().find(|(key, _, _)| key == name)?;
        let key = joined(&self.path, name);
        (!node.is_null()).then_some(Spot { place: node.place, key, value: *node })
    }

    /// A text. An empty one is as none, as it is for the toolkit.
    pub(crate) fn text(&self, name: &str, problems: &mut Problems) -> Option<Spot<String>> {
        let spot = self.get(name)?;
        match &spot.value.value {
            Value::Scalar(text, _) => (!text.is_empty()).then(|| spot.with(text.clone())),
            _ => {
                problems.add(spot.place, &spot.key, "must be a text");
                None
            }
        }
    }

    /// A boolean, in any of the spellings of YAML 1.1.
    pub(crate) fn boolean(&self, name: &str, problems: &mut Problems) -> Option<bool> {
        const TRUE: [&str; 11] =
            ["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"];
        const FALSE: [&str; 11] =
            ["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"];
        let spot = self.get(name)?;
        match &spot.value.value {
            Value::Scalar(text, true) if TRUE.contains(&text.as_str()) => Some(true),
            Value::Scalar(text, true) if FALSE.contains(&text.as_str()) => Some(false),
            _ => {
                problems.add(spot.place, &spot.key, "must be true or false");
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(
        &self,
        name: &str,
        problems: &mut Problems,
    ) -> Option<Spot<Vec<Spot<String>>>> {
        let spot = self.get(name)?;
        let Value::List(items) = &spot.value.value else {
            problems.add(spot.place, &spot.key, "must be a list of texts");
            return None;
        };
        let mut texts = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let key = format!("{}[{}]", spot.key, i + 1);
            match &item.value {
                Value::Scalar(text, _) if !item.is_null() => {
                    texts.push(Spot { place: item.place, key, value: text.clone() });
                }
                _ => problems.add(item.place, &key, "must be a text"),
            }
        }
        Some(spot.with(texts))
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
