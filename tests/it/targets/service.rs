//! Responses of the Wickr API, or of another server in its place.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;
use wickr_exporter::{
    query::iso,
    wickr::{
        ApiTimestamp, Device, ErrorKind, Interner, InvalidField, Operation, Response,
        SecurityGroup, classify, devices_page, networks_page, security_groups_page, users_page,
    },
};

/// The limit of items in a page.
const MAX_ITEMS: usize = 1_000;

type Page = (Vec<Device>, Option<String>);

fn read_devices(body: &[u8]) -> (Result<Page, String>, Vec<InvalidField>) {
    let (interner, mut invalid) = (Interner::default(), Vec::new());
    let page = devices_page(body, &interner, &TimeZone::UTC, &mut |field| invalid.push(field));
    (page.map_err(|error| error.to_string()), invalid)
}

/// Pages of devices equal serde_json's tree, and reports of invalid fields do not contain values.
pub fn devices(data: &[u8]) {
    let (page, invalid) = read_devices(data);
    invalid.iter().for_each(check_form);
    if let Ok((devices, token)) = &page {
        assert!(devices.len() <= MAX_ITEMS && token.as_deref() != Some(""));
        devices.iter().flat_map(|device| [device.created, device.last_login]).for_each(check_range);
    }
    // serde_json rejects more: numbers out of range, lone surrogates.
    let Ok(tree) = serde_json::from_slice::<Value>(data) else { return };
    // Serialization removes duplicate members, so that the expected values are unambiguous.
    let (again, _) = read_devices(tree.to_string().as_bytes());
    let items = items(&tree, "devices", false);
    assert_eq!(again.is_ok(), items.is_some(), "{again:?}");
    let Ok((devices, token)) = &page else { return };
    let (again, same_token) = again.unwrap();
    assert_eq!((devices.len(), token), (again.len(), &same_token));
    let items = items.unwrap_or_default();
    let items: Vec<_> = items.iter().filter(|item| item.is_object()).collect();
    assert_eq!(devices.len(), items.len());
    assert_eq!(token.as_deref(), tree["nextToken"].as_str().filter(|token| !token.is_empty()));
    for (device, item) in devices.iter().zip(items) {
        let text = |member| item[member].as_str().filter(|text: &&str| !text.is_empty());
        assert_eq!(device.app_id, text("appId").map(Into::into));
        assert_eq!(&**device.device_type(), text("type").unwrap_or("unknown"));
        assert_eq!(&**device.status(), text("statusText").unwrap_or_default());
        assert_eq!(device.suspended(), item["suspend"].as_bool());
        for (stamp, value) in
            [(device.created, &item["created"]), (device.last_login, &item["lastLogin"])]
        {
            match value {
                Value::Null => assert_eq!(stamp, ApiTimestamp::NEVER),
                Value::String(text) => {
                    assert_eq!(stamp, ApiTimestamp::from_text(text, &TimeZone::UTC))
                }
                Value::Number(_) => {}
                _ => assert_eq!(stamp, ApiTimestamp::INVALID),
            }
        }
    }
}

/// The items of a page, or `None` if it is not a valid page.
fn items<'t>(tree: &'t Value, member: &str, requires_list: bool) -> Option<&'t [Value]> {
    let page = tree.as_object()?;
    let token = match page.get("nextToken") {
        None | Some(Value::Null) => None,
        Some(token) => Some(token.as_str()?),
    };
    let items = match page.get(member) {
        None | Some(Value::Null) => None,
        Some(items) => Some(items.as_array().filter(|items| items.len() <= MAX_ITEMS)?.as_slice()),
    };
    let has_member = page.contains_key("nextToken") || page.contains_key(member);
    let has_list_or_token = items.is_some() || token.is_some_and(|token| !token.is_empty());
    let is_page = has_member || page.is_empty();
    (is_page && (has_list_or_token || !requires_list)).then_some(items.unwrap_or_default())
}

/// Pages of users, networks and security groups: the parsers agree with serde_json.
pub fn directory(data: &[u8]) {
    let token_of = |tree: &Value| {
        tree["nextToken"].as_str().filter(|token| !token.is_empty()).map(str::to_owned)
    };
    let groups_page = |data: &[u8]| {
        let page = security_groups_page(data, |_| ());
        page.map(|(groups, token)| (groups.len(), SecurityGroup::parse_all(&groups).ok(), token))
    };
    let (users, networks, groups) = (users_page(data), networks_page(data), groups_page(data));
    let Ok(tree) = serde_json::from_slice::<Value>(data) else {
        if let Ok((users, _)) = users {
            assert!(users.len() <= MAX_ITEMS);
        }
        return;
    };
    let canonical = tree.to_string();
    let text = |item: &Value, member: &str| match &item[member] {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    };
    let is_id = |id: &String, counts: std::ops::RangeInclusive<usize>| {
        counts.contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit())
    };

    let again = users_page(canonical.as_bytes());
    let listed = items(&tree, "users", true);
    assert_eq!(again.is_ok(), listed.is_some(), "{again:?}");
    if let (Ok((users, token)), Some(listed)) = (users, listed) {
        assert_eq!(users, again.unwrap().0);
        assert_eq!((users.len(), token), (listed.len(), token_of(&tree)));
        for (user, item) in users.iter().zip(listed) {
            let id = text(item, "userId").filter(|id| is_id(id, 1..=10));
            assert_eq!(user.id.as_ref().map(|id| id.as_str()), id.as_deref());
            assert_eq!(user.username, text(item, "username"));
            assert!(user.groups.len() <= item["securityGroups"].as_array().map_or(0, Vec::len));
        }
    }

    let again = networks_page(canonical.as_bytes());
    let listed = items(&tree, "networks", true);
    assert_eq!(again.is_ok(), listed.is_some(), "{again:?}");
    if let (Ok((networks, token)), Some(listed)) = (networks, listed) {
        assert_eq!(networks, again.unwrap().0);
        assert_eq!((networks.len(), token), (listed.len(), token_of(&tree)));
        for (network, item) in networks.iter().zip(listed) {
            let id = text(item, "networkId").filter(|id| is_id(id, 8..=8));
            assert_eq!(network.as_ref().map(|network| network.id.as_str()), id.as_deref());
        }
    }

    let again = groups_page(canonical.as_bytes());
    let listed = items(&tree, "securityGroups", true);
    assert_eq!(again.is_ok(), listed.is_some(), "{again:?}");
    if let (Ok((count, groups, token)), Some(listed)) = (groups, listed) {
        assert_eq!(groups, again.unwrap().1);
        assert_eq!((count, token), (listed.len(), token_of(&tree)));
        let have_ids = listed.iter().all(|item| text(item, "id").is_some());
        assert_eq!(groups.is_some(), have_ids);
        for (group, item) in groups.iter().flatten().zip(listed) {
            assert_eq!(Some(&group.id), text(item, "id").as_ref());
            let limit = item["securityGroupSettings"]["ssoMaxIdleMinutes"].as_u64();
            if let Some(minutes) = limit.filter(|minutes| *minutes < 1 << 50) {
                let limit = Duration::from_secs(60 * minutes);
                assert_eq!(group.sso_max_idle, Some(limit).filter(|limit| !limit.is_zero()));
            }
            assert_ne!(group.sso_max_idle, Some(Duration::ZERO), "0 is no limit");
        }
    }
}

/// The start of the year 10000.
const END: i64 = 253_402_300_800_000;

/// A report of an invalid field quotes no value.
pub(super) fn check_form(InvalidField { field, form }: &InvalidField) {
    let allowed = ["not a string, number or boolean", "not an object", "boolean", "null"];
    let form = form.strip_prefix("number ").unwrap_or(form);
    let shape = |c: char| "9a?".contains(c) || c == ' ' || c.is_ascii_punctuation();
    assert!(allowed.contains(&form) || form.chars().all(shape), "{field}: {form}");
    assert!(form.len() <= 48, "{field}: {form}");
}

pub(super) fn check_range(stamp: ApiTimestamp) {
    if let Some(millis) = stamp.millis() {
        assert!((0..END).contains(&millis), "{millis}");
    }
}

/// Timestamps: a byte that selects the time zone, and a text.
pub fn timestamps(data: &[u8]) {
    let Some((zone, text)) = data.split_first() else { return };
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia"];
    let zone = TimeZone::get(zones[usize::from(*zone) % zones.len()]).unwrap();
    if let Ok(number) = <[u8; 8]>::try_from(text) {
        check_range(ApiTimestamp::from_number(f64::from_le_bytes(number)));
    }
    let Ok(text) = std::str::from_utf8(text) else { return };
    let stamp = ApiTimestamp::from_text(text, &zone);
    check_range(stamp);
    if text.trim().is_empty() {
        assert_eq!(stamp, ApiTimestamp::NEVER);
    }
    let Some(millis) = stamp.millis() else { return };
    // jiff's parsers are independent of the exporter's.
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let local = if is_number {
        None
    } else if text.as_bytes()[0].is_ascii_digit() {
        let text = at_most_nanoseconds(text);
        // RFC 3339 has an offset.
        if text.len() > 19 && text[19..].contains(['z', 'Z', '+', '-']) {
            let read: Timestamp = text.parse().unwrap();
            assert_eq!(read.as_millisecond(), millis, "{text}");
            None
        } else {
            Some(text.parse::<DateTime>().unwrap())
        }
    } else {
        let (date, time) = text.split_once(", ").unwrap();
        let (day, year) = date.rsplit_once(' ').unwrap();
        let day = day.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let plain = format!("{day} {year}, {time}");
        Some(DateTime::strptime("%B %d %Y, %I:%M:%S %p", &plain).unwrap())
    };
    if let Some(local) = local {
        assert_eq!(zone.to_timestamp(local).unwrap().as_millisecond(), millis, "{text}");
    }
    // Each format of this time parses to the same time.
    let seconds = ApiTimestamp::at_millis(millis / 1000 * 1000);
    assert_eq!(ApiTimestamp::from_text(&iso(millis), &zone), stamp, "{text}");
    if millis >= 100_000_000_000 {
        assert_eq!(ApiTimestamp::from_text(&millis.to_string(), &zone), stamp, "{text}");
    }
    if millis >= 1000 && millis / 1000 < 100_000_000_000 {
        assert_eq!(ApiTimestamp::from_text(&(millis / 1000).to_string(), &zone), seconds, "{text}");
    }
    let utc = TimeZone::UTC.to_datetime(Timestamp::from_millisecond(millis).unwrap());
    let english = utc.strftime("%B %-d# %Y, %-I:%M:%S %P").to_string();
    let ordinal = match utc.day() {
        1 | 21 | 31 => "st",
        2 | 22 => "nd",
        3 | 23 => "rd",
        _ => "th",
    };
    let expected = if millis < 1000 { ApiTimestamp::NEVER } else { seconds };
    let english = english.replace('#', ordinal);
    assert_eq!(ApiTimestamp::from_text(&english, &TimeZone::UTC), expected, "{english}");
}

/// The text with at most 9 digits of fractional seconds, the limit of jiff.
fn at_most_nanoseconds(text: &str) -> String {
    let Some((before, rest)) = text.split_once('.') else { return text.to_owned() };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    format!("{before}.{}{}", &rest[..digits.min(9)], &rest[digits..])
}

const SECRET: &str = "s3cr3t/K3y+x";
const TOKEN: &str = "t0k3n=/AbCdEf";
const KEY_ID: &str = "AKIDEXAMPLE";
const PAGE: &str = "v1:p4g3t0k3n";

/// Error responses: the status, a line for each header, an empty line, and the body. Messages contain
/// no secret in any encoding.
pub fn errors(data: &[u8]) {
    let (head, body) = split_head(data);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(400);
    let Ok(status) = StatusCode::from_u16(status) else { return };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let (name, value) = (HeaderName::try_from(name), HeaderValue::try_from(value.trim()));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let response = Response { status, headers, body: body.to_vec().into() };
    let credentials = Credentials::new(KEY_ID, SECRET, Some(TOKEN.into()), None, "test");
    let local = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    for (signed, operation) in [
        (local, Operation::ListDevicesForUser),
        (local + Duration::from_secs(3600), Operation::ListUsers),
    ] {
        let error = classify(operation, &response, &credentials, Some(PAGE), signed);
        assert_eq!(error.status, Some(status.as_u16()));
        assert!(ErrorKind::ALL.contains(&error.kind));
        let text = error.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(!error.message.is_empty() && error.message.chars().count() <= 301, "{text:?}");
        let plain = |text: &str| -> String {
            text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
        };
        let parts = [plain(&error.message), plain(error.code.as_deref().unwrap_or_default())];
        for secret in [SECRET, TOKEN, KEY_ID, PAGE].map(plain) {
            assert!(!parts.iter().any(|part| part.contains(&secret)), "{text:?}");
        }
        if let Some(code) = &error.code {
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
            assert!((1..=64).contains(&code.len()) && code.bytes().all(is_name), "{code:?}");
        }
        if error.clock_ahead.is_some() {
            assert_eq!(error.kind, ErrorKind::Unauthorized);
        }
        // A 404 of a gateway must not remove a user.
        if error.kind == ErrorKind::NotFound {
            let is_object =
                serde_json::from_slice::<Value>(body).is_ok_and(|body| body.is_object());
            assert!(error.code.is_some() || is_object);
        }
    }
}

/// The text before an empty line, and the bytes after it.
pub fn split_head(data: &[u8]) -> (String, &[u8]) {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (head, body) =
        end.map_or((data, &data[data.len()..]), |end| (&data[..end], &data[end + 2..]));
    (String::from_utf8_lossy(head).into_owned(), body)
}
