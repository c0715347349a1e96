//! The macros of Gristmill.
use proc_macro::TokenStream;

/// Placeholder until the real one lands.
#[proc_macro_attribute]
pub fn kernel(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
/// Placeholder until the real one lands.
#[proc_macro]
pub fn kernels(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
/// Placeholder until the real one lands.
#[proc_macro]
pub fn remote_kernel(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
