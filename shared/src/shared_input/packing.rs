//! Parts of shared input that are stored packed: an LZ4 block behind its unpacked size, 4 bytes little-endian.

use crate::codec::CodecError;
use crate::defaults::BLOB_PART_BYTES;

/// Packing pays where it saves this share of the whole, in percent.
const SAVES_PERCENT: usize = 10;
/// The size before a block.
const SIZE_BYTES: usize = 4;

/// Packs one part.
pub fn pack(part: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress_prepend_size(part)
}

/// Whether packing pays, told by one part.
pub fn pays(plain: usize, packed: usize) -> bool {
    packed.saturating_mul(100) <= plain.saturating_mul(100 - SAVES_PERCENT)
}

/// What a part of so many bytes takes at most when it is packed.
pub fn packed_max(plain: usize) -> usize {
    SIZE_BYTES + lz4_flex::block::get_maximum_output_size(plain)
}

/// Unpacks one part, which holds exactly `plain` bytes, and appends it. Whatever the part says of itself, no more
/// than that is written.
pub fn unpack(packed: &[u8], plain: usize, to: &mut Vec<u8>) -> Result<(), CodecError> {
    const WRONG: CodecError = CodecError::Malformed("a packed part of the shared input is damaged");
    let (size, block) = packed.split_first_chunk::<SIZE_BYTES>().ok_or(WRONG)?;
    if plain > BLOB_PART_BYTES || u32::from_le_bytes(*size) as usize != plain {
        return Err(CodecError::Malformed("a packed part of the shared input has another size than it should"));
    }
    let from = to.len();
    to.resize(from + plain, 0);
    match lz4_flex::block::decompress_into(block, &mut to[from..]) {
        Ok(bytes) if bytes == plain => Ok(()),
        _ => {
            to.truncate(from);
            Err(WRONG)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_survives_packing() {
        let part: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7).to_be_bytes()).collect();
        let packed = pack(&part);
        assert!(pays(part.len(), packed.len()) && packed.len() <= packed_max(part.len()));
        let mut out = vec![9];
        unpack(&packed, part.len(), &mut out).unwrap();
        assert_eq!(out[1..], part);
    }

    #[test]
    fn what_would_unpack_to_more_than_it_should_is_refused() {
        let bomb = pack(&vec![0; BLOB_PART_BYTES + 1]);
        let mut out = Vec::new();
        assert!(unpack(&bomb, BLOB_PART_BYTES + 1, &mut out).is_err(), "no part is so large");
        assert!(unpack(&bomb, BLOB_PART_BYTES, &mut out).is_err());
        // A size that lies about the block behind it.
        let mut lie = bomb.clone();
        lie[..4].copy_from_slice(&1000u32.to_le_bytes());
        assert!(unpack(&lie, 1000, &mut out).is_err());
        let mut short = pack(&[0; 999]);
        short[..4].copy_from_slice(&1000u32.to_le_bytes());
        assert!(unpack(&short, 1000, &mut out).is_err());
        assert!(out.is_empty());
    }

    #[test]
    fn a_tenth_is_worth_it() {
        assert!(pays(100, 90) && !pays(100, 91) && !pays(0, 1));
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), plain in 0usize..300) {
            let mut out = Vec::new();
            let _ = unpack(&bytes, plain, &mut out);
            prop_assert!(out.len() <= plain);
        }
    }
}
