//! `echo` through MessagePack bytes, as a worker calls it.

use gristmill_kernels::{DEPTH_MAX, VALUES_MAX, all, echo};
use gristmill_shared::{KernelError, TaskContext};

fn through(bytes: &[u8]) -> Result<Vec<u8>, KernelError> {
    let kernels = all();
    (kernels.get("echo").unwrap().run)(&TaskContext::detached(), bytes)
}

#[test]
fn every_kind_of_value_comes_back_unchanged() {
    let values: [&[u8]; 22] = [
        &[0xc0],                                                 // nil
        &[0xc3],                                                 // true
        &[0x07],                                                 // small integers
        &[0xe0],                                                 // -32
        &[0xd0, 0x80],                                           // int 8
        &[0xd1, 0x80, 0x00],                                     // int 16
        &[0xd2, 0x80, 0, 0, 0],                                  // int 32
        &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0],                      // int 64
        &[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // the largest uint 64
        &[0xca, 0x3f, 0x80, 0, 0],                               // float 32
        &[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],                   // NaN
        &[0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0],                      // -0.0
        &[0xa2, 0xc3, 0xbc],                                     // "ü"
        &[0xc4, 0x03, 0x00, 0xff, 0x80],                         // binary
        &[0xc4, 0x00],                                           // no bytes
        &[0x90],                                                 // an empty array
        &[0x93, 0x01, 0x91, 0xc0, 0xa1, b'x'],                   // [1, [nil], "x"]
        &[0x80],                                                 // an empty map
        &[0x82, 0xa1, b'b', 0x01, 0xa1, b'a', 0x81, 0xa1, b'c', 0xc4, 0x01, 0xff],
        &[0x82, 0x01, 0xc2, 0x92, 0x01, 0x02, 0xc0], // keys that are no texts
        &[0xd6, 0xff, 0x00, 0x00, 0x00, 0x01],       // a timestamp
        &[0xc7, 0x03, 0x05, 1, 2, 3],                // an extension type of another length
    ];
    for bytes in values {
        assert_eq!(through(bytes).as_deref(), Ok(bytes), "{bytes:02x?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    let deepest = nested(DEPTH_MAX);
    assert_eq!(through(&deepest), Ok(deepest));
    for depth in [DEPTH_MAX + 1, 100_000] {
        let error = through(&nested(depth)).unwrap_err();
        assert!(error.message().contains("nested deeper than 128"), "{error}");
    }
}

#[test]
fn the_number_of_parts_is_bounded() {
    let array = |length: usize| [vec![0xdd], (length as u32).to_be_bytes().to_vec(), vec![0xc0; length]].concat();
    // the array itself is one
    let largest = array(VALUES_MAX - 1);
    assert_eq!(through(&largest), Ok(largest));
    let error = through(&array(VALUES_MAX)).unwrap_err();
    assert!(error.message().contains("more than 1000000 parts"), "{error}");
}

#[test]
fn lengths_that_lie_are_errors() {
    for bytes in [&[0xdd, 0xff, 0xff, 0xff, 0xff, 0x01][..], &[0xdf, 0xff, 0xff, 0xff, 0xff], &[0xc6, 0x7f, 0, 0, 0]] {
        assert!(through(bytes).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn the_schema_allows_anything() {
    let kernels = all();
    let schema = (kernels.get("echo").unwrap().args_schema)();
    assert!(schema.get("type").is_none() && schema.get("$ref").is_none(), "{schema}");
    let value = gristmill_kernels::Value::Nil;
    assert_eq!(echo(value.clone()), value);
}

#[test]
fn the_table_is_sound() {
    all().check().unwrap();
    assert!(all().iter().all(|kernel| !kernel.doc.is_empty()));
}
