//! gzip and zstd, found by their first bytes, within limits of size and ratio.

use std::{borrow::Cow, io::Read};

use crate::limits::{MAX_RATIO, RATIO_FROM};

/// Why a file could not be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The packed data are wrong, or end too early.
    #[error("the {format} data are broken: {why}")]
    Broken {
        /// gzip or zstd.
        format: &'static str,
        /// What is wrong.
        why: String,
    },
    /// More than the limit.
    #[error("it unpacks to more than {limit} bytes")]
    TooBig {
        /// The limit.
        limit: usize,
    },
    /// More than [`MAX_RATIO`] bytes for each packed one.
    #[error("{packed} bytes unpack to more than {MAX_RATIO} times as many: not a list, but a bomb")]
    Bomb {
        /// Packed bytes.
        packed: usize,
    },
}

/// Unpacks what is packed, once; anything else stays as it is.
///
/// # Errors
/// It is broken, or has more bytes unpacked than the limit or than a list would have.
pub fn unpack(bytes: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, UnpackError> {
    let broken = |format| move |why: String| UnpackError::Broken { format, why };
    let unpacked = if bytes.starts_with(b"\x1f\x8b") {
        drain(flate2::read::MultiGzDecoder::new(bytes), bytes.len(), limit, broken("gzip"))?
    } else if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        zstd(bytes, limit)?
    } else {
        return Ok(Cow::Borrowed(bytes));
    };
    Ok(Cow::Owned(unpacked))
}

/// All frames of a file; frames to be skipped (RFC 8878, 3.1.2) are.
fn zstd(bytes: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    let broken = |why: String| UnpackError::Broken { format: "zstd", why };
    let mut rest = bytes;
    let mut unpacked = Vec::new();
    while !rest.is_empty() {
        if let [a, 0x2a, 0x4d, 0x18, b, c, d, e, after @ ..] = rest
            && a & 0xf0 == 0x50
        {
            let length = u32::from_le_bytes([*b, *c, *d, *e]) as usize;
            rest = after.get(length..).ok_or_else(|| broken("a skipped frame ends too early".into()))?;
            continue;
        }
        let decoder =
            ruzstd::decoding::StreamingDecoder::new(&mut rest).map_err(|error| broken(error.to_string()))?;
        let left = limit.saturating_sub(unpacked.len());
        let frame = drain(decoder, bytes.len(), left, broken).map_err(|error| match error {
            UnpackError::TooBig { .. } => UnpackError::TooBig { limit },
            error => error,
        })?;
        unpacked.extend_from_slice(&frame);
        check(unpacked.len(), bytes.len(), limit)?;
    }
    Ok(unpacked)
}

fn drain(
    mut decoder: impl Read,
    packed: usize,
    limit: usize,
    broken: impl Fn(String) -> UnpackError,
) -> Result<Vec<u8>, UnpackError> {
    let mut unpacked = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = decoder.read(&mut chunk).map_err(|error| broken(error.to_string()))?;
        if read == 0 {
            return Ok(unpacked);
        }
        check(unpacked.len() + read, packed, limit)?;
        unpacked.extend_from_slice(&chunk[..read]);
    }
}

fn check(unpacked: usize, packed: usize, limit: usize) -> Result<(), UnpackError> {
    if unpacked > limit {
        return Err(UnpackError::TooBig { limit });
    }
    if unpacked > RATIO_FROM && unpacked / MAX_RATIO > packed {
        return Err(UnpackError::Bomb { packed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn packed_and_plain() {
        let text = b"192.0.2.1\n".repeat(1000);
        assert_eq!(unpack(&text, 1 << 20).unwrap(), &text[..]);
        assert_eq!(unpack(&gzip(&text), 1 << 20).unwrap(), &text[..]);
        assert_eq!(unpack(&zstd(&text), 1 << 20).unwrap(), &text[..]);
        let twice = text.repeat(2);
        assert_eq!(unpack(&[gzip(&text), gzip(&text)].concat(), 1 << 20).unwrap(), &twice[..], "two members");
        let skipped = b"\x50\x2a\x4d\x18\x02\0\0\0xx";
        assert_eq!(unpack(&[&zstd(&text)[..], skipped, &zstd(&text)].concat(), 1 << 20).unwrap(), &twice[..]);
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let zeros = vec![0; 8 << 20];
        for pack in [gzip, zstd] {
            let bomb = pack(&zeros);
            assert_eq!(unpack(&bomb, 64 << 20), Err(UnpackError::Bomb { packed: bomb.len() }));
            let noise: Vec<u8> =
                (0..100_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
            assert_eq!(unpack(&pack(&noise), 300_000), Err(UnpackError::TooBig { limit: 300_000 }));
            let cut = pack(&noise);
            assert!(matches!(unpack(&cut[..cut.len() / 2], 1 << 20), Err(UnpackError::Broken { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn broken_data_never_panic(
            seed in proptest::collection::vec(any::<u8>(), 0..600),
            flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
            is_gzip in any::<bool>(),
        ) {
            let text = seed.repeat(40);
            let mut packed = if is_gzip { gzip(&text) } else { zstd(&text) };
            for (at, byte) in flips {
                // The first four bytes say which format it is.
                let at = 4 + at.index(packed.len() - 4);
                packed[at] = byte;
            }
            if let Ok(unpacked) = unpack(&packed, 1 << 20) {
                prop_assert!(unpacked.len() <= 1 << 20);
            }
        }
    }
}
