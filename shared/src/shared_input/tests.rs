use std::collections::BTreeMap;

use super::*;
use crate::kernel::Bytes;

fn input(bytes: Vec<u8>) -> (SharedInput, Gauge) {
    let gauge = Gauge::default();
    gauge.add(bytes.len() as u64);
    (SharedInput::new(bytes, gauge.clone()), gauge)
}

#[test]
fn it_is_decoded_once() {
    let words = BTreeMap::from([("a".to_owned(), 1u32), ("b".to_owned(), 2)]);
    let (input, gauge) = input(codec::encode(&words).unwrap());
    let first: Arc<BTreeMap<String, u32>> = input.get().unwrap();
    assert_eq!(*first, words);
    assert!(Arc::ptr_eq(&first, &input.get().unwrap()), "the same value, not an equal one");
    assert_eq!(gauge.bytes(), input.weight());
    drop(input);
    assert_eq!((gauge.bytes(), first["b"]), (0, 2), "who has it keeps it");
}

#[test]
fn what_does_not_fit_is_said_every_time() {
    let text = "text ".repeat(1_000);
    let (input, _) = input(codec::encode(&text).unwrap());
    for _ in 0..2 {
        let error = input.get::<Vec<u64>>().unwrap_err().to_string();
        assert!(error.starts_with("the shared input is no alloc::vec::Vec<u64>: invalid type: string"), "{error}");
        assert!(error.len() < 400, "{} bytes", error.len());
    }
    let error = input.bytes().unwrap_err().to_string();
    assert_eq!(error, "the shared input is no binary data: a text stands where binary data is expected");
    assert_eq!(*input.get::<String>().unwrap(), text, "a wrong guess spoils nothing");
    let error = input.get::<Bytes>().unwrap_err().to_string();
    assert!(error.contains("was read as alloc::string::String before"), "{error}");
    assert!(input.bytes().is_err());
}

#[test]
fn binary_data_is_not_copied() {
    let value = codec::encode(&Bytes(vec![7; 100_000])).unwrap();
    let begins = value.as_ptr() as usize;
    let (input, _) = input(value);
    let (one, two) = (input.bytes().unwrap(), input.bytes().unwrap());
    assert_eq!((one.len(), one[99_999]), (100_000, 7));
    assert_eq!((one.as_ptr() as usize, two.as_ptr() as usize), (begins + 5, begins + 5));
    assert_eq!(input.get::<Bytes>().unwrap().len(), 100_000, "while somebody has the bytes, they can be decoded");
    assert_eq!(input.bytes().unwrap().len(), 100_000);
}

#[test]
fn a_value_weighs_what_the_process_has_grown_by() {
    static HELD: AtomicU64 = AtomicU64::new(0);
    let gauge = Gauge::new(|| Some(HELD.fetch_add(1_000, Relaxed)));
    let bytes = codec::encode(&vec![1u64; 50]).unwrap();
    let plain = bytes.len() as u64;
    gauge.add(plain);
    let input = SharedInput::new(bytes, gauge.clone());
    assert_eq!(input.weight(), plain);
    input.get::<Vec<u64>>().unwrap();
    assert_eq!((input.weight(), gauge.bytes()), (plain + 1_000, plain + 1_000));
    input.get::<Vec<u64>>().unwrap();
    assert_eq!(gauge.bytes(), plain + 1_000, "only the first that asks decodes");
}

#[test]
fn a_panic_while_decoding_spoils_nothing() {
    #[derive(Debug)]
    struct Bomb;
    impl<'de> serde::Deserialize<'de> for Bomb {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("boom")
        }
    }
    let (input, _) = input(codec::encode(&7u8).unwrap());
    for _ in 0..2 {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| input.get::<Bomb>())).is_err());
    }
    assert_eq!(*input.get::<u8>().unwrap(), 7);
}
