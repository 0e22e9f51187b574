//! The text form of a fault. The grammar is in the module above.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Fault, FaultKind};

const KINDS: &str = "400 to 599, error, unauthorized, forbidden, expired-token, hang, reset, close, \
     truncate, endless, drip, nonsense, html, redirect, slow, skew, refuse-token, repeat-token, \
     endless-pages";
/// Keys whose value runs to the end of the text.
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

/// The pieces of a text, each used up by whoever understands it.
struct Pieces<'a> {
    /// `500ms` of `slow:500ms`.
    value: Option<&'a str>,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Pieces<'a> {
    fn split(text: &'a str) -> Result<(&'a str, Self), String> {
        let end = text.find([':', ',']).unwrap_or(text.len());
        let (kind, mut rest) = text.split_at(end);
        let (mut value, mut pairs) = (None, Vec::new());
        let mut first = rest.starts_with(':');
        while let Some(after) = rest.get(1..) {
            let comma = after.find(',').unwrap_or(after.len());
            let piece = after.get(..comma).unwrap_or(after);
            match piece.split_once('=') {
                Some((key, _)) if GREEDY.contains(&key.trim()) => {
                    let (_, all) = after.split_once('=').unwrap_or_default();
                    pairs.push((key.trim(), all));
                    rest = "";
                    continue;
                }
                Some((key, part)) => pairs.push((key.trim(), part.trim())),
                None if first && !piece.is_empty() => value = Some(piece.trim()),
                None => return Err(format!("`{piece}` is not KEY=VALUE")),
            }
            first = false;
            rest = after.get(comma..).unwrap_or_default();
        }
        for (at, (key, _)) in pairs.iter().enumerate() {
            if pairs.iter().skip(at + 1).any(|(other, _)| other == key) {
                return Err(format!("`{key}` is given twice"));
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

    fn parsed<T: std::str::FromStr>(&mut self, key: &str, is: &str) -> Result<Option<T>, String> {
        let parse = |text: &str| text.parse().map_err(|_| format!("{key}={text} is not {is}"));
        self.take(key).map(parse).transpose()
    }

    fn duration(&mut self, kind: &str, default: Option<Duration>) -> Result<Duration, String> {
        match (self.value.take(), default) {
            (Some(text), _) => humantime::parse_duration(text)
                .map_err(|_| format!("`{text}` is not a time like 500ms or 10m")),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(format!("say how much, like {kind}:500ms")),
        }
    }
}

fn parse(text: &str) -> Result<Fault, String> {
    let (name, mut pieces) = Pieces::split(text)?;
    let mut fault = Fault::new(kind(name, &mut pieces)?);
    fault.operation = match pieces.take("op") {
        Some(operation) => Some(operation.parse()?),
        None => None,
    };
    fault.network = pieces.owned("network");
    fault.user = pieces.owned("user");
    fault.page = pieces.parsed("page", "a page number")?;
    fault.probability = pieces.parsed("p", "a probability from 0 to 1")?.unwrap_or(1.0);
    fault.times = pieces.parsed("times", "a number of times")?;
    fault.after = pieces.parsed("after", "a number of requests")?.unwrap_or(0);
    if fault.page == Some(0) {
        return Err("the first page is page=1".to_owned());
    }
    if !(0.0..=1.0).contains(&fault.probability) {
        return Err(format!("p={} is not a probability from 0 to 1", fault.probability));
    }
    if let Some(value) = pieces.value {
        return Err(format!("`{name}` takes no value such as `{value}`"));
    }
    if let Some((key, _)) = pieces.pairs.first() {
        return Err(format!("`{name}` knows no `{key}=`"));
    }
    Ok(fault)
}

fn kind(name: &str, pieces: &mut Pieces<'_>) -> Result<FaultKind, String> {
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
        "unauthorized" => Ok(refusal(401, "UnauthorizedError", "Unauthorized.", pieces)),
        "forbidden" => Ok(refusal(403, "ForbiddenError", "Forbidden.", pieces)),
        "expired-token" => {
            let message = "The security token included in the request is expired";
            Ok(refusal(403, "ExpiredTokenException", message, pieces))
        }
        "error" => {
            let status = pieces.parsed("status", "a status from 400 to 599")?;
            error(status.ok_or("say which, like error:status=400")?, pieces)
        }
        "drip" => pieces.duration(name, Some(DEFAULT_DRIP)).map(FaultKind::Drip),
        "slow" => pieces.duration(name, None).map(FaultKind::Slow),
        "skew" => skew(pieces).map(FaultKind::Skew),
        "nonsense" => {
            let body = pieces.take("body").unwrap_or(DEFAULT_NONSENSE);
            Ok(FaultKind::Nonsense(body.to_owned()))
        }
        "redirect" => {
            let location = pieces.take("location").unwrap_or(DEFAULT_LOCATION);
            let valid = http::HeaderValue::from_str(location).is_ok();
            valid
                .then(|| FaultKind::Redirect(location.to_owned()))
                .ok_or_else(|| format!("location={location} cannot stand in a header"))
        }
        other => match other.parse() {
            Ok(status) => error(status, pieces),
            Err(_) => Err(format!("no fault `{other}`; there are {KINDS}")),
        },
    }
}

fn error(status: u16, pieces: &mut Pieces<'_>) -> Result<FaultKind, String> {
    if !(400..600).contains(&status) {
        return Err(format!("{status} is not an error's status: 400 to 599"));
    }
    Ok(FaultKind::Error {
        status,
        name: pieces.owned("type"),
        message: pieces.owned("message"),
        retry_after: pieces.owned("retry-after"),
    })
}

fn refusal(status: u16, name: &str, message: &str, pieces: &mut Pieces<'_>) -> FaultKind {
    FaultKind::Error {
        status,
        name: Some(name.to_owned()),
        message: Some(pieces.take("message").unwrap_or(message).to_owned()),
        retry_after: None,
    }
}

/// humantime knows no sign.
fn skew(pieces: &mut Pieces<'_>) -> Result<SignedDuration, String> {
    let behind = pieces.value.and_then(|value| value.strip_prefix('-'));
    pieces.value = behind.or(pieces.value);
    let skew = SignedDuration::try_from(pieces.duration("skew", None)?)
        .map_err(|_| "that is more than a clock can be off".to_owned())?;
    Ok(if behind.is_some() { -skew } else { skew })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Operation;

    fn of(text: &str) -> Fault {
        text.parse().unwrap()
    }

    #[test]
    fn every_kind_has_a_text() {
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
            assert_eq!(of(text), Fault::new(kind), "{text}");
        }
    }

    #[test]
    fn errors_are_made_to_measure() {
        assert_eq!(of("500"), Fault::error(500));
        assert_eq!(of("429:retry-after=2"), of("429,retry-after=2"));
        let made = of("error:status=400,type=ValidationError,message=a, b=c");
        let expected = FaultKind::Error {
            status: 400,
            name: Some("ValidationError".to_owned()),
            message: Some("a, b=c".to_owned()),
            retry_after: None,
        };
        assert_eq!(made, Fault::new(expected));
        let FaultKind::Error { status, name, .. } = of("expired-token").kind else { panic!() };
        assert_eq!((status, name.as_deref()), (403, Some("ExpiredTokenException")));
        let FaultKind::Error { status, .. } = of("unauthorized").kind else { panic!() };
        assert_eq!(status, 401);
        let FaultKind::Error { status, .. } = of("forbidden").kind else { panic!() };
        assert_eq!(status, 403);
    }

    #[test]
    fn selectors_follow() {
        let text =
            "slow:2s,op=ListDevicesForUser,network=12345678,user=1001,page=3,p=0.1,times=2,after=4";
        let built = Fault::new(FaultKind::Slow(Duration::from_secs(2)))
            .operation(Operation::ListDevicesForUser)
            .network("12345678")
            .user("1001")
            .page(3)
            .probability(0.1)
            .times(2)
            .after(4);
        assert_eq!(of(text), built);
        assert_eq!(of("hang,times=1"), of("hang:times=1"));
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, message) in [
            ("", "no fault ``; there are 400 to 599, error"),
            ("explode", "no fault `explode`; there are"),
            ("200", "200 is not an error's status: 400 to 599"),
            ("error", "say which, like error:status=400"),
            ("error:status=abc", "status=abc is not a status from 400 to 599"),
            ("slow", "say how much, like slow:500ms"),
            ("slow:soon", "`soon` is not a time like 500ms or 10m"),
            ("500,retry", "`retry` is not KEY=VALUE"),
            ("500:", "`` is not KEY=VALUE"),
            ("500:2s", "`500` takes no value such as `2s`"),
            ("hang,retry-after=2", "`hang` knows no `retry-after=`"),
            ("hang,op=ListBots", "no operation `ListBots`; there are ListNetworks"),
            ("hang,p=2", "p=2 is not a probability from 0 to 1"),
            ("hang,p=often", "p=often is not a probability from 0 to 1"),
            ("hang,page=0", "the first page is page=1"),
            ("hang,times=1,times=2", "`times` is given twice"),
            ("hang,times=-1", "times=-1 is not a number of times"),
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.starts_with(&format!("fault `{text}`: ")), "{error}");
            assert!(error.contains(message), "{error}");
        }
    }
}
