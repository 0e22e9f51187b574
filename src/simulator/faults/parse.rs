//! Parsing the text form of a fault, which the parent module documents.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Fault, FaultKind};

const KINDS: &str = "400 to 599, error, unauthorized, forbidden, expired-token, hang, reset, close, \
     truncate, endless, drip, nonsense, html, redirect, slow, skew, refuse-token, repeat-token, \
     endless-pages";
/// Keys whose value is the rest of the text.
const GREEDY: [&str; 3] = ["body", "message", "location"];
const DEFAULT_DRIP: Duration = Duration::from_millis(50);
const DEFAULT_NONSENSE: &str = "<<< this is not JSON >>>";
const DEFAULT_LOCATION: &str = "http://127.0.0.1:9/elsewhere";

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map_err(|problem| format!("fault `{text}`: {problem}"))
    }
}

/// The unparsed parts of a text. Parsing removes them; the rest is an error.
struct Parts<'a> {
    /// `500ms` of `slow:500ms`.
    value: Option<&'a str>,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<(&'a str, Self), String> {
        let end = text.find([':', ',']).unwrap_or(text.len());
        let (kind, mut rest) = text.split_at(end);
        let (mut value, mut pairs) = (None, Vec::new());
        let mut first = rest.starts_with(':');
        while let Some(after) = rest.get(1..) {
            let comma = after.find(',').unwrap_or(after.len());
            let part = after.get(..comma).unwrap_or(after);
            match part.split_once('=') {
                Some((key, _)) if GREEDY.contains(&key.trim()) => {
                    let (_, all) = after.split_once('=').unwrap_or_default();
                    pairs.push((key.trim(), all));
                    rest = "";
                    continue;
                }
                Some((key, value)) => pairs.push((key.trim(), value.trim())),
                None if first && !part.is_empty() => value = Some(part.trim()),
                None => return Err(format!("`{part}` is not KEY=VALUE")),
            }
            first = false;
            rest = after.get(comma..).unwrap_or_default();
        }
        for (at, (key, _)) in pairs.iter().enumerate() {
            if pairs.iter().skip(at + 1).any(|(other, _)| other == key) {
                return Err(format!("`{key}` is set twice"));
            }
        }
        Ok((kind.trim(), Self { value, pairs }))
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let at = self.pairs.iter().position(|(name, _)| *name == key)?;
        Some(self.pairs.remove(at).1)
    }

    fn owned(&mut self, key: &str) -> Option<String> {
        self.take(key).map(str::to_owned)
    }

    fn parsed<T: std::str::FromStr>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, String> {
        let parse =
            |text: &str| text.parse().map_err(|_| format!("{key}={text} is not {expected}"));
        self.take(key).map(parse).transpose()
    }

    fn duration(&mut self, kind: &str, default: Option<Duration>) -> Result<Duration, String> {
        match (self.value.take(), default) {
            (Some(text), _) => humantime::parse_duration(text)
                .map_err(|_| format!("`{text}` is not a duration like 500ms or 10m")),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(format!("a duration is required, like {kind}:500ms")),
        }
    }
}

fn parse(text: &str) -> Result<Fault, String> {
    let (name, mut parts) = Parts::split(text)?;
    let mut fault = Fault::new(kind(name, &mut parts)?);
    fault.operation = match parts.take("op") {
        Some(operation) => Some(operation.parse()?),
        None => None,
    };
    fault.network = parts.owned("network");
    fault.user = parts.owned("user");
    fault.page = parts.parsed("page", "a page number")?;
    fault.probability = parts.parsed("p", "a probability from 0 to 1")?.unwrap_or(1.0);
    fault.times = parts.parsed("times", "a number of times")?;
    fault.after = parts.parsed("after", "a number of requests")?.unwrap_or(0);
    if fault.page == Some(0) {
        return Err("pages start at page=1".to_owned());
    }
    if !(0.0..=1.0).contains(&fault.probability) {
        return Err(format!("p={} is not a probability from 0 to 1", fault.probability));
    }
    if let Some(value) = parts.value {
        return Err(format!("`{name}` has no value, but got `{value}`"));
    }
    if let Some((key, _)) = parts.pairs.first() {
        return Err(format!("`{name}` has no key `{key}`"));
    }
    Ok(fault)
}

fn kind(name: &str, parts: &mut Parts<'_>) -> Result<FaultKind, String> {
    let simple = match name {
        "hang" => Some(FaultKind::Hang),
        "reset" => Some(FaultKind::Reset),
        "close" => Some(FaultKind::Close),
        "truncate" => Some(FaultKind::Truncate),
        "endless" => Some(FaultKind::Endless),
        "html" => Some(FaultKind::Html),
        "refuse-token" => Some(FaultKind::RefuseToken),
        "repeat-token" => Some(FaultKind::RepeatToken),
        "endless-pages" => Some(FaultKind::EndlessPages),
        _ => None,
    };
    if let Some(kind) = simple {
        return Ok(kind);
    }
    match name {
        "unauthorized" => Ok(refusal(401, "UnauthorizedError", "Unauthorized.", parts)),
        "forbidden" => Ok(refusal(403, "ForbiddenError", "Forbidden.", parts)),
        "expired-token" => {
            let message = "The security token included in the request is expired";
            Ok(refusal(403, "ExpiredTokenException", message, parts))
        }
        "error" => {
            let status = parts.parsed("status", "a status from 400 to 599")?;
            error(status.ok_or("a status is required, like error:status=400")?, parts)
        }
        "drip" => parts.duration(name, Some(DEFAULT_DRIP)).map(FaultKind::Drip),
        "slow" => parts.duration(name, None).map(FaultKind::Slow),
        "skew" => skew(parts).map(FaultKind::Skew),
        "nonsense" => {
            let body = parts.take("body").unwrap_or(DEFAULT_NONSENSE);
            Ok(FaultKind::Nonsense(body.to_owned()))
        }
        "redirect" => {
            let location = parts.take("location").unwrap_or(DEFAULT_LOCATION);
            let valid = http::HeaderValue::from_str(location).is_ok();
            valid
                .then(|| FaultKind::Redirect(location.to_owned()))
                .ok_or_else(|| format!("location={location} is not a valid header value"))
        }
        other => match other.parse() {
            Ok(status) => error(status, parts),
            Err(_) => Err(format!("unknown fault `{other}`; known are {KINDS}")),
        },
    }
}

fn error(status: u16, parts: &mut Parts<'_>) -> Result<FaultKind, String> {
    if !(400..600).contains(&status) {
        return Err(format!("{status} is not an error status (400 to 599)"));
    }
    Ok(FaultKind::Error {
        status,
        name: parts.owned("type"),
        message: parts.owned("message"),
        retry_after: parts.owned("retry-after"),
    })
}

fn refusal(status: u16, name: &str, message: &str, parts: &mut Parts<'_>) -> FaultKind {
    FaultKind::Error {
        status,
        name: Some(name.to_owned()),
        message: Some(parts.take("message").unwrap_or(message).to_owned()),
        retry_after: None,
    }
}

/// Parses the sign, which humantime does not support.
fn skew(parts: &mut Parts<'_>) -> Result<SignedDuration, String> {
    let behind = parts.value.and_then(|value| value.strip_prefix('-'));
    parts.value = behind.or(parts.value);
    let skew = SignedDuration::try_from(parts.duration("skew", None)?)
        .map_err(|_| "the offset is too large".to_owned())?;
    Ok(if behind.is_some() { -skew } else { skew })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Operation;

    fn parsed(text: &str) -> Fault {
        text.parse().unwrap()
    }

    #[test]
    fn parses_every_kind() {
        for (text, kind) in [
            ("hang", FaultKind::Hang),
            ("reset", FaultKind::Reset),
            ("close", FaultKind::Close),
            ("truncate", FaultKind::Truncate),
            ("endless", FaultKind::Endless),
            ("drip", FaultKind::Drip(DEFAULT_DRIP)),
            ("drip:1s", FaultKind::Drip(Duration::from_secs(1))),
            ("nonsense", FaultKind::Nonsense(DEFAULT_NONSENSE.to_owned())),
            (
                "nonsense:body={\"a\": 1, \"b\"=2}",
                FaultKind::Nonsense("{\"a\": 1, \"b\"=2}".to_owned()),
            ),
            ("nonsense:body=", FaultKind::Nonsense(String::new())),
            ("html", FaultKind::Html),
            ("redirect", FaultKind::Redirect(DEFAULT_LOCATION.to_owned())),
            (
                "redirect:location=http://a/?b=c,d",
                FaultKind::Redirect("http://a/?b=c,d".to_owned()),
            ),
            ("slow:500ms", FaultKind::Slow(Duration::from_millis(500))),
            ("skew:10m", FaultKind::Skew(SignedDuration::from_mins(10))),
            ("skew:-10m", FaultKind::Skew(SignedDuration::from_mins(-10))),
            ("refuse-token", FaultKind::RefuseToken),
            ("repeat-token", FaultKind::RepeatToken),
            ("endless-pages", FaultKind::EndlessPages),
        ] {
            assert_eq!(parsed(text), Fault::new(kind), "{text}");
        }
    }

    #[test]
    fn parses_errors_with_their_keys() {
        assert_eq!(parsed("429:retry-after=2"), parsed("429,retry-after=2"));
        let custom = parsed("error:status=400,type=ValidationError,message=a, b=c");
        let expected = FaultKind::Error {
            status: 400,
            name: Some("ValidationError".to_owned()),
            message: Some("a, b=c".to_owned()),
            retry_after: None,
        };
        assert_eq!(custom, Fault::new(expected));
        let FaultKind::Error { status, name, .. } = parsed("expired-token").kind else { panic!() };
        assert_eq!((status, name.as_deref()), (403, Some("ExpiredTokenException")));
        let FaultKind::Error { status, .. } = parsed("unauthorized").kind else { panic!() };
        assert_eq!(status, 401);
        let FaultKind::Error { status, .. } = parsed("forbidden").kind else { panic!() };
        assert_eq!(status, 403);
    }

    #[test]
    fn parses_selectors() {
        let text =
            "slow:2s,op=ListDevicesForUser,network=12345678,user=1001,page=3,p=0.1,times=2,after=4";
        let expected = Fault {
            kind: FaultKind::Slow(Duration::from_secs(2)),
            operation: Some(Operation::ListDevicesForUser),
            network: Some("12345678".to_owned()),
            user: Some("1001".to_owned()),
            page: Some(3),
            probability: 0.1,
            times: Some(2),
            after: 4,
        };
        assert_eq!(parsed(text), expected);
        assert_eq!(parsed("hang,times=1"), parsed("hang:times=1"));
    }

    #[test]
    fn explains_invalid_faults() {
        for (text, message) in [
            ("", "unknown fault ``; known are 400 to 599, error"),
            ("explode", "unknown fault `explode`; known are"),
            ("200", "200 is not an error status (400 to 599)"),
            ("error", "a status is required, like error:status=400"),
            ("error:status=abc", "status=abc is not a status from 400 to 599"),
            ("slow", "a duration is required, like slow:500ms"),
            ("slow:soon", "`soon` is not a duration like 500ms or 10m"),
            ("500,retry", "`retry` is not KEY=VALUE"),
            ("500:", "`` is not KEY=VALUE"),
            ("500:2s", "`500` has no value, but got `2s`"),
            ("hang,retry-after=2", "`hang` has no key `retry-after`"),
            ("hang,op=DeleteBot", "unknown operation `DeleteBot`; known are ListNetworks"),
            ("hang,p=2", "p=2 is not a probability from 0 to 1"),
            ("hang,p=often", "p=often is not a probability from 0 to 1"),
            ("hang,page=0", "pages start at page=1"),
            ("hang,times=1,times=2", "`times` is set twice"),
            ("hang,times=-1", "times=-1 is not a number of times"),
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.starts_with(&format!("fault `{text}`: ")), "{error}");
            assert!(error.contains(message), "{error}");
        }
    }
}
