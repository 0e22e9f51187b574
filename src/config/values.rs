//! Parsers for single values. An error message shows the value, shortened and escaped, unless it
//! could be secret.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::{
    filter::UsernamePattern,
    resolved::{ExternalId, NetworkSelector, SsoMaxIdle},
};
use crate::{
    diagnostics::nearest,
    wickr::{Endpoint, UserId},
};

const MAX_SHOWN_CHARS: usize = 60;

/// A parsed value, or an error message.
pub(super) type Parsed<T> = Result<T, String>;

/// A value as messages show it: on one line and shortened.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => shortened(&number.to_string()),
        DeValue::Float(number) => shortened(number.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        other => kind_of(other).to_owned(),
    }
}

/// `text` in quotes, shortened and escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String =
        chars.by_ref().take(MAX_SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// The kind of a value, with its article.
pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(list) if list.is_empty() => "an empty list",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn mismatch(expected: impl Display, value: &DeValue<'_>) -> String {
    format!("must be {expected}, not {}", shown(value))
}

/// Shows only the kind of another value: the string could be secret.
fn string<'v>(value: &'v DeValue<'_>) -> Parsed<&'v str> {
    match value {
        DeValue::String(text) => Ok(text),
        other => Err(format!("must be a string, not {}", kind_of(other))),
    }
}

pub(super) fn non_empty(value: &DeValue<'_>) -> Parsed<String> {
    match string(value)?.trim() {
        "" => Err("must not be empty".into()),
        _ => string(value).map(str::to_owned),
    }
}

pub(super) fn boolean(value: &DeValue<'_>) -> Parsed<bool> {
    match value {
        DeValue::Boolean(value) => Ok(*value),
        other => Err(mismatch("true or false", other)),
    }
}

pub(super) fn integer<T: TryFrom<i64>>(
    value: &DeValue<'_>,
    range: RangeInclusive<i64>,
) -> Parsed<T> {
    integer_or("", value, range)
}

/// `alternative` is the other value that the message mentions.
fn integer_or<T: TryFrom<i64>>(
    alternative: &str,
    value: &DeValue<'_>,
    range: RangeInclusive<i64>,
) -> Parsed<T> {
    as_i64(value)
        .filter(|number| range.contains(number))
        .and_then(|n| n.try_into().ok())
        .ok_or_else(|| {
            let (min, max) = range.into_inner();
            mismatch(format!("{alternative}an integer from {min} to {max}"), value)
        })
}

fn as_i64(value: &DeValue<'_>) -> Option<i64> {
    let DeValue::Integer(number) = value else { return None };
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// An integer in `range`; `None` for `"auto"`.
pub(super) fn integer_or_auto(
    value: &DeValue<'_>,
    range: RangeInclusive<i64>,
) -> Parsed<Option<u32>> {
    match value {
        DeValue::String(text) if text == "auto" => Ok(None),
        value => integer_or(r#""auto" or "#, value, range).map(Some),
    }
}

/// Requests per second. The pause between two requests does not overflow at the minimum.
pub(super) fn rate(value: &DeValue<'_>) -> Parsed<f64> {
    let number = match value {
        DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
        other => as_i64(other).map(|number| number as f64),
    };
    number
        .filter(|number| (0.001..=1_000_000.0).contains(number))
        .ok_or_else(|| mismatch("a number from 0.001 to 1000000", value))
}

pub(super) fn duration(value: &DeValue<'_>, range: RangeInclusive<Duration>) -> Parsed<Duration> {
    duration_or("", value, range)
}

/// `alternative` is the other value that the message mentions.
fn duration_or(
    alternative: &str,
    value: &DeValue<'_>,
    range: RangeInclusive<Duration>,
) -> Parsed<Duration> {
    let has_unit = match value {
        DeValue::String(text) => match humantime::parse_duration(text) {
            Ok(duration) if range.contains(&duration) => return Ok(duration),
            _ => text.trim().parse::<f64>().is_err(),
        },
        DeValue::Integer(_) | DeValue::Float(_) => false,
        _ => true,
    };
    let (min, max) = (brief(*range.start()), brief(*range.end()));
    let expected =
        format!(r#"{alternative}a duration from {min} to {max}, such as "90s" or "1h 30m""#);
    let hint = if has_unit { "" } else { "; add a unit" };
    Err(mismatch(expected, value) + hint)
}

pub(super) fn max_idle(value: &DeValue<'_>, range: RangeInclusive<Duration>) -> Parsed<SsoMaxIdle> {
    match value {
        DeValue::String(text) if text == "security-groups" => Ok(SsoMaxIdle::SecurityGroups),
        value => duration_or(r#""security-groups" or "#, value, range).map(SsoMaxIdle::Fixed),
    }
}

/// A duration in its largest units, to the millisecond: `15m`, `1h 30m`, `250ms`.
pub(super) fn brief(duration: Duration) -> String {
    const UNITS: [(&str, u128); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut rest = duration.as_millis();
    let mut parts = Vec::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            parts.push(format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

/// A network id or `"all"`.
pub(super) fn network_selector(value: &DeValue<'_>) -> Parsed<NetworkSelector> {
    match is_all(value)? {
        true => Ok(NetworkSelector::All),
        false => id(value).map(NetworkSelector::One),
    }
}

/// Whether the value is `"all"` and not a list. Does not check the list's elements.
pub(super) fn all_or_list(value: &DeValue<'_>) -> Parsed<bool> {
    match value {
        DeValue::Array(_) => Ok(false),
        value if is_all(value)? => Ok(true),
        other => Err(mismatch(r#"a list of ids, such as ["1001", "1002"], or "all""#, other)),
    }
}

/// A user id in a list.
pub(super) fn user_id(value: &DeValue<'_>) -> Parsed<UserId> {
    match is_all(value) {
        Ok(false) => id(value),
        _ => Err(r#""all" cannot be in a list; set users = "all""#.into()),
    }
}

/// Whether the value is `"all"`; an error for other capitalization.
fn is_all(value: &DeValue<'_>) -> Parsed<bool> {
    match value {
        DeValue::String(text) if text == "all" => Ok(true),
        DeValue::String(text) if text.trim().eq_ignore_ascii_case("all") => {
            Err(mismatch(r#"lowercase "all""#, value))
        }
        _ => Ok(false),
    }
}

/// An id, as a string of digits or as an integer.
fn id<T: FromStr<Err: Display>>(value: &DeValue<'_>) -> Parsed<T> {
    let digits = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        other => return Err(mismatch("an id in quotes", other)),
    };
    digits.parse().map_err(|error| format!("{} is not valid: {error}", shown(value)))
}

/// A string that `T` parses. Its error says what it must be.
pub(super) fn parsed<T: FromStr<Err: Display>>(value: &DeValue<'_>) -> Parsed<T> {
    let text = string(value)?;
    text.parse().map_err(|error| format!("{error}, not {}", quoted(text)))
}

/// The path of a file, which need not exist.
pub(super) fn path(value: &DeValue<'_>) -> Parsed<PathBuf> {
    let text = non_empty(value)?;
    match text.contains('\0') {
        true => Err("must not contain a NUL character".into()),
        false => Ok(text.into()),
    }
}

pub(super) fn username_pattern(value: &DeValue<'_>) -> Parsed<UsernamePattern> {
    let text = non_empty(value)?;
    text.parse().map_err(|error| format!("{} is {error}", quoted(&text)))
}

/// Whether `text` can be the name of a region, known or not. It becomes part of a host name.
pub fn is_region(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= 63
        && text.bytes().all(allowed)
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
}

pub(super) fn region(value: &DeValue<'_>) -> Parsed<String> {
    let text = string(value)?;
    let expected = r#"a region name of lowercase letters, digits and hyphens, such as "us-east-1""#;
    is_region(text).then(|| text.to_owned()).ok_or_else(|| mismatch(expected, value))
}

/// The ARN of an IAM role in any partition.
pub(super) fn role_arn(value: &DeValue<'_>) -> Parsed<String> {
    let text = string(value)?;
    let expected = r#"the ARN of a role, such as "arn:aws:iam::111122223333:role/wickr-read""#;
    is_role_arn(text).then(|| text.to_owned()).ok_or_else(|| mismatch(expected, value))
}

fn is_role_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, resource) =
        (next(), next(), next(), next(), next(), next());
    let partition_char = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    // IAM's rule for role names and paths.
    let name_char = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b);
    let role = resource.strip_prefix("role/").unwrap_or_default();
    arn == "arn"
        && (partition == "aws" || partition.starts_with("aws-"))
        && partition.bytes().all(partition_char)
        && (service, region) == ("iam", "")
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && !role.is_empty()
        && !role.ends_with('/')
        && role.bytes().all(name_char)
}

/// An external id. It could be secret, so the message does not show it.
pub(super) fn external_id(value: &DeValue<'_>) -> Parsed<ExternalId> {
    let text = string(value)?;
    // The rule of STS.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    match (2..=1224).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(ExternalId::new(text)),
        false => Err("must be 2 to 1224 letters, digits or any of _+=,.@:/-".into()),
    }
}

/// An endpoint. It could contain a password, so the message does not show it.
pub(super) fn endpoint(value: &DeValue<'_>) -> Parsed<Endpoint> {
    Endpoint::parse(string(value)?)
}

/// An IANA time zone, in any case.
pub(super) fn timezone(value: &DeValue<'_>) -> Parsed<TimeZone> {
    let name = string(value)?;
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC); // must be equal to the default
    }
    TimeZone::get(name).map_err(|_| {
        let known = jiff::tz::db().available().map(|name| name.as_str().to_owned());
        let hint = nearest(name, known.collect::<Vec<_>>())
            .map_or_else(String::new, |near| format!("; did you mean {}?", quoted(&near)));
        mismatch(r#"an IANA time zone, such as "UTC" or "America/New_York""#, value) + &hint
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_role_arns() {
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
    fn formats_durations_in_their_largest_units() {
        let brief = |millis| super::brief(Duration::from_millis(millis));
        assert_eq!(brief(0), "0s");
        assert_eq!(brief(250), "250ms");
        assert_eq!(brief(900_000), "15m");
        assert_eq!(brief(5_400_000), "1h 30m");
        assert_eq!(brief(86_400_000 * 30), "30d");
    }

    #[test]
    fn escapes_and_shortens_quoted_values() {
        assert_eq!(quoted("a\n\u{1b}[31m\"b\""), r#""a\n\u{1b}[31m\"b\"""#);
        assert_eq!(quoted(&"x".repeat(61)), format!("\"{}…\"", "x".repeat(60)));
    }
}
