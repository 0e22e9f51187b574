//! Compression in independent chunks, which can be cached and concatenated in any order.
//!
//! gzip: chunks of one deflate stream that do not refer to each other, between one header and one
//! trailer, because many clients read only the first gzip member. Zstandard: one frame a chunk
//! (RFC 8878, section 3.1: concatenated frames decode to the concatenated contents).

use std::io;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};

/// The encoding of an HTTP response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// No compression.
    Identity,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Encoding {
    /// The value of `Content-Encoding`, if it is set.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some("gzip"),
            Encoding::Zstd => Some("zstd"),
        }
    }
}

/// A compressed chunk of text.
#[derive(Debug)]
pub(super) struct CompressedChunk {
    bytes: Bytes,
    /// The length of the text in bytes.
    len: usize,
    /// The checksum of the text, for the gzip trailer.
    crc: Option<Crc>,
}

impl CompressedChunk {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// RFC 1952, section 2.3: deflate, no optional fields, no time, fastest algorithm, unknown system.
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
/// A final, empty deflate block.
const DEFLATE_END: &[u8] = &[3, 0];
/// An empty frame (RFC 8878, section 3.1.1): an empty body is not valid Zstandard.
const ZSTD_END: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];
/// For chunks that are compressed for each scrape.
const GZIP_LEVEL_ONCE: u32 = 1;
/// For cached chunks: 1.5 times the time, two thirds of the size.
const GZIP_LEVEL_CACHED: u32 = 2;
/// Smaller output than gzip in a third of its time.
const ZSTD_LEVEL: i32 = 1;

/// Compresses chunks and concatenates them.
pub(super) enum Compressor {
    Gzip {
        once: Box<Compress>,
        cached: Box<Compress>,
        /// The checksum of all text so far.
        crc: Crc,
    },
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

impl Compressor {
    /// None for [`Encoding::Identity`].
    ///
    /// # Errors
    ///
    /// If zstd cannot allocate memory.
    pub(super) fn new(encoding: Encoding) -> io::Result<Option<Compressor>> {
        Ok(match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => {
                let stream = |level| Box::new(Compress::new(Compression::new(level), false));
                let (once, cached) = (stream(GZIP_LEVEL_ONCE), stream(GZIP_LEVEL_CACHED));
                Some(Compressor::Gzip { once, cached, crc: Crc::new() })
            }
            Encoding::Zstd => {
                Some(Compressor::Zstd(Box::new(zstd::bulk::Compressor::new(ZSTD_LEVEL)?)))
            }
        })
    }

    /// The bytes before the first chunk.
    pub(super) fn header(&self) -> Bytes {
        match self {
            Compressor::Gzip { .. } => Bytes::from_static(GZIP_HEADER),
            Compressor::Zstd(_) => Bytes::new(),
        }
    }

    /// Compresses a chunk, at a higher level if it will be `cached`.
    ///
    /// # Errors
    ///
    /// Errors of the library.
    pub(super) fn compress(&mut self, text: &[u8], cached: bool) -> io::Result<CompressedChunk> {
        let (bytes, crc) = match self {
            Compressor::Gzip { once, cached: slow, .. } => {
                let mut crc = Crc::new();
                crc.update(text);
                (deflate(if cached { slow } else { once }, text)?.into(), Some(crc))
            }
            // Copied, because the library's buffer is as large as incompressible output.
            Compressor::Zstd(frames) => (Bytes::copy_from_slice(&frames.compress(text)?), None),
        };
        Ok(CompressedChunk { bytes, len: text.len(), crc })
    }

    /// The bytes of the next chunk. Updates the checksum.
    pub(super) fn append(&mut self, chunk: &CompressedChunk) -> Bytes {
        if let (Compressor::Gzip { crc, .. }, Some(chunk_crc)) = (self, &chunk.crc) {
            crc.combine(chunk_crc);
        }
        chunk.bytes.clone()
    }

    /// The bytes after the last chunk.
    pub(super) fn trailer(self) -> Bytes {
        match self {
            Compressor::Gzip { crc, .. } => {
                let mut trailer = DEFLATE_END.to_vec();
                trailer.extend_from_slice(&crc.sum().to_le_bytes());
                trailer.extend_from_slice(&crc.amount().to_le_bytes());
                trailer.into()
            }
            Compressor::Zstd(_) => Bytes::from_static(ZSTD_END),
        }
    }
}

/// Compresses a part of a deflate stream. A full flush makes it independent of the other parts and
/// ends it on a byte boundary.
fn deflate(stream: &mut Compress, text: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = Vec::with_capacity(text.len() / 6 + 64);
    let start = stream.total_in();
    loop {
        let consumed = usize::try_from(stream.total_in() - start).unwrap_or(text.len());
        let rest = text.get(consumed..).unwrap_or_default();
        stream.compress_vec(rest, &mut output, FlushCompress::Full).map_err(io::Error::other)?;
        // The flush is complete when all input is consumed and the output buffer is not full.
        if stream.total_in() - start == text.len() as u64 && output.len() < output.capacity() {
            output.shrink_to_fit();
            return Ok(output);
        }
        output.reserve(output.capacity() / 2 + 64);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decompress(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        match encoding {
            Encoding::Identity => text.extend_from_slice(bytes),
            // Reads one member and leaves the rest.
            Encoding::Gzip => {
                let mut bytes = bytes;
                flate2::bufread::GzDecoder::new(&mut bytes).read_to_end(&mut text).unwrap();
                assert!(bytes.is_empty(), "more than one member");
            }
            Encoding::Zstd => text = zstd::decode_all(bytes).unwrap(),
        }
        text
    }

    #[test]
    fn concatenates_chunks_in_any_order() {
        let mut random = fastrand::Rng::with_seed(11);
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let texts: Vec<Vec<u8>> = [0, 1, 100, 70_000, 1_000_000, 5]
                .iter()
                .map(|len| (0..*len).map(|_| b'a' + random.u8(..4)).collect())
                .collect();
            let mut compressor = Compressor::new(encoding).unwrap().unwrap();
            let chunks: Vec<_> = texts
                .iter()
                .map(|text| compressor.compress(text, random.bool()).unwrap())
                .collect();
            assert!(chunks[0].is_empty() && !chunks[1].is_empty());
            for _ in 0..20 {
                let mut compressor = Compressor::new(encoding).unwrap().unwrap();
                let (mut body, mut expected) = (compressor.header().to_vec(), Vec::new());
                for _ in 0..random.usize(..8) {
                    let index = random.usize(..texts.len());
                    expected.extend_from_slice(&texts[index]);
                    body.extend_from_slice(&compressor.append(&chunks[index]));
                }
                body.extend_from_slice(&compressor.trailer());
                assert_eq!(decompress(encoding, &body), expected, "{encoding:?}");
            }
        }
    }

    #[test]
    fn compresses_random_data_without_loss() {
        let mut random = fastrand::Rng::with_seed(3);
        let noise: Vec<u8> = (0..300_000).map(|_| random.u8(..)).collect();
        let mut compressor = Compressor::new(Encoding::Gzip).unwrap().unwrap();
        let chunk = compressor.compress(&noise, false).unwrap();
        let mut body = compressor.header().to_vec();
        body.extend_from_slice(&compressor.append(&chunk));
        body.extend_from_slice(&compressor.trailer());
        assert_eq!(decompress(Encoding::Gzip, &body), noise);
    }
}
