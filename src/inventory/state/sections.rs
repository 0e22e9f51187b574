//! Optional parts of a network's state, each with a name.
//!
//! A feature stores its data as one section: its type has `Serialize` and `Deserialize`, is written with
//! [`Sections::put`] in `network_part` and read with [`Sections::get`] in `restore`. Sections with
//! unknown names are ignored, so versions with and without a feature read each other's files. To
//! change a section incompatibly, give it a new name.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned, Visitor},
};

use super::StateError;

/// Sections by name.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Sections(BTreeMap<String, Encoded>);

/// A value in MessagePack.
#[derive(Debug, PartialEq)]
struct Encoded(Vec<u8>);

impl Sections {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a section.
    pub(super) fn put<T: Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), rmp_serde::encode::Error> {
        self.0.insert(name.to_owned(), Encoded(rmp_serde::to_vec(value)?));
        Ok(())
    }

    /// Reads a section. None if the file does not have it.
    pub(super) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let section = self.0.get(name).map(|Encoded(bytes)| rmp_serde::from_slice(bytes));
        section.transpose().map_err(|error| StateError::InvalidContent(format!("{name}: {error}")))
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Encoded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Encoded, E> {
                Ok(Encoded(bytes.to_owned()))
            }
        }

        deserializer.deserialize_byte_buf(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_known_sections_and_ignores_unknown_ones() {
        let mut sections = Sections::default();
        sections.put("numbers", &vec![1, 2, 300]).unwrap();
        sections.put("of a later version", &"text").unwrap();
        let bytes = rmp_serde::to_vec(&sections).unwrap();
        let read: Sections = rmp_serde::from_read(&bytes[..]).unwrap();
        assert_eq!(read, sections);
        assert_eq!(read.get("numbers"), Ok(Some(vec![1, 2, 300])));
        assert_eq!(read.get::<u32>("absent"), Ok(None));
        assert!(matches!(read.get::<u32>("numbers"), Err(StateError::InvalidContent(_))));
    }
}
