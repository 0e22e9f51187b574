//! Pages: the order of a list, positions in it, and their tokens.
//!
//! A token contains the last row of the page, not an offset: a row that is added or removed
//! between two pages neither hides nor repeats another. A token is bound to the list, its order
//! and its filters, and contains characters that clients often encode wrongly.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Value, json};

use super::encoding::{from_hex, to_hex};
use super::errors::ApiError;
use super::generate::mix;
use super::sigv4::sign;

/// A sort key. Its variants are in sort order, for raw rows of mixed types.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key<'a> {
    Absent,
    Number(i64),
    Text(Cow<'a, str>),
    /// A numeric id: its length, then its digits.
    Id(usize, Cow<'a, str>),
}

impl<'a> Key<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(super) fn id(id: &'a str) -> Self {
        Self::Id(id.len(), Cow::Borrowed(id))
    }

    fn into_json(self) -> Value {
        match self {
            Self::Absent => Value::Null,
            Self::Number(number) => number.into(),
            Self::Text(text) => text.into(),
            Self::Id(_, id) => json!([id]),
        }
    }

    fn from_json(value: &Value) -> Option<Key<'static>> {
        match value {
            Value::Null => Some(Key::Absent),
            Value::Number(number) => number.as_i64().map(Key::Number),
            Value::String(text) => Some(Key::Text(text.clone().into())),
            Value::Array(id) => {
                let id = id.first()?.as_str()?.to_owned();
                Some(Key::Id(id.len(), id.into()))
            }
            _ => None,
        }
    }
}

pub(super) trait Row {
    /// The sortable fields.
    const FIELDS: &'static [&'static str];

    /// The value of one of [`Row::FIELDS`].
    fn key(&self, field: &str) -> Key<'_>;

    /// A unique key: the order of rows whose other keys are equal.
    fn tie_breaker(&self) -> Key<'_>;
}

/// The order of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) fields: Vec<String>,
    pub(super) descending: bool,
}

impl Sort {
    fn position<R: Row>(&self, row: &R) -> Vec<Key<'static>> {
        let keys = self.fields.iter().map(|field| row.key(field)).chain([row.tie_breaker()]);
        keys.map(owned).collect()
    }

    fn compare<R: Row>(&self, a: &R, b: &R) -> Ordering {
        let fields = self.fields.iter().map(|field| a.key(field).cmp(&b.key(field)));
        let order = fields
            .fold(Ordering::Equal, Ordering::then)
            .then_with(|| a.tie_breaker().cmp(&b.tie_breaker()));
        if self.descending { order.reverse() } else { order }
    }

    fn is_after<R: Row>(&self, row: &R, position: &[Key<'_>]) -> bool {
        let fields = self.fields.iter().map(|field| row.key(field)).chain([row.tie_breaker()]);
        let order = fields.cmp(position.iter().cloned());
        if self.descending { order.is_lt() } else { order.is_gt() }
    }
}

fn owned(key: Key<'_>) -> Key<'static> {
    match key {
        Key::Absent => Key::Absent,
        Key::Number(number) => Key::Number(number),
        Key::Text(text) => Key::Text(text.into_owned().into()),
        Key::Id(length, id) => Key::Id(length, id.into_owned().into()),
    }
}

/// The start of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) pages_before: u32,
    /// The keys of the last row of the previous page.
    pub(super) last_row: Option<Vec<Key<'static>>>,
}

/// Writes and reads the tokens of one simulator.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    key: [u8; 32],
    seed: u64,
    /// The probability that a page is short or empty.
    short_pages: f64,
}

/// A token is this prefix, an authentication tag in these letters, and a payload in hex.
const PREFIX: &str = "v1:pagination:µ+/=&% ü…";
const TAG_LETTERS: [char; 16] =
    ['+', '/', '=', '&', '%', ' ', 'ü', 'µ', '…', '?', '#', ';', '*', '\'', '~', '"'];
const TAG_LENGTH: usize = 16;

impl Tokens {
    pub(super) fn new(seed: u64, short_pages: f64) -> Self {
        Self { key: sign(b"pages", &seed.to_le_bytes()), seed, short_pages }
    }

    /// Encodes a position in the list of this [scope](super::call::Call::scope).
    pub(super) fn write(&self, scope: &str, position: &Position) -> String {
        let last_row = position
            .last_row
            .clone()
            .map(|keys| keys.into_iter().map(Key::into_json).collect::<Vec<_>>());
        let payload = json!([position.pages_before, last_row]).to_string();
        format!("{PREFIX}{}{}", self.tag(scope, &payload), to_hex(payload.as_bytes()))
    }

    /// Decodes a token. The error is 400 if it is invalid or belongs to another list.
    pub(super) fn read(&self, scope: &str, token: &str) -> Result<Position, ApiError> {
        self.parse(scope, token).ok_or_else(ApiError::invalid_token)
    }

    fn parse(&self, scope: &str, token: &str) -> Option<Position> {
        let rest = token.strip_prefix(PREFIX)?;
        let (tag_end, _) = rest.char_indices().nth(TAG_LENGTH)?;
        let (tag, payload) = rest.split_at(tag_end);
        let payload = String::from_utf8(from_hex(payload)?).ok()?;
        (tag == self.tag(scope, &payload)).then_some(())?;
        let payload: Value = serde_json::from_str(&payload).ok()?;
        let pages_before = u32::try_from(payload.get(0)?.as_u64()?).ok()?;
        let last_row = match payload.get(1)? {
            Value::Array(keys) => Some(keys.iter().map(Key::from_json).collect::<Option<_>>()?),
            _ => None,
        };
        Some(Position { pages_before, last_row })
    }

    fn tag(&self, scope: &str, payload: &str) -> String {
        let hash = sign(&self.key, format!("{scope}\n{payload}").as_bytes());
        hash.iter().take(TAG_LENGTH).map(|byte| TAG_LETTERS[usize::from(byte & 15)]).collect()
    }

    /// The size of a page, and whether it was reduced at random. Every third page is full, so
    /// that every list ends.
    fn page_size(&self, scope: &str, pages_before: u32, max: usize) -> (usize, bool) {
        if self.short_pages <= 0.0 || pages_before % 3 == 2 {
            return (max, false);
        }
        let scope = scope.bytes().fold(self.seed, |hash, byte| mix(hash, u64::from(byte)));
        let mut rng = fastrand::Rng::with_seed(mix(scope, u64::from(pages_before)));
        match rng.f64() < self.short_pages {
            true if rng.bool() => (0, true),
            true => ((max / 2).max(1), true),
            false => (max, false),
        }
    }
}

#[derive(Debug)]
pub(super) struct PageRequest<'a> {
    pub(super) tokens: &'a Tokens,
    pub(super) scope: &'a str,
    pub(super) sort: &'a Sort,
    pub(super) position: &'a Position,
    pub(super) size: usize,
}

impl PageRequest<'_> {
    /// Returns a page of these rows and the token of the next page.
    ///
    /// With `in_order`, the rows are sorted and start after the position. Otherwise only the
    /// rows of the page are sorted, in linear time over all.
    pub(super) fn page<R: Row>(
        &self,
        rows: impl Iterator<Item = R>,
        in_order: bool,
    ) -> (Vec<R>, Option<String>) {
        let pages_before = self.position.pages_before;
        let (size, reduced) = self.tokens.page_size(self.scope, pages_before, self.size);
        let mut rows: Vec<R> = if in_order {
            rows.take(size + 1).collect()
        } else {
            let last = self.position.last_row.as_deref();
            rows.filter(|row| last.is_none_or(|last| self.sort.is_after(row, last))).collect()
        };
        let compare = |a: &R, b: &R| self.sort.compare(a, b);
        let more = rows.len() > size;
        if more && size > 0 {
            rows.select_nth_unstable_by(size - 1, compare);
        }
        rows.truncate(size);
        rows.sort_unstable_by(compare);
        let last_row = match rows.last() {
            Some(row) => Some(self.sort.position(row)),
            None => self.position.last_row.clone(),
        };
        // A reduced page always has a token, even if no row is left.
        let next = (more || reduced).then(|| {
            let position = Position { pages_before: pages_before.saturating_add(1), last_row };
            self.tokens.write(self.scope, &position)
        });
        (rows, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug)]
    struct Item(i64, i64);

    impl Row for Item {
        const FIELDS: &'static [&'static str] = &["a"];

        fn key(&self, _: &str) -> Key<'_> {
            Key::Number(self.0)
        }

        fn tie_breaker(&self) -> Key<'_> {
            Key::Number(self.1)
        }
    }

    /// Reads all pages and adds a row after the first. Returns the ids and the page sizes.
    fn read_all(
        short_pages: f64,
        sort: &Sort,
        rows: &mut Vec<Item>,
        added: Option<Item>,
    ) -> (Vec<i64>, Vec<usize>) {
        let tokens = Tokens::new(3, short_pages);
        let (mut position, mut seen, mut sizes) = (Position::default(), Vec::new(), Vec::new());
        loop {
            let request =
                PageRequest { tokens: &tokens, scope: "s", sort, position: &position, size: 7 };
            let (page, token) = request.page(rows.iter().cloned(), false);
            sizes.push(page.len());
            seen.extend(page.iter().map(|item| item.1));
            if let (1, Some(added)) = (sizes.len(), &added) {
                rows.push(added.clone());
            }
            match token {
                Some(token) => position = tokens.read("s", &token).unwrap(),
                None => return (seen, sizes),
            }
        }
    }

    fn rows() -> Vec<Item> {
        (0..100).map(|n| Item(n * 37 % 10, n)).collect()
    }

    fn sort(descending: bool) -> Sort {
        Sort { fields: vec!["a".to_owned()], descending }
    }

    #[test]
    fn lists_every_row_once_in_order() {
        for descending in [false, true] {
            let (seen, sizes) = read_all(0.0, &sort(descending), &mut rows(), None);
            let mut expected = rows();
            expected.sort_by_key(|item| (item.0, item.1));
            if descending {
                expected.reverse();
            }
            assert_eq!(seen, expected.iter().map(|item| item.1).collect::<Vec<_>>());
            assert_eq!(sizes.len(), 15);
        }
    }

    #[test]
    fn short_and_empty_pages_lose_no_row() {
        let (mut seen, sizes) = read_all(0.8, &sort(false), &mut rows(), None);
        assert!(sizes.contains(&0) && sizes.contains(&3) && sizes.contains(&7), "{sizes:?}");
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_eq!(read_all(0.8, &sort(false), &mut rows(), None).1, sizes);
        read_all(1.0, &sort(false), &mut rows(), None);
    }

    #[test]
    fn adding_a_row_between_pages_repeats_no_other_row() {
        let (seen, _) = read_all(0.0, &sort(false), &mut rows(), Some(Item(99, 1000)));
        assert_eq!(seen.len(), 101);
        let (seen, _) = read_all(0.0, &sort(false), &mut rows(), Some(Item(-1, 1000)));
        assert_eq!(seen.len(), 100, "the row before the position is omitted");
    }

    #[test]
    fn tokens_contain_special_characters_and_are_bound_to_their_list() {
        let tokens = Tokens::new(1, 0.0);
        let keys = vec![Key::Absent, Key::Number(-5), Key::text("ü"), Key::id("1001")];
        let position =
            Position { pages_before: 3, last_row: Some(keys.into_iter().map(owned).collect()) };
        let token = tokens.write("one", &position);
        for special in ['+', '/', '=', '&', '%', ' ', 'µ', '…'] {
            assert!(token.contains(special));
        }
        assert_eq!(tokens.read("one", &token).unwrap(), position);
        let mut truncated = token.clone();
        truncated.pop();
        for (scope, token) in
            [("two", token.as_str()), ("one", &truncated), ("one", ""), ("one", PREFIX)]
        {
            let error = tokens.read(scope, token).unwrap_err();
            assert_eq!((error.status, &*error.kind), (400, "BadRequestError"));
        }
        assert!(Tokens::new(2, 0.0).read("one", &token).is_err());
    }
}
