//! Verification of response bodies, outside the timed sections.

use std::{collections::BTreeMap, io::Read as _};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::bufread::MultiGzDecoder;

/// Decodes a complete body.
pub(crate) fn decode(body: Vec<u8>, encoding: Option<&str>) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    match encoding {
        None | Some("identity") => return Ok(body),
        Some("gzip") => {
            let mut rest = body.as_slice();
            // A body can have several gzip members or zstd frames.
            MultiGzDecoder::new(&mut rest).read_to_end(&mut plain).context("invalid gzip")?;
            ensure!(rest.is_empty(), "trailing data after gzip");
        }
        Some("zstd") => {
            zstd::Decoder::new(body.as_slice())
                .and_then(|mut decoder| decoder.read_to_end(&mut plain))
                .context("invalid zstd")?;
        }
        Some(other) => bail!("unexpected encoding: {other}"),
    }
    Ok(plain)
}

/// Numbers of samples.
#[derive(Debug)]
pub(crate) struct SampleCounts {
    pub(crate) series: u64,
    by_name: BTreeMap<Vec<u8>, u64>,
}

/// Counts the samples of an exposition. Fails if it is incomplete.
pub(crate) fn count_samples(text: &[u8], openmetrics: bool) -> Result<SampleCounts> {
    ensure!(text.ends_with(b"\n"), "the last line is incomplete");
    ensure!(text.ends_with(b"\n# EOF\n") == openmetrics, "missing or unexpected # EOF");
    let mut counts = SampleCounts { series: 0, by_name: BTreeMap::new() };
    // Families are contiguous, so the map is accessed once per family.
    let (mut name, mut count): (&[u8], u64) = (b"", 0);
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if line.starts_with(b"#") {
            continue;
        }
        let end = line.iter().position(|byte| b"{ ".contains(byte)).context("no value")?;
        if name != &line[..end] {
            *counts.by_name.entry(name.to_vec()).or_default() += count;
            (name, count) = (&line[..end], 0);
        }
        let value = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        let value = std::str::from_utf8(value).ok().and_then(|value| value.parse::<f64>().ok());
        ensure!(value.is_some(), "invalid value: {}", String::from_utf8_lossy(line));
        count += 1;
        counts.series += 1;
    }
    *counts.by_name.entry(name.to_vec()).or_default() += count;
    Ok(counts)
}

impl SampleCounts {
    /// Fails if a family has another number of samples.
    pub(crate) fn check(&self, series: &[(&str, u64)]) -> Result<()> {
        for (name, expected) in series {
            let found = self.by_name.get(name.as_bytes()).copied().unwrap_or_default();
            ensure!(found == *expected, "{name} has {found} samples instead of {expected}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_incomplete_expositions() {
        assert_eq!(
            count_samples(b"# HELP a b\na{x=\"y z\"} 1\na 2\nb 3\n", false).unwrap().series,
            3
        );
        assert_eq!(count_samples(b"a 1\n# EOF\n", true).unwrap().series, 1);
        for broken in ["a 1\na{x=\"", "a 1\na 1", "a 1\na\n", "a 1\na x\n", "a 1\n# EOF\n", ""] {
            assert!(count_samples(broken.as_bytes(), false).is_err(), "{broken}");
        }
        assert!(count_samples(b"a 1\n", true).is_err());
    }

    #[test]
    fn decodes_all_members_and_frames() {
        let gzip = |text: &[u8]| {
            let mut compressed = Vec::new();
            flate2::read::GzEncoder::new(text, flate2::Compression::fast())
                .read_to_end(&mut compressed)
                .unwrap();
            compressed
        };
        let zstd = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        for (encoding, [one, two]) in
            [("gzip", [gzip(b"a 1\n"), gzip(b"b 2\n")]), ("zstd", [zstd(b"a 1\n"), zstd(b"b 2\n")])]
        {
            let both = [one.clone(), two.clone()].concat();
            assert_eq!(decode(both, Some(encoding)).unwrap(), b"a 1\nb 2\n");
            let broken = [one.as_slice(), &two[..two.len() - 2]].concat();
            assert!(decode(broken, Some(encoding)).is_err(), "{encoding}");
            let trailing = [one.as_slice(), b"junk"].concat();
            assert!(decode(trailing, Some(encoding)).is_err(), "{encoding}");
        }
    }
}
