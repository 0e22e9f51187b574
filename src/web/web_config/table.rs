//! Reads keys from a YAML tree as Go's YAML library does.

use std::{collections::HashSet, rc::Rc};

use super::{
    problems::{Problems, unknown},
    yaml::{Node, Position, Value},
};

/// A value with its position and the full path of its key.
#[derive(Debug, Clone)]
pub(in crate::web) struct Located<T> {
    pub(super) position: Position,
    pub(super) key: String,
    pub(in crate::web) value: T,
}

impl<T> Located<T> {
    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> Located<U> {
        Located { position: self.position, key: self.key, value: map(self.value) }
    }
}

/// The entries of a map with unique keys.
pub(super) struct Table<'n> {
    pub(super) position: Position,
    path: String,
    entries: Vec<(String, Position, &'n Node)>,
}

impl<'n> Table<'n> {
    /// Accepts any keys. Null is an empty map.
    pub(super) fn with_any_keys(
        node: &Located<&'n Node>,
        problems: &mut Problems,
    ) -> Option<Table<'n>> {
        let path = &node.key;
        let pairs: &[(Rc<Node>, Rc<Node>)] = match &node.value.value {
            Value::Map(pairs) => pairs,
            _ if node.value.is_null() => &[],
            _ => {
                problems.add(node, "must be a map");
                return None;
            }
        };
        let mut entries: Vec<(String, Position, &Node)> = Vec::new();
        let mut seen = HashSet::new();
        for (key, value) in pairs {
            match &key.value {
                Value::Scalar(name, _) if name == "<<" => {
                    problems.add_at(key.position, path, "merge keys (<<) are not supported");
                }
                Value::Scalar(name, _) if !seen.insert(name.as_str()) => {
                    problems.add_at(key.position, path, "duplicate key");
                }
                Value::Scalar(name, _) => entries.push((name.clone(), key.position, value)),
                _ => problems.add_at(key.position, path, "a key must be a string"),
            }
        }
        Some(Table { position: node.position, path: path.clone(), entries })
    }

    /// Reports keys other than `known`.
    pub(super) fn with_keys(
        node: &Located<&'n Node>,
        known: &[&str],
        problems: &mut Problems,
    ) -> Option<Table<'n>> {
        let table = Table::with_any_keys(node, problems)?;
        for (name, position, _) in &table.entries {
            if !known.contains(&name.as_str()) {
                problems.add_at(*position, &node.key, unknown("key", name, known));
            }
        }
        Some(table)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, Position, &'n Node)> {
        self.entries.iter().map(|(name, position, node)| (name.as_str(), *position, *node))
    }

    /// None if the key is absent or null.
    pub(super) fn get(&self, name: &str) -> Option<Located<&'n Node>> {
        let (_, _, node) = self.entries.iter().find(|(key, _, _)| key == name)?;
        let path = &self.path;
        let key = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        (!node.is_null()).then_some(Located { position: node.position, key, value: *node })
    }

    /// None also if it is empty, as in the toolkit.
    pub(super) fn string(&self, name: &str, problems: &mut Problems) -> Option<Located<String>> {
        let node = self.get(name)?;
        match &node.value.value {
            Value::Scalar(text, _) => {
                (!text.is_empty()).then(|| node.clone().map(|_| text.clone()))
            }
            _ => {
                problems.add(&node, "must be a string");
                None
            }
        }
    }

    /// Accepts the spellings of YAML 1.1.
    pub(super) fn boolean(&self, name: &str, problems: &mut Problems) -> Option<bool> {
        const TRUE: [&str; 11] =
            ["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"];
        const FALSE: [&str; 11] =
            ["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"];
        let node = self.get(name)?;
        match &node.value.value {
            Value::Scalar(text, true) if TRUE.contains(&text.as_str()) => Some(true),
            Value::Scalar(text, true) if FALSE.contains(&text.as_str()) => Some(false),
            _ => {
                problems.add(&node, "must be true or false");
                None
            }
        }
    }

    pub(super) fn strings(
        &self,
        name: &str,
        problems: &mut Problems,
    ) -> Option<Located<Vec<Located<String>>>> {
        let node = self.get(name)?;
        let Value::List(items) = &node.value.value else {
            problems.add(&node, "must be a list of strings");
            return None;
        };
        let mut strings = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let key = format!("{}[{}]", node.key, i + 1);
            match &item.value {
                Value::Scalar(text, _) if !item.is_null() => {
                    strings.push(Located { position: item.position, key, value: text.clone() });
                }
                _ => problems.add_at(item.position, &key, "must be a string"),
            }
        }
        Some(node.map(|_| strings))
    }
}
