//! Whether what is measured is what it should be. It is looked at outside the timing.

use std::{collections::BTreeMap, io::Read as _};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::bufread::MultiGzDecoder;

/// Undoes a `Content-Encoding`, to the very end.
pub(crate) fn decoded(body: Vec<u8>, encoding: Option<&str>) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    match encoding {
        None | Some("identity") => return Ok(body),
        Some("gzip") => {
            let mut rest = body.as_slice();
            // Gzip members may follow each other.
            MultiGzDecoder::new(&mut rest).read_to_end(&mut plain).context("the gzip is broken")?;
            ensure!(rest.is_empty(), "something follows the gzip");
        }
        Some("zstd") => {
            // So may zstd frames; this reads to the last of them.
            zstd::Decoder::new(body.as_slice())
                .and_then(|mut decoder| decoder.read_to_end(&mut plain))
                .context("the zstd is broken")?;
        }
        Some(other) => bail!("an encoding that was not asked for: {other}"),
    }
    Ok(plain)
}

/// An exposition, counted.
#[derive(Debug)]
pub(crate) struct Counted {
    /// Samples.
    pub(crate) series: u64,
    by_name: BTreeMap<Vec<u8>, u64>,
}

/// Counts the samples of an exposition and sees that it is whole.
pub(crate) fn counted(text: &[u8], openmetrics: bool) -> Result<Counted> {
    ensure!(text.ends_with(b"\n"), "the last line has no end");
    ensure!(text.ends_with(b"\n# EOF\n") == openmetrics, "a wrong end");
    let mut counted = Counted { series: 0, by_name: BTreeMap::new() };
    // Families come one after the other: their names are looked up seldom.
    let (mut name, mut count): (&[u8], u64) = (b"", 0);
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if line.starts_with(b"#") {
            continue;
        }
        let end = line.iter().position(|byte| b"{ ".contains(byte)).context("no value")?;
        if name != &line[..end] {
            *counted.by_name.entry(name.to_vec()).or_default() += count;
            (name, count) = (&line[..end], 0);
        }
        let value = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        let value = std::str::from_utf8(value).ok().and_then(|value| value.parse::<f64>().ok());
        ensure!(value.is_some(), "no number: {}", String::from_utf8_lossy(line));
        count += 1;
        counted.series += 1;
    }
    *counted.by_name.entry(name.to_vec()).or_default() += count;
    Ok(counted)
}

impl Counted {
    /// Sees that each of these families has as many samples as it must.
    pub(crate) fn matches(&self, series: &[(&str, u64)]) -> Result<()> {
        for (name, expected) in series {
            let found = self.by_name.get(name.as_bytes()).copied().unwrap_or_default();
            ensure!(found == *expected, "{found} samples of {name}, not {expected}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_off_is_noticed() {
        assert_eq!(counted(b"# HELP a b\na{x=\"y z\"} 1\na 2\nb 3\n", false).unwrap().series, 3);
        assert_eq!(counted(b"a 1\n# EOF\n", true).unwrap().series, 1);
        for broken in ["a 1\na{x=\"", "a 1\na 1", "a 1\na\n", "a 1\na x\n", "a 1\n# EOF\n", ""] {
            assert!(counted(broken.as_bytes(), false).is_err(), "{broken}");
        }
        assert!(counted(b"a 1\n", true).is_err());
    }

    #[test]
    fn members_and_frames_are_read_to_the_last() {
        let gzip = |text: &[u8]| {
            let mut packed = Vec::new();
            flate2::read::GzEncoder::new(text, flate2::Compression::fast())
                .read_to_end(&mut packed)
                .unwrap();
            packed
        };
        let zstd = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        for (encoding, [one, two]) in
            [("gzip", [gzip(b"a 1\n"), gzip(b"b 2\n")]), ("zstd", [zstd(b"a 1\n"), zstd(b"b 2\n")])]
        {
            let both = [one.clone(), two.clone()].concat();
            assert_eq!(decoded(both, Some(encoding)).unwrap(), b"a 1\nb 2\n");
            let broken = [one.as_slice(), &two[..two.len() - 2]].concat();
            assert!(decoded(broken, Some(encoding)).is_err(), "{encoding}");
            let trailing = [one.as_slice(), b"junk"].concat();
            assert!(decoded(trailing, Some(encoding)).is_err(), "{encoding}");
        }
    }
}
