//! Snappy blocks (format description of google/snappy, `format_description.txt`).

/// Why bytes are no snappy block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnappyError {
    /// The bytes end inside of an element.
    #[error("the block is cut short")]
    Short,
    /// The length in front is no varint of 32 bits.
    #[error("the length in front cannot be read")]
    Length,
    /// More than the receiver takes.
    #[error("{0} bytes decompressed are more than are taken")]
    TooLong(usize),
    /// A copy from before the beginning.
    #[error("a copy reaches before the beginning")]
    Offset,
    /// The content is not as long as the length in front says.
    #[error("the content is not as long as it says")]
    Mismatch,
}

/// Decompresses one block of at most `most` bytes.
///
/// # Errors
/// Whatever is against the format.
pub fn decompress(block: &[u8], most: usize) -> Result<Vec<u8>, SnappyError> {
    let mut rest = block;
    let length = length(&mut rest)?;
    if length > most {
        return Err(SnappyError::TooLong(length));
    }
    let mut out = Vec::with_capacity(length.min(block.len().saturating_mul(64)));
    while let Some((tag, after)) = rest.split_first() {
        rest = after;
        match tag & 3 {
            0 => {
                let mut size = usize::from(tag >> 2) + 1;
                if size > 60 {
                    size = little_endian(&mut rest, size - 60)? + 1;
                }
                let (literal, after) = rest.split_at_checked(size).ok_or(SnappyError::Short)?;
                if out.len() + size > length {
                    return Err(SnappyError::Mismatch);
                }
                out.extend_from_slice(literal);
                rest = after;
            }
            kind => {
                let (size, offset) = match kind {
                    1 => {
                        let low = little_endian(&mut rest, 1)?;
                        (usize::from((tag >> 2) & 7) + 4, (usize::from(tag >> 5) << 8) | low)
                    }
                    2 => (usize::from(tag >> 2) + 1, little_endian(&mut rest, 2)?),
                    _ => (usize::from(tag >> 2) + 1, little_endian(&mut rest, 4)?),
                };
                if offset == 0 || offset > out.len() {
                    return Err(SnappyError::Offset);
                }
                if out.len() + size > length {
                    return Err(SnappyError::Mismatch);
                }
                let start = out.len() - offset;
                for place in start..start + size {
                    out.push(out[place]);
                }
            }
        }
    }
    if out.len() == length { Ok(out) } else { Err(SnappyError::Mismatch) }
}

fn length(rest: &mut &[u8]) -> Result<usize, SnappyError> {
    let mut length = 0u64;
    for shift in (0..35).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(SnappyError::Length)?;
        *rest = after;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(length).map(|length| length as usize).map_err(|_| SnappyError::Length);
        }
    }
    Err(SnappyError::Length)
}

fn little_endian(rest: &mut &[u8], bytes: usize) -> Result<usize, SnappyError> {
    let (number, after) = rest.split_at_checked(bytes).ok_or(SnappyError::Short)?;
    *rest = after;
    Ok(number.iter().rev().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_by_hand() {
        // A literal of two bytes and a copy (one-byte offset) that overlaps itself.
        assert_eq!(decompress(&[8, 0x04, b'a', b'b', 0x09, 2], 100).unwrap(), b"abababab"[..]);
        // The same with a two-byte offset.
        assert_eq!(decompress(&[8, 0x04, b'a', b'b', 0x16, 2, 0], 100).unwrap(), b"abababab"[..]);
        // A literal with its length in an extra byte.
        let mut block = vec![70, 60 << 2, 69];
        block.extend([b'x'; 70]);
        assert_eq!(decompress(&block, 100).unwrap(), vec![b'x'; 70]);
        assert_eq!(decompress(&[0], 0).unwrap(), b"");
    }

    #[test]
    fn wrong_blocks_are_refused() {
        assert_eq!(decompress(&[], 10), Err(SnappyError::Length));
        assert_eq!(decompress(&[0xff; 6], 10), Err(SnappyError::Length));
        assert_eq!(decompress(&[11], 10), Err(SnappyError::TooLong(11)));
        assert_eq!(decompress(&[4, 0x0c, b'a'], 10), Err(SnappyError::Short));
        assert_eq!(decompress(&[4, 0x00, b'a', 0x01, 2], 10), Err(SnappyError::Offset));
        assert_eq!(decompress(&[4, 0x00, b'a', 0x01, 0], 10), Err(SnappyError::Offset));
        assert_eq!(decompress(&[2, 0x00, b'a'], 10), Err(SnappyError::Mismatch));
        assert_eq!(decompress(&[1, 0x04, b'a', b'b'], 10), Err(SnappyError::Mismatch));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_the_crate_compresses_is_read(words in prop::collection::vec("[a-d]{0,30}", 0..400)) {
            let text = words.concat();
            let block = snap::raw::Encoder::new().compress_vec(text.as_bytes()).unwrap();
            prop_assert_eq!(decompress(&block, text.len()).unwrap(), text.as_bytes());
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(out) = decompress(&bytes, 10_000) {
                prop_assert!(out.len() <= 10_000);
            }
        }
    }
}
