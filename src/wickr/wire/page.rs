//! Pages of lists.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::Page;

/// Limit of items on a page. The service returns at most 100.
const MAX_ITEMS: usize = 1_000;

/// Parses a page: the items of the list `field`, and the token of the next page.
///
/// The service can omit an empty list. An object that has neither the list nor a token, but other
/// fields, is not a page. With `require_list`, the last page must have the list, so that an empty
/// object does not remove all users.
pub(super) fn page<'de, T: Deserialize<'de>>(
    body: &'de [u8],
    field: &'static str,
    require_list: bool,
) -> Page<T> {
    let Ok(text) = std::str::from_utf8(body) else {
        // Returns an error with the position.
        let error = serde_json::from_slice::<serde_json::Value>(body).err();
        return Err(error.unwrap_or_else(|| serde_json::Error::custom("invalid UTF-8")));
    };
    // From text, which is not checked for UTF-8 again in each value.
    let mut json = serde_json::Deserializer::from_str(text);
    let (items, token) = json.deserialize_map(PageVisitor { field, items: PhantomData })?;
    json.end()?;
    if require_list && items.is_none() && token.is_none() {
        return Err(serde_json::Error::missing_field(field));
    }
    Ok((items.unwrap_or_default(), token))
}

struct PageVisitor<T> {
    field: &'static str,
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
            if key == self.field {
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
            return Err(A::Error::missing_field(self.field));
        }
        let items = items.map(|Items(items)| items);
        Ok((items, token.filter(|token| !token.is_empty())))
    }
}

/// At most [`MAX_ITEMS`] items.
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
            if items.len() == MAX_ITEMS {
                return Err(A::Error::custom("too many items on a page"));
            }
            items.push(item);
        }
        Ok(Items(items))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, value::RawValue};

    use super::*;

    #[test]
    fn missing_null_and_empty_tokens_end_the_list() {
        for json in [
            "{}",
            r#" {"devices": null, "nextToken": null}"#,
            r#"{"nextToken": ""}"#,
            r#"{"devices": [], "message": "x"}"#,
        ] {
            let (items, token) = page::<&RawValue>(json.as_bytes(), "devices", false).unwrap();
            assert!(items.is_empty() && token.is_none(), "{json}");
        }
    }

    #[test]
    fn rejects_other_structures_and_invalid_json() {
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
            assert!(page::<&RawValue>(bad.as_bytes(), "devices", false).is_err(), "{bad}");
        }
        for bad in
            [&b"{\"devices\": [{\"type\": [\"\xff\"]}]}"[..], b"{\"devices\": [], \"x\": \"\xc3\"}"]
        {
            let error = page::<&RawValue>(bad, "devices", false).unwrap_err();
            assert!(error.is_syntax() && error.column() > 0, "{error}");
        }
    }

    #[test]
    fn requires_a_list_on_the_last_page() {
        for bad in ["{}", r#"{"users": null}"#, r#"{"nextToken": ""}"#] {
            assert!(page::<Value>(bad.as_bytes(), "users", true).is_err(), "{bad}");
        }
        assert!(page::<Value>(br#"{"nextToken": "x"}"#, "users", true).is_ok());
    }

    #[test]
    fn limits_the_items_of_a_page() {
        let body = |count| format!(r#"{{"devices": [{}]}}"#, vec!["{}"; count].join(","));
        let parse = |count| page::<Value>(body(count).as_bytes(), "devices", false);
        assert_eq!(parse(MAX_ITEMS).unwrap().0.len(), MAX_ITEMS);
        assert!(parse(MAX_ITEMS + 1).is_err());
    }
}
