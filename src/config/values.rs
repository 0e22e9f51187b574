//! Parsers for single values. An error message shows the value, shortened and escaped, unless it
//! could be secret.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use jiff::tz::TimeZone;

use super::{
    filter::UsernamePattern,
    resolved::{ExternalId, NetworkSelector, SsoMaxIdle},
};
use crate::{
    diagnostics::{Parsed, Value, nearest, quoted},
    text::format_duration,
    wickr::{Endpoint, SESSION_NAME_RULE, UserId, is_session_name},
};

fn mismatch(expected: impl Display, value: &Value) -> String {
    format!("must be {expected}, not {}", value.shown())
}

pub(super) fn non_empty(value: &Value) -> Parsed<String> {
    match value.string()?.trim() {
        "" => Err("must not be empty".into()),
        _ => value.string().map(str::to_owned),
    }
}

pub(super) fn boolean(value: &Value) -> Parsed<bool> {
    value.boolean().ok_or_else(|| mismatch("true or false", value))
}

pub(super) fn integer<T: TryFrom<i64>>(value: &Value, range: RangeInclusive<i64>) -> Parsed<T> {
    integer_or("", value, range)
}

/// `alternative` is the other value that the message mentions.
fn integer_or<T: TryFrom<i64>>(
    alternative: &str,
    value: &Value,
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

fn as_i64(value: &Value) -> Option<i64> {
    let Value::Integer(_, number) = value else { return None };
    *number
}

/// An integer in `range`; `None` for `"auto"`.
pub(super) fn integer_or_auto(value: &Value, range: RangeInclusive<i64>) -> Parsed<Option<u32>> {
    match value {
        Value::String(text) if text == "auto" => Ok(None),
        value => integer_or(r#""auto" or "#, value, range).map(Some),
    }
}

/// Requests per second. The pause between two requests does not overflow at the minimum.
pub(super) fn rate(value: &Value) -> Parsed<f64> {
    let number = match value {
        Value::Float(text) => text.parse::<f64>().ok(),
        other => as_i64(other).map(|number| number as f64),
    };
    number
        .filter(|number| (0.001..=1_000_000.0).contains(number))
        .ok_or_else(|| mismatch("a number from 0.001 to 1000000", value))
}

pub(super) fn duration(value: &Value, range: RangeInclusive<Duration>) -> Parsed<Duration> {
    duration_or("", value, range)
}

/// `alternative` is the other value that the message mentions.
fn duration_or(
    alternative: &str,
    value: &Value,
    range: RangeInclusive<Duration>,
) -> Parsed<Duration> {
    let has_unit = match value {
        Value::String(text) => match humantime::parse_duration(text) {
            Ok(duration) if range.contains(&duration) => return Ok(duration),
            _ => text.trim().parse::<f64>().is_err(),
        },
        Value::Integer(..) | Value::Float(_) => false,
        _ => true,
    };
    let (min, max) = (format_duration(*range.start()), format_duration(*range.end()));
    let expected =
        format!(r#"{alternative}a duration from {min} to {max}, such as "90s" or "1h 30m""#);
    let hint = if has_unit { "" } else { "; add a unit" };
    Err(mismatch(expected, value) + hint)
}

pub(super) fn max_idle(value: &Value, range: RangeInclusive<Duration>) -> Parsed<SsoMaxIdle> {
    match value {
        Value::String(text) if text == "security-groups" => Ok(SsoMaxIdle::SecurityGroups),
        value => duration_or(r#""security-groups" or "#, value, range).map(SsoMaxIdle::Fixed),
    }
}

/// A network id or `"all"`.
pub(super) fn network_selector(value: &Value) -> Parsed<NetworkSelector> {
    match is_all(value)? {
        true => Ok(NetworkSelector::All),
        false => id(value).map(NetworkSelector::One),
    }
}

/// Whether the value is `"all"` and not a list. Does not check the list's elements.
pub(super) fn all_or_list(value: &Value) -> Parsed<bool> {
    match value {
        Value::List(_) => Ok(false),
        value if is_all(value)? => Ok(true),
        other => Err(mismatch(r#"a list of ids, such as ["1001", "1002"], or "all""#, other)),
    }
}

/// A user id in a list.
pub(super) fn user_id(value: &Value) -> Parsed<UserId> {
    match is_all(value) {
        Ok(false) => id(value),
        _ => Err(r#""all" cannot be in a list; set users = "all""#.into()),
    }
}

/// Whether the value is `"all"`; an error for other capitalization.
fn is_all(value: &Value) -> Parsed<bool> {
    match value {
        Value::String(text) if text == "all" => Ok(true),
        Value::String(text) if text.trim().eq_ignore_ascii_case("all") => {
            Err(mismatch(r#"lowercase "all""#, value))
        }
        _ => Ok(false),
    }
}

/// An id, as a string of digits or as an integer.
fn id<T: FromStr<Err: Display>>(value: &Value) -> Parsed<T> {
    let digits = match value {
        Value::String(text) | Value::Integer(text, _) => text,
        other => return Err(mismatch("an id in quotes", other)),
    };
    digits.parse().map_err(|error| format!("{} is not valid: {error}", value.shown()))
}

/// A string that `T` parses. Its error says what it must be.
pub(super) fn parsed<T: FromStr<Err: Display>>(value: &Value) -> Parsed<T> {
    let text = value.string()?;
    text.parse().map_err(|error| format!("{error}, not {}", quoted(text)))
}

/// The path of a file, which need not exist.
pub(super) fn path(value: &Value) -> Parsed<PathBuf> {
    let text = non_empty(value)?;
    match text.contains('\0') {
        true => Err("must not contain a NUL character".into()),
        false => Ok(text.into()),
    }
}

pub(super) fn username_pattern(value: &Value) -> Parsed<UsernamePattern> {
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

pub(super) fn region(value: &Value) -> Parsed<String> {
    let text = value.string()?;
    let expected = r#"a region name of lowercase letters, digits and hyphens, such as "us-east-1""#;
    is_region(text).then(|| text.to_owned()).ok_or_else(|| mismatch(expected, value))
}

/// The ARN of an IAM role in any partition.
pub(super) fn role_arn(value: &Value) -> Parsed<String> {
    let text = value.string()?;
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
pub(super) fn external_id(value: &Value) -> Parsed<ExternalId> {
    let text = value.string()?;
    // The rule of STS.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    match (2..=1224).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(ExternalId::new(text)),
        false => Err("must be 2 to 1224 letters, digits or any of _+=,.@:/-".into()),
    }
}

/// A session name of an assumed role.
pub(super) fn role_session_name(value: &Value) -> Parsed<String> {
    let text = value.string()?;
    is_session_name(text)
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{SESSION_NAME_RULE}, not {}", value.shown()))
}

/// An endpoint. It could contain a password, so the message does not show it.
pub(super) fn endpoint(value: &Value) -> Parsed<Endpoint> {
    Endpoint::parse(value.string()?)
}

/// An IANA time zone, in any case.
pub(super) fn timezone(value: &Value) -> Parsed<TimeZone> {
    let name = value.string()?;
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
}
