//! Pages: the order of a list, the position in it that a token stands for, and the token.
//!
//! A token names the last row that was seen, not a count of rows: a device that appears or
//! goes between two pages moves no other one across their border. It is bound to the list,
//! its order and its filters, and it holds every character that a careless client mangles.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Value, json};

use super::encoding::{from_hex, to_hex};
use super::errors::ApiError;
use super::generate::mix;
use super::sigv4::sign;

/// What one row is sorted by. Absent before numbers before texts, whatever a raw row holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key<'a> {
    Absent,
    Number(i64),
    Text(Cow<'a, str>),
    /// An id of digits: shorter ones come first.
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

/// A row of a list.
pub(super) trait Row {
    /// The fields that it can be sorted by.
    const FIELDS: &'static [&'static str];

    /// The value of one of [`Row::FIELDS`].
    fn key(&self, field: &str) -> Key<'_>;

    /// What tells it from all other rows: the order within equal keys, and without any.
    fn tie(&self) -> Key<'_>;
}

/// The order of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) fields: Vec<String>,
    pub(super) descending: bool,
}

impl Sort {
    fn position<R: Row>(&self, row: &R) -> Vec<Key<'static>> {
        let keys = self.fields.iter().map(|field| row.key(field)).chain([row.tie()]);
        keys.map(owned).collect()
    }

    fn compare<R: Row>(&self, a: &R, b: &R) -> Ordering {
        let fields = self.fields.iter().map(|field| a.key(field).cmp(&b.key(field)));
        let order =
            fields.fold(Ordering::Equal, Ordering::then).then_with(|| a.tie().cmp(&b.tie()));
        if self.descending { order.reverse() } else { order }
    }

    fn is_after<R: Row>(&self, row: &R, position: &[Key<'_>]) -> bool {
        let fields = self.fields.iter().map(|field| row.key(field)).chain([row.tie()]);
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

/// Where a page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Pages before this one.
    pub(super) before: u32,
    /// The last row seen; none at the start.
    pub(super) seen: Option<Vec<Key<'static>>>,
}

/// Writes and reads the tokens of one simulator.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    key: [u8; 32],
    seed: u64,
    /// How likely a page is short or empty.
    quirk: f64,
}

/// In every token, and behind it a tag in letters that are no kinder.
const PREFIX: &str = "v1:pagination:µ+/=&% ü…";
const TAG_LETTERS: [char; 16] =
    ['+', '/', '=', '&', '%', ' ', 'ü', 'µ', '…', '?', '#', ';', '*', '\'', '~', '"'];
const TAG_LENGTH: usize = 16;

impl Tokens {
    pub(super) fn new(seed: u64, quirk: f64) -> Self {
        Self { key: sign(b"pages", &seed.to_le_bytes()), seed, quirk }
    }

    /// The token of a position in the list that `scope` describes.
    pub(super) fn write(&self, scope: &str, position: &Position) -> String {
        let seen = position
            .seen
            .clone()
            .map(|keys| keys.into_iter().map(Key::into_json).collect::<Vec<_>>());
        let payload = json!([position.before, seen]).to_string();
        format!("{PREFIX}{}{}", self.tag(scope, &payload), to_hex(payload.as_bytes()))
    }

    /// The position that a token stands for: 400 if it is of another list or of nobody.
    pub(super) fn read(&self, scope: &str, token: &str) -> Result<Position, ApiError> {
        self.parse(scope, token).ok_or_else(ApiError::invalid_token)
    }

    fn parse(&self, scope: &str, token: &str) -> Option<Position> {
        let rest = token.strip_prefix(PREFIX)?;
        let (border, _) = rest.char_indices().nth(TAG_LENGTH)?;
        let (tag, payload) = rest.split_at(border);
        let payload = String::from_utf8(from_hex(payload)?).ok()?;
        (tag == self.tag(scope, &payload)).then_some(())?;
        let payload: Value = serde_json::from_str(&payload).ok()?;
        let before = u32::try_from(payload.get(0)?.as_u64()?).ok()?;
        let seen = match payload.get(1)? {
            Value::Array(keys) => Some(keys.iter().map(Key::from_json).collect::<Option<_>>()?),
            _ => None,
        };
        Some(Position { before, seen })
    }

    fn tag(&self, scope: &str, payload: &str) -> String {
        let hash = sign(&self.key, format!("{scope}\n{payload}").as_bytes());
        hash.iter().take(TAG_LENGTH).map(|byte| TAG_LETTERS[usize::from(byte & 15)]).collect()
    }

    /// How many rows a page gets: now and then fewer than asked for, or none. Never every
    /// page, so that any list ends.
    fn size(&self, scope: &str, before: u32, asked: usize) -> (usize, bool) {
        if self.quirk <= 0.0 || before % 3 == 2 {
            return (asked, false);
        }
        let scope = scope.bytes().fold(self.seed, |hash, byte| mix(hash, u64::from(byte)));
        let mut rng = fastrand::Rng::with_seed(mix(scope, u64::from(before)));
        match rng.f64() < self.quirk {
            true if rng.bool() => (0, true),
            true => ((asked / 2).max(1), true),
            false => (asked, false),
        }
    }
}

/// What a list is asked for.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) tokens: &'a Tokens,
    /// The list, its order and its filters.
    pub(super) scope: &'a str,
    pub(super) sort: &'a Sort,
    pub(super) position: &'a Position,
    pub(super) size: usize,
}

impl Ask<'_> {
    /// One page of these rows and the token of the next.
    ///
    /// It looks at each row once and sorts only those of the page, unless `in_order` says
    /// that they are sorted and begin after the position already.
    pub(super) fn page<R: Row>(
        &self,
        rows: impl Iterator<Item = R>,
        in_order: bool,
    ) -> (Vec<R>, Option<String>) {
        let before = self.position.before;
        let (size, quirk) = self.tokens.size(self.scope, before, self.size);
        let mut rows: Vec<R> = if in_order {
            rows.take(size + 1).collect()
        } else {
            let seen = self.position.seen.as_deref();
            rows.filter(|row| seen.is_none_or(|seen| self.sort.is_after(row, seen))).collect()
        };
        let compare = |a: &R, b: &R| self.sort.compare(a, b);
        let more = rows.len() > size;
        if more && size > 0 {
            rows.select_nth_unstable_by(size - 1, compare);
        }
        rows.truncate(size);
        rows.sort_unstable_by(compare);
        let seen = match rows.last() {
            Some(row) => Some(self.sort.position(row)),
            None => self.position.seen.clone(),
        };
        // A quirky page claims that another follows even when nothing is left for it.
        let next = (more || quirk).then(|| Position { before: before.saturating_add(1), seen });
        (rows, next.map(|position| self.tokens.write(self.scope, &position)))
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

        fn tie(&self) -> Key<'_> {
            Key::Number(self.1)
        }
    }

    fn walk(
        quirk: f64,
        sort: &Sort,
        rows: &mut Vec<Item>,
        newer: Option<Item>,
    ) -> (Vec<i64>, Vec<usize>) {
        let tokens = Tokens::new(3, quirk);
        let (mut position, mut seen, mut sizes) = (Position::default(), Vec::new(), Vec::new());
        loop {
            let ask = Ask { tokens: &tokens, scope: "s", sort, position: &position, size: 7 };
            let (page, token) = ask.page(rows.iter().cloned(), false);
            sizes.push(page.len());
            seen.extend(page.iter().map(|item| item.1));
            if let (1, Some(newer)) = (sizes.len(), &newer) {
                rows.push(newer.clone());
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
    fn every_row_comes_once_and_in_order() {
        for descending in [false, true] {
            let (seen, sizes) = walk(0.0, &sort(descending), &mut rows(), None);
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
    fn quirks_make_pages_short_and_empty_and_lose_nothing() {
        let (mut seen, sizes) = walk(0.8, &sort(false), &mut rows(), None);
        assert!(sizes.contains(&0) && sizes.contains(&3) && sizes.contains(&7), "{sizes:?}");
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_eq!(walk(0.8, &sort(false), &mut rows(), None).1, sizes);
        walk(1.0, &sort(false), &mut rows(), None);
    }

    #[test]
    fn a_row_that_appears_meanwhile_moves_no_other() {
        let (seen, _) = walk(0.0, &sort(false), &mut rows(), Some(Item(99, 1000)));
        assert_eq!(seen.len(), 101);
        let (seen, _) = walk(0.0, &sort(false), &mut rows(), Some(Item(-1, 1000)));
        assert_eq!(seen.len(), 100, "before the border: not seen, and nothing doubled");
    }

    #[test]
    fn tokens_are_awkward_and_bound_to_their_list() {
        let tokens = Tokens::new(1, 0.0);
        let keys = vec![Key::Absent, Key::Number(-5), Key::text("ü"), Key::id("1001")];
        let position = Position { before: 3, seen: Some(keys.into_iter().map(owned).collect()) };
        let token = tokens.write("one", &position);
        for awkward in ['+', '/', '=', '&', '%', ' ', 'µ', '…'] {
            assert!(token.contains(awkward));
        }
        assert_eq!(tokens.read("one", &token).unwrap(), position);
        let mut garbled = token.clone();
        garbled.pop();
        for (scope, token) in
            [("two", token.as_str()), ("one", &garbled), ("one", ""), ("one", PREFIX)]
        {
            let error = tokens.read(scope, token).unwrap_err();
            assert_eq!((error.status, &*error.kind), (400, "BadRequestError"));
        }
        assert!(Tokens::new(2, 0.0).read("one", &token).is_err());
    }
}
