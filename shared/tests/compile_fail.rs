//! What the macros refuse, and in which words. `TRYBUILD=overwrite` writes the words anew.

#[test]
fn what_the_macros_refuse() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
