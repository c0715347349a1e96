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
fn what_was_sent_is_named_in_words() {
    let words = |bytes: Vec<u8>| {
        let error = input(bytes).0.get::<(u8, bool, String, [u8; 7])>().unwrap_err().to_string();
        error.strip_prefix("the shared input is ").unwrap().split(',').next().unwrap().to_owned()
    };
    assert_eq!(words(codec::encode(&BTreeMap::from([(1, 2)])).unwrap()), "a map");
    assert_eq!(words(codec::encode(&[1, 2]).unwrap()), "an array");
    assert_eq!(words(codec::encode(&Bytes(vec![7; 300])).unwrap()), "binary data");
    assert_eq!(words(codec::encode(&"x".repeat(300)).unwrap()), "a text");
    assert_eq!(words(codec::encode(&()).unwrap()), "null");
    assert_eq!(words(codec::encode(&true).unwrap()), "true or false");
    for number in [7, -7, 300, -300, i64::MAX, i64::MIN] {
        assert_eq!(words(codec::encode(&number).unwrap()), "a number", "{number}");
    }
    assert_eq!(words(codec::encode(&0.5).unwrap()), "a number");
}

#[test]
fn what_does_not_fit_is_said_every_time() {
    let text = "text ".repeat(1_000);
    let (input, _) = input(codec::encode(&text).unwrap());
    for _ in 0..2 {
        let error = input.get::<Vec<u64>>().unwrap_err().to_string();
        let told = "the shared input is a text, and the kernel takes something else: invalid type: string";
        assert!(error.starts_with(told) && error.ends_with("--shared-bytes binary data)"), "{error}");
        assert!(error.len() < 500, "{} bytes", error.len());
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
