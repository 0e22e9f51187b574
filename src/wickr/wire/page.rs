//! Pages: the items of a list, and the way to the next page.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// The most items that a page may hold. The service's holds a hundred.
const MOST_ITEMS: usize = 1_000;

/// Reads a page: the items of the list called `member`, and the token of the next page.
///
/// A missing token is the end. A user without devices may have no list of them at all, as AWS's SDKs
/// have it; but an answer that has neither list nor token, and something else instead, is no page.
/// Where `lists_always`, there must be a list if no page follows: that an organisation is gone is not
/// to be concluded from an empty object.
pub(super) fn page<'de, T: Deserialize<'de>>(
    body: &'de [u8],
    member: &'static str,
    lists_always: bool,
) -> serde_json::Result<(Vec<T>, Option<String>)> {
    if std::str::from_utf8(body).is_err() {
        // What is skipped below is not looked at. This looks at everything, and says where it is no JSON.
        serde_json::from_slice::<serde_json::Value>(body)?;
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let (items, token) = json.deserialize_map(PageVisitor { member, items: PhantomData })?;
    json.end()?;
    if lists_always && items.is_none() && token.is_none() {
        return Err(serde_json::Error::missing_field(member));
    }
    Ok((items.unwrap_or_default(), token))
}

struct PageVisitor<T> {
    member: &'static str,
    items: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for PageVisitor<T> {
    type Value = (Option<Vec<T>>, Option<String>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut token) = (None, None);
        let (mut is_page, mut is_empty) = (false, true);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            is_empty = false;
            if key == self.member {
                is_page = true;
                items = map.next_value::<Option<Items<T>>>()?;
            } else if key == "nextToken" {
                is_page = true;
                token = map.next_value::<Option<String>>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if !is_page && !is_empty {
            return Err(A::Error::missing_field(self.member));
        }
        let items = items.map(|Items(items)| items);
        Ok((items, token.filter(|token| !token.is_empty())))
    }
}

/// The items of a page, not more than there may be.
struct Items<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor(PhantomData))
    }
}

struct ItemsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ItemsVisitor<T> {
    type Value = Items<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MOST_ITEMS {
                return Err(A::Error::custom("too many items on a page"));
            }
            items.push(item);
        }
        Ok(Items(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wickr::wire::{RawDevice, User};

    #[test]
    fn pages_end_with_a_missing_null_or_empty_token() {
        for json in [
            "{}",
            r#" {"devices": null, "nextToken": null}"#,
            r#"{"nextToken": ""}"#,
            r#"{"devices": [], "message": "x"}"#,
        ] {
            let (items, token) = page::<RawDevice<'_>>(json.as_bytes(), "devices", false).unwrap();
            assert!(items.is_empty() && token.is_none(), "{json}");
        }
        for bad in [
            "[]",
            "null",
            "\"x\"",
            r#"{"devices": {}}"#,
            r#"{"nextToken": 7}"#,
            r#"{"message": "Service is being deployed"}"#,
            r#"{"users": [{}]}"#,
            r#"{"devices": []} x"#,
            "{",
            "<html>",
            "",
        ] {
            assert!(page::<RawDevice<'_>>(bad.as_bytes(), "devices", false).is_err(), "{bad}");
        }
        for no_list in ["{}", r#"{"users": null}"#, r#"{"nextToken": ""}"#] {
            assert!(page::<User>(no_list.as_bytes(), "users", true).is_err(), "{no_list}");
        }
        let more = r#"{"nextToken": "x"}"#;
        assert!(page::<User>(more.as_bytes(), "users", true).is_ok(), "an empty page of several");
        for skipped in
            [&b"{\"devices\": [{\"type\": [\"\xff\"]}]}"[..], b"{\"devices\": [], \"x\": \"\xc3\"}"]
        {
            let bad = page::<RawDevice<'_>>(skipped, "devices", false).unwrap_err();
            assert!(bad.is_syntax() && bad.column() > 0, "JSON is UTF-8 all through: {bad}");
        }
        let many = format!(r#"{{"devices": [{}{{}}]}}"#, "{},".repeat(MOST_ITEMS));
        assert!(page::<RawDevice<'_>>(many.as_bytes(), "devices", false).is_err());
        let most = many.replacen("{},", "", 1);
        let (items, _) = page::<RawDevice<'_>>(most.as_bytes(), "devices", false).unwrap();
        assert_eq!(items.len(), MOST_ITEMS);
    }
}
