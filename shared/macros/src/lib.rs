//! The macros of Gristmill: `#[kernel]`, `kernels!` and `remote_kernel!`.
//!
//! Use them through `gristmill`, `gristmill_worker` or `gristmill_shared`, which re-export them: the
//! code that they expand to names that crate, found in the user's `Cargo.toml`.

mod duration;
mod home;
mod kernel;
mod list;
mod name;
mod options;
mod problems;
mod remote;
mod signature;
mod size;
mod unit_struct;

use proc_macro::TokenStream;

/// Makes a kernel of a function.
///
/// ```ignore
/// /// Draws a smaller picture.
/// #[kernel(name = "image.thumbnail", time_limit = "30s", retries = 2)]
/// fn thumbnail(ctx: &TaskContext, args: Thumbnail) -> Result<Bytes, KernelError> { shrink(ctx, &args) }
/// ```
///
/// The function becomes a unit struct of the same name which implements `Kernel` and `Run` and derefs to
/// the function pointer: `thumbnail(&ctx, args)` still calls it, `client.submit(thumbnail, args)` sends
/// it. As with every unit struct, no variable and no module in its scope can have its name (a variable in
/// its own body may).
///
/// | option | meaning |
/// |---|---|
/// | `name = "…"` | the name under which workers offer it, else the function's: 1 to 128 of `A-Za-z0-9_.:-` |
/// | `soft_time_limit = "25s"` | a task that runs longer is asked to end: `TaskContext::soft_limit_passed` |
/// | `time_limit = "30s"` | a task that runs longer is ended, with its process |
/// | `memory = "512MiB"` | a task whose process holds more is ended, with its process |
/// | `retries = 2` | attempts after the first that fails, 0 to 65534 |
/// | `backoff = "1s"` | wait before the first retry; doubles each time |
/// | `backoff_max = "10m"` | longest wait between two attempts |
/// | `ignore_result` | what a task returns is dropped where it was computed; it is only known how it ended |
/// | `crate = path` | the crate `gristmill_shared`, where it is re-exported by a crate of your own |
///
/// A parameter may have a doc comment of its own: with its name, it stands in the schema that workers publish.
///
/// A time is a whole number and one of `ms`, `s`, `m`, `h`; an amount of memory one of `KiB`, `MiB`, `GiB`. A task's own options come first.
///
/// The function is free, safe, neither async nor generic. It may take `&TaskContext` first, then up to 16
/// owned values which implement `Serialize`, `DeserializeOwned` and `JsonSchema`. It returns a value,
/// nothing, or a `Result` (told by the name as written, so not through an alias of another name) whose
/// error converts into `KernelError`: any `std::error::Error` does. `anyhow::Error` and its like are lent to
/// `KernelError::of`.
#[proc_macro_attribute]
pub fn kernel(options: TokenStream, item: TokenStream) -> TokenStream {
    kernel::expand(options.into(), item.into()).into()
}

/// The table of a worker's kernels: `kernels![sum_sqrt, image::thumbnail]`.
///
/// Lists made by linkers are empty where nothing else refers to a kernel's crate; so it is written out.
#[proc_macro]
pub fn kernels(list: TokenStream) -> TokenStream {
    list::expand(list.into()).into()
}

/// Declares typed kernels whose bodies live in somebody else's worker.
///
/// ```ignore
/// remote_kernel! {
///     /// Draws a smaller picture.
///     pub fn thumbnail(args: Thumbnail) -> Bytes = "image.thumbnail";
/// }
/// ```
///
/// Each becomes a unit struct which implements `Kernel` only: it can be submitted, not called. The
/// declaration names what travels: no context, and the value returned on success, without `Result`.
#[proc_macro]
pub fn remote_kernel(declarations: TokenStream) -> TokenStream {
    remote::expand(declarations.into()).into()
}
