//! Single values: what each must look like, and the sentence for what does not.
//!
//! A sentence shows the value, shortened and escaped, unless it could be a secret.

use std::{ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::{
    filter::UsernamePattern,
    reader::Told,
    shape::nearest,
    used::{ExternalId, NetworkChoice, SsoMaxIdle},
};
use crate::wickr::{Endpoint, UserId};

/// Characters of a value that a message repeats.
const SHOWN_CHARS: usize = 60;

/// A value as a message repeats it: on one line, and not all of a long one.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => shortened(&number.to_string()),
        DeValue::Float(number) => shortened(number.as_str()),
        DeValue::Boolean(truth) => truth.to_string(),
        other => kind_of(other).to_owned(),
    }
}

/// `text` in quotes, shortened and escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// What kind of value it is, with its article.
pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn string<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    match value {
        DeValue::String(text) => Ok(text),
        other => Err(format!("must be a string, not {}", kind_of(other))),
    }
}

/// Any text that is not empty.
pub(super) fn text(value: &DeValue<'_>) -> Told<String> {
    match string(value)?.trim() {
        "" => Err("must not be empty".into()),
        _ => string(value).map(str::to_owned),
    }
}

/// `true` or `false`.
pub(super) fn truth(value: &DeValue<'_>) -> Told<bool> {
    match value {
        DeValue::Boolean(truth) => Ok(*truth),
        other => Err(format!("must be true or false, not {}", kind_of(other))),
    }
}

/// A whole number in `range`.
pub(super) fn whole<T: TryFrom<i64>>(value: &DeValue<'_>, range: RangeInclusive<i64>) -> Told<T> {
    whole_or("", value, range)
}

/// A whole number in `range`, where `or` begins the sentence about anything else.
fn whole_or<T: TryFrom<i64>>(or: &str, value: &DeValue<'_>, range: RangeInclusive<i64>) -> Told<T> {
    let wrong = |found: &str| {
        let (least, most) = range.clone().into_inner();
        format!("must be {or}a whole number from {least} to {most}, not {found}")
    };
    let DeValue::Integer(number) = value else { return Err(wrong(kind_of(value))) };
    i64::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|number| range.contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| wrong(&shown(value)))
}

/// A whole number in `range`, or `"auto"`, which is None.
pub(super) fn whole_or_auto(value: &DeValue<'_>, range: RangeInclusive<i64>) -> Told<Option<u32>> {
    match value {
        DeValue::String(text) if text == "auto" => Ok(None),
        value => whole_or(r#""auto" or "#, value, range).map(Some),
    }
}

/// A rate a second. The least is far above where the pause between two requests would overflow.
pub(super) fn rate(value: &DeValue<'_>) -> Told<f64> {
    let wrong = |found: &str| format!("must be a number from 0.001 to 1000000, not {found}");
    let number = match value {
        DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64)
        }
        other => return Err(wrong(kind_of(other))),
    };
    number
        .filter(|number| (0.001..=1_000_000.0).contains(number))
        .ok_or_else(|| wrong(&shown(value)))
}

/// A duration with its unit, in `range`.
pub(super) fn duration(value: &DeValue<'_>, range: RangeInclusive<Duration>) -> Told<Duration> {
    duration_or("", value, range)
}

/// A duration in `range`, where `or` begins the sentence about anything else.
fn duration_or(or: &str, value: &DeValue<'_>, range: RangeInclusive<Duration>) -> Told<Duration> {
    let wrong = |found: &str| {
        let (least, most) = (brief(*range.start()), brief(*range.end()));
        format!(
            r#"must be {or}a duration from {least} to {most}, written like "90s" or "1h 30m", not {found}"#
        )
    };
    let without_unit = |number: &str| {
        format!(r#"must be {or}a duration with its unit, such as "5m"; {number} has none"#)
    };
    match value {
        DeValue::String(text) => match humantime::parse_duration(text) {
            Ok(duration) if range.contains(&duration) => Ok(duration),
            _ if text.trim().parse::<f64>().is_ok() => Err(without_unit(&shown(value))),
            _ => Err(wrong(&shown(value))),
        },
        DeValue::Integer(_) | DeValue::Float(_) => Err(without_unit(&shown(value))),
        other => Err(wrong(kind_of(other))),
    }
}

/// `"security-groups"`, or a duration in `range`.
pub(super) fn max_idle(value: &DeValue<'_>, range: RangeInclusive<Duration>) -> Told<SsoMaxIdle> {
    match value {
        DeValue::String(text) if text == "security-groups" => Ok(SsoMaxIdle::SecurityGroups),
        value => duration_or(r#""security-groups" or "#, value, range).map(SsoMaxIdle::Fixed),
    }
}

/// A duration to the millisecond, in the fewest words: `15m`, `1h 30m`, `250ms`.
pub(super) fn brief(duration: Duration) -> String {
    const UNITS: [(&str, u128); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut rest = duration.as_millis();
    let mut words = Vec::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            words.push(format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if words.is_empty() { "0s".into() } else { words.join(" ") }
}

/// The id of a network, or `"all"`.
pub(super) fn network_choice(value: &DeValue<'_>) -> Told<NetworkChoice> {
    match is_all(value)? {
        true => Ok(NetworkChoice::All),
        false => id(value).map(NetworkChoice::One),
    }
}

/// Whether it is `"all"` rather than a list of users. The list itself is not looked into.
pub(super) fn all_or_list(value: &DeValue<'_>) -> Told<bool> {
    let wrong = |found: &str| {
        Err(format!(r#"must be a list of ids, such as ["1001", "1002"], or "all", not {found}"#))
    };
    match value {
        DeValue::Array(_) => Ok(false),
        value if is_all(value)? => Ok(true),
        DeValue::String(_) => wrong(&shown(value)),
        other => wrong(kind_of(other)),
    }
}

/// The id of a user in a list of them.
pub(super) fn user_id(value: &DeValue<'_>) -> Told<UserId> {
    match is_all(value) {
        Ok(false) => id(value),
        _ => Err(r#""all" is every user and not one of a list; write users = "all""#.into()),
    }
}

/// Whether it is `"all"`; an error if it is that in capitals.
fn is_all(value: &DeValue<'_>) -> Told<bool> {
    match value {
        DeValue::String(text) if text == "all" => Ok(true),
        DeValue::String(text) if text.trim().eq_ignore_ascii_case("all") => {
            Err(format!(r#"must be written as "all", not {}"#, quoted(text)))
        }
        _ => Ok(false),
    }
}

/// An id, as a string of digits or as an integer.
fn id<T: FromStr<Err: ToString>>(value: &DeValue<'_>) -> Told<T> {
    let digits = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        other => return Err(format!("must be an id in quotes, not {}", kind_of(other))),
    };
    digits
        .parse()
        .map_err(|bad: T::Err| format!("{} is not valid: {}", shown(value), bad.to_string()))
}

/// Anything that reads itself from a string and says what it expected.
pub(super) fn parsed<T: FromStr<Err: ToString>>(value: &DeValue<'_>) -> Told<T> {
    let text = string(value)?;
    text.parse().map_err(|bad: T::Err| format!("{}, not {}", bad.to_string(), quoted(text)))
}

/// The path of a file, which need not be there.
pub(super) fn path(value: &DeValue<'_>) -> Told<PathBuf> {
    let text = text(value)?;
    match text.contains('\0') {
        true => Err("must be a path, and no path has a NUL character in it".into()),
        false => Ok(text.into()),
    }
}

/// A pattern for user names.
pub(super) fn username_pattern(value: &DeValue<'_>) -> Told<UsernamePattern> {
    let text = text(value)?;
    text.parse().map_err(|bad| format!("{} is {bad}", quoted(&text)))
}

/// Whether a text can be the name of a region, known or not: AWS opens new ones. It becomes a part
/// of a host name.
pub fn is_region(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= 63
        && text.bytes().all(allowed)
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
}

/// The name of a region.
pub(super) fn region(value: &DeValue<'_>) -> Told<String> {
    let text = string(value)?;
    match is_region(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            r#"must be a region's name in lowercase letters, digits and dashes, such as "us-east-1", not {}"#,
            quoted(text)
        )),
    }
}

/// The ARN of an IAM role, of any partition.
pub(super) fn role_arn(value: &DeValue<'_>) -> Told<String> {
    let text = string(value)?;
    match is_role_arn(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            r#"must be the ARN of a role, such as "arn:aws:iam::111122223333:role/wickr-read", not {}"#,
            quoted(text)
        )),
    }
}

fn is_role_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, resource) =
        (next(), next(), next(), next(), next(), next());
    let partition_good = (partition == "aws" || partition.starts_with("aws-"))
        && partition.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    // IAM's own rule for role names and their paths, and the slash between them.
    let name_char = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b);
    let role = resource.strip_prefix("role/").unwrap_or_default();
    arn == "arn"
        && partition_good
        && (service, region) == ("iam", "")
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && !role.is_empty()
        && !role.ends_with('/')
        && role.bytes().all(name_char)
}

/// The external id of a role. It may be a secret between two parties: never repeated.
pub(super) fn external_id(value: &DeValue<'_>) -> Told<ExternalId> {
    let text = string(value)?;
    // STS's own rule.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    match (2..=1224).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(ExternalId::new(text)),
        false => Err("must be 2 to 1224 letters, digits or any of _+=,.@:/-".into()),
    }
}

/// An endpoint. Its address may hold a password by mistake: never repeated.
pub(super) fn endpoint(value: &DeValue<'_>) -> Told<Endpoint> {
    Endpoint::parse(string(value)?)
}

/// A time zone by its IANA name, in any case.
pub(super) fn timezone(value: &DeValue<'_>) -> Told<TimeZone> {
    let name = string(value)?;
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC); // the default's own value, equal to it
    }
    TimeZone::get(name).map_err(|_| {
        let known = jiff::tz::db().available().map(|name| name.as_str().to_owned());
        let hint = nearest(name, known.collect::<Vec<_>>())
            .map_or_else(String::new, |near| format!("; did you mean {}?", quoted(&near)));
        format!(
            r#"must be an IANA time zone, such as "UTC" or "America/New_York", not {}{hint}"#,
            quoted(name)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_arns() {
        for good in [
            "arn:aws:iam::111122223333:role/wickr-read",
            "arn:aws-us-gov:iam::111122223333:role/a/path/R_+=,.@-1",
            "arn:aws-iso-b:iam::111122223333:role/x",
        ] {
            assert!(is_role_arn(good), "{good}");
        }
        for bad in [
            "",
            "arn",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role/x/",
            "arn:aws:iam::111122223333:user/x",
            "arn:aws:iam::11112222333:role/x",
            "arn:aws:iam::11112222333a:role/x",
            "arn:aws:iam:us-east-1:111122223333:role/x",
            "arn:aws:sts::111122223333:assumed-role/x/y",
            "arn:gcp:iam::111122223333:role/x",
            "arn:aws:iam::111122223333:role/x y",
            " arn:aws:iam::111122223333:role/x",
        ] {
            assert!(!is_role_arn(bad), "{bad}");
        }
    }

    #[test]
    fn durations_are_brief() {
        let brief = |millis| super::brief(Duration::from_millis(millis));
        assert_eq!(brief(0), "0s");
        assert_eq!(brief(250), "250ms");
        assert_eq!(brief(900_000), "15m");
        assert_eq!(brief(5_400_000), "1h 30m");
        assert_eq!(brief(86_400_000 * 30), "30d");
    }

    #[test]
    fn a_shown_value_stays_on_its_line_and_short() {
        assert_eq!(quoted("a\n\u{1b}[31m\"b\""), r#""a\n\u{1b}[31m\"b\"""#);
        assert_eq!(quoted(&"x".repeat(61)), format!("\"{}…\"", "x".repeat(60)));
    }
}
