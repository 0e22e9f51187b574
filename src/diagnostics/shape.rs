//! The tables and keys of a file, and suggestions for unknown keys.

use std::fmt;

/// A table and its keys.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Such as `network.poll`; empty for the root table.
    pub(crate) path: &'static str,
    /// Empty if any key is valid.
    pub(crate) keys: &'static [&'static str],
}

/// The tables of a file.
#[derive(Debug)]
pub(crate) struct Schema {
    /// All tables, the root table first. If several have a key, the first is suggested first.
    pub(crate) tables: &'static [&'static Shape],
    /// Whether a key could be a misplaced secret, so that no message may show it.
    pub(crate) hides_unknown_keys: bool,
}

/// Declares each table, as `NAME "path" keys;`, and the schema of all.
macro_rules! schema {
    (hides_unknown_keys: $hides:literal; $($(#[$doc:meta])* $name:ident $path:literal $keys:expr;)*) => {
        $(
            $(#[$doc])*
            pub(super) static $name: Shape = Shape { path: $path, keys: $keys };
        )*
        pub(super) static SCHEMA: Schema = Schema { tables: &[$(&$name),*], hides_unknown_keys: $hides };
    };
}
pub(crate) use schema;

impl Shape {
    pub(crate) fn allows(&self, key: &str) -> bool {
        self.keys.is_empty() || self.keys.contains(&key)
    }

    /// The message about `key`, which this table of `schema` does not have. `path` is the path of
    /// the table in the file, such as `network[2].poll`.
    pub(crate) fn unknown(&self, schema: &Schema, path: &str, key: &str) -> String {
        // A table in a list can override some keys of the table with the same name.
        if let Some((list, table)) = self.path.rsplit_once('.')
            && schema.tables.iter().any(|shape| shape.path == table && shape.allows(key))
        {
            return format!("belongs in [{table}]: it applies to all {list}s");
        }
        let here = |name| KeyPath(path, name).to_string();
        let elsewhere = |find: &dyn Fn(&Shape) -> Option<&'static str>| {
            self.others(schema).find_map(|shape| Some(shape.path_from(path, find(shape)?)))
        };
        let suggestion = nearest(key, self.names())
            .map(here)
            .or_else(|| elsewhere(&|shape| shape.names().find(|name| is_same(name, key))))
            .or_else(|| self.names().find(|name| contains_words(name, key)).map(here))
            .or_else(|| elsewhere(&|shape| nearest(key, shape.names())));
        match (suggestion, self.keys) {
            (Some(key), _) => format!("unknown key; did you mean {key}?"),
            (None, [key]) => format!("unknown key; the only valid key is {key}"),
            (None, keys) => format!("unknown key; valid keys are {}", keys.join(", ")),
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.keys.iter().copied()
    }

    /// The other tables, those below the same key of the root table first.
    fn others(&self, schema: &Schema) -> impl Iterator<Item = &'static Shape> {
        let others = |near| {
            let is_near = move |shape: &Shape| shape.root_key() == self.root_key();
            let other = move |shape: &&&Shape| shape.path != self.path && is_near(shape) == near;
            schema.tables.iter().filter(other).copied()
        };
        others(true).chain(others(false))
    }

    fn root_key(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(key, _)| key)
    }

    /// The path of this table's key `name`, in the same element of a list as `path`.
    fn path_from(&self, path: &str, name: &str) -> String {
        if let Some((list, _)) = path.split_once('[')
            && let Some((element, _)) = path.split_once(']')
            && let Some(rest) = self.path.strip_prefix(list)
        {
            return format!("{element}]{rest}.{name}");
        }
        KeyPath(self.path, name).to_string()
    }
}

/// A table's path and a key, with a dot unless the path is empty.
pub(crate) struct KeyPath<'a>(pub(crate) &'a str, pub(crate) &'a str);

impl fmt::Display for KeyPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str(self.1),
            path => write!(f, "{path}.{}", self.1),
        }
    }
}

/// The most similar of `names`, if it is similar enough to be meant.
pub(crate) fn nearest<S: AsRef<str>>(typed: &str, names: impl IntoIterator<Item = S>) -> Option<S> {
    // All names are shorter. The time is proportional to the product of both lengths.
    if typed.len() > 64 {
        return None;
    }
    let typed = normalized(typed);
    let max_distance = (typed.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&typed, &normalized(name.as_ref())), name))
        .filter(|(distance, _)| *distance <= max_distance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Ignores case, and hyphens for underscores.
fn is_same(name: &str, typed: &str) -> bool {
    normalized(name) == normalized(typed)
}

/// Whether `name` contains the words of `typed`, as `request_timeout` contains `timeout`.
fn contains_words(name: &str, typed: &str) -> bool {
    let typed = normalized(typed);
    !typed.is_empty() && format!("_{name}_").contains(&format!("_{typed}_"))
}

fn normalized(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}
