//! Members of the responses that collectors read.

use jiff::tz::TimeZone;
use serde_json::Value;
use wickr_exporter::wickr::{
    ApiTimestamp, InvalidField,
    lenient::{Count, Flag, Items, Month, Number, Object, Presence, Text, Time},
};

/// Every value of a response, read as each kind of member, equals what serde_json's tree has.
pub fn collectors(data: &[u8]) {
    let Ok(tree) = serde_json::from_slice::<Value>(data) else {
        // A body that is not JSON, or not JSON that the tree accepts.
        let _ = serde_json::from_slice::<Object>(data).map(|object| object.booleans());
        let _ = serde_json::from_slice::<Items<Count>>(data);
        let _ = serde_json::from_slice::<Text>(data);
        let _ = serde_json::from_slice::<Time>(data);
        return;
    };
    each_value(&tree, &mut check);
}

fn each_value(value: &Value, check: &mut impl FnMut(&Value)) {
    check(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| each_value(item, check)),
        Value::Object(members) => members.values().for_each(|member| each_value(member, check)),
        _ => {}
    }
}

fn read<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn check(value: &Value) {
    let json = value.to_string();
    let text = value.as_str();
    // serde_json can read a float as its neighbour, so both sides read the same text.
    let number = value.is_number().then(|| read::<f64>(&json));
    assert_eq!(read::<Count>(&json).0, count(text, number), "{json}");
    let finite = |text: &str| text.trim().parse().ok().filter(|number: &f64| number.is_finite());
    assert_eq!(read::<Number>(&json).0, number.or(text.and_then(finite)), "{json}");
    let flag = text.map(|text| text.trim().to_ascii_lowercase());
    let flag = match flag.as_deref() {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => value.as_bool(),
    };
    assert_eq!(read::<Flag>(&json).0, flag, "{json}");
    let shown = number.and_then(whole).map(|number| number.to_string());
    let shown = text.filter(|text| !text.is_empty()).map(str::to_owned).or(shown);
    assert_eq!(read::<Text>(&json).0.as_deref(), shown.as_deref(), "{json}");
    let is_present = text.is_some_and(|text| !text.chars().all(char::is_whitespace));
    assert_eq!(read::<Presence>(&json).0, is_present, "{json}");
    assert_eq!(read::<Month>(&json).0, text.and_then(month), "{json}");
    check_items_and_members(value, &json);
    check_time(value, &json);
}

fn check_items_and_members(value: &Value, json: &str) {
    let items = read::<Items<Count>>(json).0.map(|items| items.len());
    assert_eq!(items, value.as_array().map(Vec::len), "{json}");
    let object: Object = read(json);
    let mut expected = Vec::new();
    for (name, member) in value.as_object().into_iter().flatten() {
        assert_eq!(object.get::<Count>(name), read(&member.to_string()), "{json}");
        expected.extend(member.as_bool().map(|on| (name.clone(), on)));
        for (nested, member) in member.as_object().into_iter().flatten() {
            expected.extend(member.as_bool().map(|on| (format!("{name}.{nested}"), on)));
        }
    }
    let mut booleans = object.booleans();
    booleans.sort();
    expected.sort();
    assert_eq!(booleans, expected, "{json}");
}

fn check_time(value: &Value, json: &str) {
    let mut reported = None;
    let report = |invalid: InvalidField| reported = Some(invalid);
    let time = read::<Time>(json).timestamp("time", &TimeZone::UTC, report);
    match value {
        Value::Null => assert_eq!(time, ApiTimestamp::NEVER),
        Value::String(text) => {
            assert_eq!(time, ApiTimestamp::from_text(text, &TimeZone::UTC), "{json}");
        }
        Value::Number(_) => assert_eq!(time, ApiTimestamp::from_number(read(json)), "{json}"),
        _ => assert_eq!(time, ApiTimestamp::INVALID, "{json}"),
    }
    super::service::check_range(time);
    assert_eq!(reported.is_some(), time == ApiTimestamp::INVALID, "{json}");
    if let Some(invalid) = reported {
        super::service::check_form(&invalid);
    }
}

fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number <= 2_f64.powi(53) && number == number.trunc()).then_some(number as u64)
}

fn count(text: Option<&str>, number: Option<f64>) -> Option<u64> {
    let digits = |text: &str| {
        let text = text.trim();
        let digits = text.strip_prefix('+').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let add = |sum: u64, byte: u8| sum.checked_mul(10)?.checked_add(u64::from(byte - b'0'));
        is_number.then(|| digits.bytes().try_fold(0, add)).flatten()
    };
    number.and_then(whole).or(text.and_then(digits))
}

/// `2024_01`.
fn month(text: &str) -> Option<(u16, u8)> {
    let bytes = text.as_bytes();
    let is_digit = |index: usize| bytes[index].is_ascii_digit();
    let is_month =
        bytes.len() == 7 && bytes[4] == b'_' && [0, 1, 2, 3, 5, 6].into_iter().all(is_digit);
    let month = is_month.then(|| (text[..4].parse().unwrap(), text[5..].parse().unwrap()));
    month.filter(|(_, month)| (1..=12).contains(month))
}
