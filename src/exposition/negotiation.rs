//! Content negotiation by `Accept` and `Accept-Encoding` (RFC 9110, section 12.5).

use super::{Encoding, Format};

/// The best format for an `Accept` header.
///
/// The highest quality wins, then the more specific range, then the first one. If nothing is
/// acceptable, it is the text format, as in other exporters.
pub fn format_for(accept: &str) -> Format {
    let rank = |format: Format| {
        let best = ranges(accept)
            .enumerate()
            .filter_map(|(index, range)| {
                Some((range.specificity(format)?, std::cmp::Reverse(index), range.quality))
            })
            .max_by_key(|(specificity, index, _)| (*specificity, *index));
        // RFC 9110: the most specific matching range sets the quality.
        best.map(|(specificity, index, quality)| (quality, specificity, index))
            .filter(|(quality, ..)| *quality > 0)
    };
    if rank(Format::OpenMetrics) > rank(Format::Text) { Format::OpenMetrics } else { Format::Text }
}

/// The best encoding for an `Accept-Encoding` header. The highest quality wins, then gzip, which more
/// clients read completely. An encoding with a lower quality than `identity` is not used.
pub fn encoding_for(accept_encoding: &str) -> Encoding {
    let quality_of = |names: &[&str]| {
        let mut ranges = ranges(accept_encoding);
        ranges
            .find(|range| names.iter().any(|name| range.name.eq_ignore_ascii_case(name)))
            .map(|range| range.quality)
    };
    let any = quality_of(&["*"]);
    let mut best = (Encoding::Identity, quality_of(&["identity"]).unwrap_or(0).max(1));
    for (encoding, quality) in [
        (Encoding::Zstd, quality_of(&["zstd"]).or(any)),
        (Encoding::Gzip, quality_of(&["gzip", "x-gzip"]).or(any)),
    ] {
        if let Some(quality) = quality.filter(|quality| *quality >= best.1) {
            best = (encoding, quality);
        }
    }
    best.0
}

/// One element of a header.
#[derive(Debug)]
struct Range<'a> {
    name: &'a str,
    /// Its parameters without the quality.
    parameters: Vec<(&'a str, &'a str)>,
    /// In thousandths.
    quality: u16,
}

impl Range<'_> {
    /// How specifically it matches `format`. None if it does not match.
    fn specificity(&self, format: Format) -> Option<u8> {
        let (exact, family, version) = match format {
            Format::Text => ("text/plain", "text/*", "0.0.4"),
            Format::OpenMetrics => ("application/openmetrics-text", "application/*", "1.0.0"),
        };
        let parameter = |key: &str| {
            self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|p| p.1)
        };
        let matches = parameter("version").is_none_or(|value| value == version)
            && parameter("charset").is_none_or(|value| value.eq_ignore_ascii_case("utf-8"));
        match self.name {
            name if name.eq_ignore_ascii_case(exact) && matches => {
                Some(if parameter("version").is_some() { 4 } else { 3 })
            }
            name if name.eq_ignore_ascii_case(family) => Some(2),
            "*/*" | "*" => Some(1),
            _ => None,
        }
    }
}

/// The valid elements of a header.
fn ranges(header: &str) -> impl Iterator<Item = Range<'_>> {
    header.split(',').filter_map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let mut range = Range { name, parameters: Vec::new(), quality: 1000 };
        for part in parts {
            let (key, value) = part.split_once('=')?;
            let (key, value) = (key.trim(), value.trim().trim_matches('"'));
            if key.eq_ignore_ascii_case("q") {
                let quality: f64 = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?;
                range.quality = (quality * 1000.0).round() as u16;
            } else {
                range.parameters.push((key, value));
            }
        }
        Some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_best_acceptable_format() {
        use Format::*;
        for (accept, format) in [
            ("", Text),
            ("*/*", Text),
            ("text/plain", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", OpenMetrics),
            ("application/openmetrics-text;version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/openmetrics-text;version=2.0.0,*/*;q=0.1", Text),
            ("text/plain;q=0.5, application/openmetrics-text;q=0.4", Text),
            ("text/plain;q=0.4, application/openmetrics-text;q=0.5", OpenMetrics),
            ("text/plain, application/openmetrics-text", Text),
            ("application/openmetrics-text, text/plain", OpenMetrics),
            ("text/plain;q=0, */*", OpenMetrics),
            ("application/*", OpenMetrics),
            ("text/*;q=0.2, application/*;q=0.3", OpenMetrics),
            ("text/html, application/xhtml+xml, */*;q=0.8", Text),
            ("application/json", Text),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=nonsense, text/plain;q=0.1", Text),
            (";;;,,q=1,", Text),
            // Prometheus 2.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            // Prometheus 3, with protobuf first.
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            (
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4",
                Text,
            ),
        ] {
            assert_eq!(format_for(accept), format, "{accept}");
        }
    }

    #[test]
    fn chooses_the_encoding_with_the_highest_quality() {
        use Encoding::*;
        for (accept, encoding) in [
            ("", Identity),
            ("gzip", Gzip),
            ("GZIP", Gzip),
            ("x-gzip", Gzip),
            ("deflate, gzip;q=0.5", Gzip),
            ("gzip;q=0", Identity),
            ("*", Gzip),
            ("*, gzip;q=0", Zstd),
            ("*;q=0", Identity),
            ("identity", Identity),
            ("identity, gzip;q=0.5", Identity),
            ("identity;q=0.5, gzip;q=0.5", Gzip),
            ("br", Identity),
            ("zstd", Zstd),
            ("zstd;q=0.9, gzip;q=0.8", Zstd),
            ("zstd;q=0.8, gzip;q=0.9", Gzip),
            ("zstd, gzip;q=0", Zstd),
            ("identity, zstd;q=0.5", Identity),
            // Browsers.
            ("gzip, deflate, br, zstd", Gzip),
        ] {
            assert_eq!(encoding_for(accept), encoding, "{accept}");
        }
    }
}
