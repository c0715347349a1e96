//! Tells apart what is submitted with one idempotency key: a digest of kernel, arguments and shared input.

use gristmill_shared::KernelName;
use gristmill_shared::codec::CodecError;
use sha1_smol::Sha1;

use crate::shared_data::SharedData;

/// Hexadecimal digits that are kept.
const DIGITS: usize = 32;
/// Values within values; what lies deeper no kernel could read.
const DEPTH_MAX: usize = 128;

/// The digest of a call, with what it shares. Maps with the same entries in another order are the same, in both: a
/// `HashMap` has an order of its own in every process.
pub(crate) fn of(kernel: &KernelName, args: &[u8], shared: Option<&SharedData>) -> Result<String, CodecError> {
    let mut sha = Sha1::new();
    sha.update(kernel.as_str().as_bytes());
    sha.update(&[0]);
    sole(args, &mut |bytes| sha.update(bytes))?;
    match shared.map(SharedData::pieces) {
        None => {}
        Some(([], value)) => sole(value, &mut |bytes| sha.update(bytes))?,
        // Binary data, in which nothing has an order.
        Some((head, body)) => [head, body].iter().for_each(|bytes| sha.update(bytes)),
    }
    let mut digest = sha.digest().to_string();
    digest.truncate(DIGITS);
    Ok(digest)
}

/// Where bytes go.
type Out<'a> = dyn FnMut(&[u8]) + 'a;

/// The same for the one value that `bytes` are.
fn sole(bytes: &[u8], out: &mut Out<'_>) -> Result<(), CodecError> {
    if !value(bytes, out, DEPTH_MAX)?.is_empty() {
        return Err(CodecError::Malformed("bytes follow the MessagePack value"));
    }
    Ok(())
}

/// Passes the first value of `bytes` on, the entries of its maps in the order of their keys; returns what follows it.
/// Values, which may be gigabytes, are not copied.
fn value<'a>(bytes: &'a [u8], out: &mut Out<'_>, depth: usize) -> Result<&'a [u8], CodecError> {
    let span = span(bytes, depth)?;
    let (whole, after) = bytes.split_at(span.bytes);
    if !span.has_map {
        out(whole);
        return Ok(after);
    }
    let Head { bytes: size, content } = head(whole)?;
    let (start, mut rest) = whole.split_at(size);
    out(start);
    match content {
        Content::None => {}
        Content::Array(count) => {
            for _ in 0..count {
                rest = value(rest, out, depth - 1)?;
            }
        }
        Content::Map(count) => {
            let mut entries = Vec::new();
            for _ in 0..count {
                let mut key = Vec::new();
                rest = value(rest, &mut |bytes| key.extend_from_slice(bytes), depth - 1)?;
                let (mapped, next) = rest.split_at(self::span(rest, depth - 1)?.bytes);
                entries.push((key, mapped));
                rest = next;
            }
            entries.sort();
            for (key, mapped) in entries {
                out(&key);
                value(mapped, out, depth - 1)?;
            }
        }
    }
    Ok(after)
}

/// What the first value of some bytes takes.
struct Span {
    bytes: usize,
    has_map: bool,
}

fn span(bytes: &[u8], depth: usize) -> Result<Span, CodecError> {
    let Some(depth) = depth.checked_sub(1) else { return Err(CodecError::Malformed("the value is nested too deep")) };
    let Head { bytes: size, content } = head(bytes)?;
    let (values, mut has_map) = match content {
        Content::None => (0, false),
        Content::Array(count) => (count, false),
        Content::Map(count) => (2 * count, true),
    };
    let mut rest = bytes.get(size..).ok_or(TOO_EARLY)?;
    for _ in 0..values {
        let inner = span(rest, depth)?;
        has_map |= inner.has_map;
        rest = &rest[inner.bytes..];
    }
    Ok(Span { bytes: bytes.len() - rest.len(), has_map })
}

const TOO_EARLY: CodecError = CodecError::Malformed("the MessagePack ends too early");

/// How a value begins: so many bytes, with what is not made of values, then so many values, or twice as many.
struct Head {
    bytes: usize,
    content: Content,
}

enum Content {
    None,
    Array(u64),
    Map(u64),
}

fn head(bytes: &[u8]) -> Result<Head, CodecError> {
    let first = *bytes.first().ok_or(TOO_EARLY)?;
    // The number that stands in so many bytes behind the first.
    let number = |width: usize| {
        let digits = bytes.get(1..1 + width).ok_or(TOO_EARLY)?;
        Ok::<_, CodecError>(digits.iter().fold(0, |number, &digit| number << 8 | u64::from(digit)))
    };
    let plain = |bytes: usize| Ok(Head { bytes, content: Content::None });
    let sized = |width: usize, more: usize| plain(1 + width + more + number(width)? as usize);
    let many =
        |width: usize, content: fn(u64) -> Content| Ok(Head { bytes: 1 + width, content: content(number(width)?) });
    match first {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => plain(1),
        0x80..=0x8f => Ok(Head { bytes: 1, content: Content::Map(u64::from(first & 0x0f)) }),
        0x90..=0x9f => Ok(Head { bytes: 1, content: Content::Array(u64::from(first & 0x0f)) }),
        0xa0..=0xbf => plain(1 + usize::from(first & 0x1f)),
        0xc1 => Err(CodecError::Malformed("a byte that begins no MessagePack value")),
        // Binary data, text, and extensions with their type.
        0xc4..=0xc6 => sized(1 << (first - 0xc4), 0),
        0xd9..=0xdb => sized(1 << (first - 0xd9), 0),
        0xc7..=0xc9 => sized(1 << (first - 0xc7), 1),
        0xd4..=0xd8 => plain(2 + (1 << (first - 0xd4))),
        // Floats, and integers without and with a sign.
        0xca | 0xcb => plain(1 + (4 << (first - 0xca))),
        0xcc..=0xcf => plain(1 + (1 << (first - 0xcc))),
        0xd0..=0xd3 => plain(1 + (1 << (first - 0xd0))),
        0xdc | 0xdd => many(2 << (first - 0xdc), Content::Array),
        0xde | 0xdf => many(2 << (first - 0xde), Content::Map),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_shared::codec::encode;
    use gristmill_shared::serde_bytes::ByteBuf;
    use std::collections::{BTreeMap, HashMap};

    fn digest(args: &[u8]) -> String {
        of(&KernelName::new("k").unwrap(), args, None).unwrap()
    }

    #[test]
    fn it_is_the_one_that_the_protocol_describes() {
        // sha1sum of `square`, a zero byte and 07.
        let digest = of(&KernelName::new("square").unwrap(), &[7], None).unwrap();
        assert_eq!(digest, "2213c12b67ce937823fe385f1494d7af");
        // `k`, a zero byte, and {"a": 1, "b": [{"c": 2, "d": 3}]} in the order of its keys.
        let other_order = b"\x82\xa1b\x91\x82\xa1d\x03\xa1c\x02\xa1a\x01";
        assert_eq!(self::digest(other_order), "c3c54cfd1e5efe97076d91c6c5d7ab13");
    }

    #[test]
    fn other_work_has_another_digest() {
        let work = [encode(&7).unwrap(), encode(&8).unwrap(), encode("7").unwrap(), encode(&[7]).unwrap()];
        let digests: Vec<_> = work.iter().map(|args| digest(args)).collect();
        for (i, digest) in digests.iter().enumerate() {
            assert_eq!(digest.len(), DIGITS);
            assert!(!digests[..i].contains(digest));
        }
        assert_ne!(of(&KernelName::new("l").unwrap(), &work[0], None).unwrap(), digests[0]);
    }

    #[test]
    fn what_is_shared_is_part_of_the_work() {
        let of = |shared: SharedData| of(&KernelName::new("k").unwrap(), &[7], Some(&shared)).unwrap();
        assert_ne!(of(SharedData::of(&1)), digest(&[7]));
        assert_ne!(of(SharedData::of(&1)), of(SharedData::of(&2)));
        assert_eq!(of(SharedData::bytes(vec![1; 300])), of(SharedData::of(&gristmill_shared::Bytes(vec![1; 300]))));
    }

    #[test]
    fn the_order_of_a_map_does_not_matter() {
        let sorted: BTreeMap<String, u32> = (0..100).map(|n| (format!("key {n}"), n)).collect();
        let hashed: HashMap<_, _> = sorted.clone().into_iter().collect();
        assert_eq!(digest(&encode(&(1, &sorted)).unwrap()), digest(&encode(&(1, &hashed)).unwrap()));
        let shared = |data: SharedData| of(&KernelName::new("k").unwrap(), &[7], Some(&data)).unwrap();
        assert_eq!(shared(SharedData::of(&(1, &sorted))), shared(SharedData::of(&(1, &hashed))));
        let nested = |map: &dyn Fn() -> Vec<u8>| digest(&[vec![0x91, 0x81, 0xa1, b'n'], map()].concat());
        assert_eq!(nested(&|| encode(&sorted).unwrap()), nested(&|| encode(&hashed).unwrap()), "map in a map");
        assert_ne!(digest(&encode(&(1, 2)).unwrap()), digest(&encode(&(2, 1)).unwrap()), "that of an array does");
    }

    #[test]
    fn every_kind_of_value_is_walked_to_its_end() {
        let texts = [0, 31, 32, 255, 256, 65_536].map(|size| "x".repeat(size));
        let bytes = [0, 255, 256, 65_536].map(|size| ByteBuf::from(vec![1; size]));
        let whole = [0, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, i64::MAX, -1, -32, -33, -129, -32_769, i64::MIN];
        let lists = [0, 15, 16, 65_536].map(|size| vec![Some(true); size]);
        let maps = [0_u32, 15, 16, 65_536].map(|size| (0..size).map(|n| (n, false)).collect::<BTreeMap<_, _>>());
        let all = encode(&(texts, bytes, whole, lists, maps, (1.5_f32, 1.5_f64, u64::MAX, None::<u8>, ()))).unwrap();
        assert_eq!(value(&all, &mut |_| (), DEPTH_MAX).unwrap(), b"");
        assert!(value(&all[..all.len() - 1], &mut |_| (), DEPTH_MAX).is_err());
        for extension in [&b"\xd4\x01x"[..], b"\xd8\x010123456789abcdef", b"\xc7\x02\x01xy", b"\xc9\0\0\0\x01\x01x"] {
            assert_eq!(value(extension, &mut |_| (), 1).unwrap(), b"", "{extension:?}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let deep = [vec![0x91; 200], vec![0]].concat();
        for wrong in
            [&b""[..], b"\xc1", b"\x01\x02", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x81\x01", &deep]
        {
            assert!(of(&KernelName::new("k").unwrap(), wrong, None).is_err(), "{wrong:?}");
        }
    }
}
