//! Compression, piece by piece: each piece is packed by itself, so that it can be kept and sent
//! again, and pieces that follow each other make a whole.
//!
//! In gzip they are stretches of one deflate stream, none of which refers to another, between one
//! header and one trailer: one member, as every reader takes it. In zstd each is a frame of its
//! own, for that is what the format offers (RFC 8878, section 3.1: decoding concatenated frames
//! gives the concatenated contents).

use std::io;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};

/// How an exposition is packed, as HTTP's `Content-Encoding` knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Encoding {
    /// The `Content-Encoding`, where there is one.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some("gzip"),
            Encoding::Zstd => Some("zstd"),
        }
    }
}

/// A piece of text, packed.
#[derive(Debug)]
pub(super) struct CompressedChunk {
    bytes: Bytes,
    /// Bytes of text in it.
    len: usize,
    /// Of the text, as gzip's trailer wants it.
    crc: Option<Crc>,
}

impl CompressedChunk {
    /// Whether there is no text in it.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// gzip's header (RFC 1952, section 2.3): deflate, nothing optional, no time, packed fast, unknown
/// system.
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
/// A last, empty block of deflate.
const DEFLATE_END: &[u8] = &[3, 0];
/// An empty frame (RFC 8878, section 3.1.1): no bytes at all would not be zstd.
const ZSTD_END: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];
/// What is packed anew for each scrape.
const GZIP_ONCE: u32 = 1;
/// What is kept: it takes half as long again, and two thirds of the memory and of the network.
const GZIP_KEPT: u32 = 2;
/// Packs better than gzip, in a third of its time.
const ZSTD_LEVEL: i32 = 1;

/// Packs pieces, and makes a whole of them.
pub(super) enum Compressor {
    /// What packs pieces that are sent once and that are kept, and the checksum of all text so far.
    Gzip {
        once: Box<Compress>,
        kept: Box<Compress>,
        whole: Crc,
    },
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

impl Compressor {
    /// A packer, unless there is nothing to pack.
    ///
    /// # Errors
    ///
    /// The library's, when it has no memory.
    pub(super) fn new(encoding: Encoding) -> io::Result<Option<Compressor>> {
        Ok(match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => {
                let stream = |level| Box::new(Compress::new(Compression::new(level), false));
                let (once, kept) = (stream(GZIP_ONCE), stream(GZIP_KEPT));
                Some(Compressor::Gzip { once, kept, whole: Crc::new() })
            }
            Encoding::Zstd => {
                Some(Compressor::Zstd(Box::new(zstd::bulk::Compressor::new(ZSTD_LEVEL)?)))
            }
        })
    }

    /// What stands before the first piece.
    pub(super) fn start(&self) -> Bytes {
        match self {
            Compressor::Gzip { .. } => Bytes::from_static(GZIP_HEADER),
            Compressor::Zstd(_) => Bytes::new(),
        }
    }

    /// Packs a piece, which will be kept for more than a moment or not.
    ///
    /// # Errors
    ///
    /// The library's.
    pub(super) fn pack(&mut self, text: &[u8], lasting: bool) -> io::Result<CompressedChunk> {
        let (bytes, crc) = match self {
            Compressor::Gzip { once, kept, .. } => {
                let mut crc = Crc::new();
                crc.update(text);
                (deflate(if lasting { kept } else { once }, text)?.into(), Some(crc))
            }
            // The library's buffer has room for what cannot be packed.
            Compressor::Zstd(frames) => (Bytes::copy_from_slice(&frames.compress(text)?), None),
        };
        Ok(CompressedChunk { bytes, len: text.len(), crc })
    }

    /// What is sent of a piece that comes next.
    pub(super) fn next(&mut self, piece: &CompressedChunk) -> Bytes {
        if let (Compressor::Gzip { whole, .. }, Some(crc)) = (self, &piece.crc) {
            whole.combine(crc);
        }
        piece.bytes.clone()
    }

    /// What stands behind the last piece.
    pub(super) fn end(self) -> Bytes {
        match self {
            Compressor::Gzip { whole, .. } => {
                let mut end = DEFLATE_END.to_vec();
                end.extend_from_slice(&whole.sum().to_le_bytes());
                end.extend_from_slice(&whole.amount().to_le_bytes());
                end.into()
            }
            Compressor::Zstd(_) => Bytes::from_static(ZSTD_END),
        }
    }
}

/// A stretch of a deflate stream that refers to nothing before it and ends on a whole byte: a full
/// flush forgets what came before.
fn deflate(stream: &mut Compress, text: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = Vec::with_capacity(text.len() / 6 + 64);
    let before = stream.total_in();
    loop {
        let done = usize::try_from(stream.total_in() - before).unwrap_or(text.len());
        let rest = text.get(done..).unwrap_or_default();
        stream.compress_vec(rest, &mut packed, FlushCompress::Full).map_err(io::Error::other)?;
        // The flush is whole when it has left room.
        if stream.total_in() - before == text.len() as u64 && packed.len() < packed.capacity() {
            packed.shrink_to_fit();
            return Ok(packed);
        }
        packed.reserve(packed.capacity() / 2 + 64);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn unpacked(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        match encoding {
            Encoding::Identity => text.extend_from_slice(bytes),
            // Of one member: what followed it would be left unread.
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
    fn pieces_make_a_whole_in_any_order_and_again() {
        let mut random = fastrand::Rng::with_seed(11);
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let texts: Vec<Vec<u8>> = [0, 1, 100, 70_000, 1_000_000, 5]
                .iter()
                .map(|len| (0..*len).map(|_| b'a' + random.u8(..4)).collect())
                .collect();
            let mut packer = Compressor::new(encoding).unwrap().unwrap();
            let pieces: Vec<_> =
                texts.iter().map(|text| packer.pack(text, random.bool()).unwrap()).collect();
            assert!(pieces[0].is_empty() && !pieces[1].is_empty());
            for _ in 0..20 {
                let mut packer = Compressor::new(encoding).unwrap().unwrap();
                let (mut whole, mut expected) = (packer.start().to_vec(), Vec::new());
                for _ in 0..random.usize(..8) {
                    let at = random.usize(..texts.len());
                    expected.extend_from_slice(&texts[at]);
                    whole.extend_from_slice(&packer.next(&pieces[at]));
                }
                whole.extend_from_slice(&packer.end());
                assert_eq!(unpacked(encoding, &whole), expected, "{encoding:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_packed_small_is_packed_whole() {
        let mut random = fastrand::Rng::with_seed(3);
        let noise: Vec<u8> = (0..300_000).map(|_| random.u8(..)).collect();
        let mut packer = Compressor::new(Encoding::Gzip).unwrap().unwrap();
        let piece = packer.pack(&noise, false).unwrap();
        let mut whole = packer.start().to_vec();
        whole.extend_from_slice(&packer.next(&piece));
        whole.extend_from_slice(&packer.end());
        assert_eq!(unpacked(Encoding::Gzip, &whole), noise);
    }
}
