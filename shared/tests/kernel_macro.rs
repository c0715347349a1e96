//! What `#[kernel]`, `kernels!` and `remote_kernel!` make.

use std::io;
use std::time::Duration;

use gristmill_shared::{
    Bytes, Kernel, KernelError, KernelName, KernelOptions, RegisteredKernel, Run, TaskContext, codec, kernel, kernels,
    remote_kernel,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds the square roots.
///
/// A second paragraph,
/// in two lines.
///
/// # Examples
///
/// Nobody needs these in a table.
#[kernel]
pub fn sum_sqrt(n: u64) -> f64 {
    (0..n).map(|i| (i as f64).sqrt()).sum()
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Thumbnail {
    width: u32,
    picture: Bytes,
}

#[kernel(
    name = "image.thumbnail",
    time_limit = "30s",
    retries = 2,
    backoff = "500ms",
    backoff_max = "10m",
    soft_time_limit = "25s",
    memory = "512MiB",
    ignore_result,
    crate = ::gristmill_shared
)]
fn thumbnail(ctx: &TaskContext, mut args: Thumbnail) -> Result<Bytes, KernelError> {
    if args.width == 0 {
        return Err(KernelError::fatal(format!("no width at attempt {}", ctx.attempt())));
    }
    args.picture.0.truncate(args.width as usize);
    Ok(args.picture)
}

#[kernel]
fn join(
    /// What is repeated.
    left: String,
    /// How often.
    ///
    /// # Not shown
    times: u8,
    right: Option<String>,
) -> String {
    format!("{}{}", left.repeat(times.into()), right.unwrap_or_default())
}

#[kernel]
fn nothing() {
    std::hint::black_box(());
}

#[kernel]
fn attempt(ctx: &TaskContext) -> u16 {
    ctx.attempt()
}

#[kernel]
fn unit_result(n: u64) -> Result<(), std::num::TryFromIntError> {
    u8::try_from(n)?;
    Ok(())
}

#[kernel]
fn aliased(path: String) -> io::Result<u64> {
    Err(io::Error::new(io::ErrorKind::NotFound, format!("no file {path}")))
}

/// Calls itself, and has a variable of its own name.
#[kernel]
fn factorial(n: u64) -> u64 {
    let factorial = if n < 2 { 1 } else { factorial(n - 1) };
    n.max(1) * factorial
}

/// Kernels whose names the expanded code could trip over.
mod awkward {
    use super::*;

    #[kernel]
    pub fn args(ctx: &TaskContext, a: (u8, u8)) -> (u8, u8) {
        let _ = ctx;
        (a.1, a.0)
    }

    #[kernel]
    pub fn context(_: &TaskContext, n: u8) -> u8 {
        n
    }

    #[kernel]
    pub fn r#loop() -> u8 {
        0
    }
}

mod inner {
    use super::*;

    #[kernel(name = "inner:double")]
    pub(crate) fn double(n: i64) -> i64 {
        n * 2
    }
}

#[kernel]
#[cfg(any())]
fn absent(n: NoSuchType) {}

remote_kernel! {
    /// Runs elsewhere.
    pub fn remote(a: u64, b: String) -> Bytes = "elsewhere.remote";
    fn remote_unit() = "elsewhere.unit";
    fn every_character() = "AZaz09_.:-";
}

fn run<K: Run>(kernel: K, args: &impl Serialize) -> Result<K::Output, KernelError> {
    let args = codec::encode(args).unwrap();
    let output = (RegisteredKernel::of(kernel).run)(&TaskContext::detached(), &args)?;
    Ok(codec::decode(&output).unwrap())
}

fn args_of<K: Kernel>(_: K, args: K::Args) -> K::Args {
    args
}

#[test]
#[expect(clippy::no_effect, reason = "clippy takes the call of a unit struct's name for a constructor's")]
fn a_kernel_is_still_a_function() {
    assert_eq!(sum_sqrt(2), 1.0);
    assert_eq!(join("a".into(), 2, None), "aa");
    assert_eq!(inner::double(4), 8);
    assert_eq!(factorial(5), 120);
    nothing();
    let function: fn(u64) -> f64 = *sum_sqrt;
    assert_eq!([2, 2].map(function), [1.0, 1.0]);
    assert_eq!(attempt(&TaskContext::detached()), 1);
}

#[test]
fn a_kernel_runs_from_bytes() {
    assert_eq!(run(sum_sqrt, &2u64), Ok(1.0));
    assert_eq!(run(join, &("a", 2, Some("b"))), Ok("aab".to_owned()));
    assert_eq!(run(nothing, &()), Ok(()));
    assert_eq!(run(attempt, &()), Ok(1));
    assert_eq!(run(factorial, &5), Ok(120));
    assert_eq!(run(awkward::args, &(1, 2)), Ok((2, 1)));
    assert_eq!(run(awkward::context, &7), Ok(7));
    let picture = Bytes(vec![1, 2, 3]);
    assert_eq!(run(thumbnail, &Thumbnail { width: 2, picture }), Ok(Bytes(vec![1, 2])));
}

#[test]
fn errors_become_kernel_errors() {
    let error = run(thumbnail, &Thumbnail { width: 0, picture: Bytes::default() }).unwrap_err();
    assert_eq!(error, KernelError::fatal("no width at attempt 1"));
    assert_eq!(run(unit_result, &255), Ok(()));
    let error = run(unit_result, &256).unwrap_err();
    assert_eq!(error.to_string(), "out of range integral type conversion attempted");
    assert_eq!(error.kind_name(), Some("core::num::error::TryFromIntError"));
    assert_eq!(run(aliased, &"x").unwrap_err().to_string(), "no file x");
    let error = run(sum_sqrt, &"many").unwrap_err();
    assert!(error.message().starts_with("arguments of sum_sqrt do not fit: "), "{error}");
}

#[test]
fn the_types_are_those_of_the_signature() {
    assert_eq!(args_of(sum_sqrt, 5), 5u64);
    assert_eq!(args_of(join, ("a".into(), 1, None)), ("a".to_owned(), 1u8, None::<String>));
    assert_eq!(args_of(remote, (1, "b".into())), (1u64, "b".to_owned()));
    args_of(nothing, ());
    args_of(attempt, ());
    args_of(remote_unit, ());
}

#[test]
fn names_and_options() {
    fn name<K: Kernel>(_: K) -> &'static str {
        KernelName::new(K::NAME).unwrap();
        K::NAME
    }
    fn options<K: Run>(_: K) -> KernelOptions {
        K::OPTIONS
    }
    assert_eq!(name(sum_sqrt), "sum_sqrt");
    assert_eq!(name(inner::double), "inner:double");
    assert_eq!(name(remote), "elsewhere.remote");
    assert_eq!(name(thumbnail), "image.thumbnail");
    assert_eq!(name(every_character), "AZaz09_.:-");
    assert_eq!(name(awkward::r#loop), "loop");
    assert_eq!(options(sum_sqrt), KernelOptions::default());
    let expected = KernelOptions {
        retries: Some(2),
        backoff: Some(Duration::from_millis(500)),
        backoff_max: Some(Duration::from_secs(600)),
        soft_time_limit: Some(Duration::from_secs(25)),
        time_limit: Some(Duration::from_secs(30)),
        memory: Some(512 << 20),
        ignore_result: Some(true),
    };
    assert_eq!(options(thumbnail), expected);
}

#[test]
fn the_doc_comment_is_kept_up_to_the_first_heading() {
    fn doc<K: Run>(_: K) -> &'static str {
        K::DOC
    }
    assert_eq!(doc(sum_sqrt), "Adds the square roots.\n\nA second paragraph,\nin two lines.");
    assert_eq!(doc(nothing), "");
}

#[test]
fn a_table_holds_what_it_is_given() {
    let table = kernels![sum_sqrt, inner::double, self::join,];
    table.check().unwrap();
    let names: Vec<_> = table.iter().map(|kernel| kernel.name).collect();
    assert_eq!(names, ["sum_sqrt", "inner:double", "join"]);
    assert_eq!(table.get("join").unwrap().doc, "");
    let schema = (table.get("join").unwrap().args_schema)();
    assert_eq!(schema["maxItems"], 3);
    assert!(kernels![].check().is_err());
    assert!(kernels![join, join].check().is_err());
}

#[test]
fn the_schema_names_the_parameters() {
    let table = kernels![sum_sqrt, join, nothing];
    let schema = |name: &str| (table.get(name).unwrap().args_schema)();
    let named = schema("join");
    let said = |place: usize| (&named["prefixItems"][place]["title"], &named["prefixItems"][place]["description"]);
    assert_eq!(said(0), (&"left".into(), &"What is repeated.".into()));
    assert_eq!(said(1), (&"times".into(), &"How often.".into()));
    assert_eq!(said(2), (&"right".into(), &serde_json::Value::Null));
    assert_eq!(schema("sum_sqrt")["title"], "n");
    assert_eq!(schema("nothing")["type"], "null");
}

#[test]
fn a_kernel_can_stand_in_a_function() {
    #[kernel]
    fn local(n: u8) -> u8 {
        n + 1
    }
    assert_eq!(run(local, &1), Ok(2));
    assert_eq!(local(1), 2);
}
