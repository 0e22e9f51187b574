//! Ids of installations.

use std::{borrow::Cow, cmp::Ordering, fmt};

use base16ct::lower;

/// The id of an installation of Wickr: an opaque text. Ids of 64 lowercase hex digits, as in an example of
/// the service model, take half the memory and no allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AppId(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    /// The digits of 64 lowercase hex digits.
    Hex([u8; 32]),
    /// Any other text.
    Text(Box<str>),
}

impl AppId {
    /// The text. Hex digits are written to `buffer`.
    pub fn as_str<'a>(&'a self, buffer: &'a mut [u8; 64]) -> &'a str {
        match &self.0 {
            Repr::Hex(bytes) => lower::encode_str(bytes, buffer).unwrap_or_default(),
            Repr::Text(text) => text,
        }
    }

    /// A byte of the id. Reading it loads the id into the processor's cache.
    pub fn any_byte(&self) -> u8 {
        match &self.0 {
            Repr::Hex(bytes) => bytes[0],
            Repr::Text(text) => text.bytes().next().unwrap_or_default(),
        }
    }

    /// The text, copied if necessary.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Hex(_) => Cow::Owned(self.as_str(&mut [0; 64]).to_owned()),
            Repr::Text(text) => Cow::Borrowed(text),
        }
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    lower::decode(text, &mut bytes).ok().filter(|decoded| decoded.len() == 32)?;
    Some(bytes)
}

impl From<&str> for AppId {
    fn from(text: &str) -> AppId {
        AppId(parse_hex(text).map_or_else(|| Repr::Text(text.into()), Repr::Hex))
    }
}

impl From<String> for AppId {
    fn from(text: String) -> AppId {
        AppId::from(&*text)
    }
}

/// The order of the texts.
impl Ord for AppId {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Repr::Hex(a), Repr::Hex(b)) => a.cmp(b),
            _ => self.as_str(&mut [0; 64]).cmp(other.as_str(&mut [0; 64])),
        }
    }
}

impl PartialOrd for AppId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str(&mut [0; 64]))
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(&mut [0; 64]), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_any_text_and_its_order() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut texts: Vec<String> = (0..200)
            .map(|_| (0..64).map(|_| char::from(b"0123456789abcdef"[random.usize(..16)])).collect())
            .collect();
        for i in 0..100 {
            let mut text = texts[i].clone();
            match random.u8(..4) {
                0 => text.truncate(63),
                1 => text.push('0'),
                2 => text.replace_range(random.usize(..63).., "G"),
                _ => text = text.to_uppercase(),
            }
            texts.push(text);
        }
        texts.extend(["", "é", "0", "g"].map(str::to_owned));
        texts.push("/".repeat(64));
        let mut ids: Vec<AppId> = texts.iter().map(|text| AppId::from(&**text)).collect();
        for (id, text) in ids.iter().zip(&texts) {
            assert_eq!(id.text(), **text);
            assert_eq!(id.to_string(), *text);
            assert_eq!(format!("{id:?}"), format!("{text:?}"));
        }
        assert_eq!(ids.iter().filter(|id| matches!(id.0, Repr::Hex(_))).count(), 200);
        ids.sort();
        texts.sort();
        assert_eq!(ids.iter().map(AppId::text).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn only_lowercase_hex_digits_are_hex() {
        for position in 0..64 {
            for c in (0..=127).map(char::from) {
                let mut text = "7".repeat(64);
                text.replace_range(position..=position, &c.to_string());
                let id = AppId::from(&*text);
                assert_eq!(id.text(), *text);
                assert_eq!(matches!(id.0, Repr::Hex(_)), "0123456789abcdef".contains(c), "{c:?}");
            }
        }
        let multibyte = format!("{}é", "7".repeat(62));
        assert_eq!((multibyte.len(), AppId::from(&*multibyte).to_string()), (64, multibyte));
    }
}
