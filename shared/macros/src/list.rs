//! `kernels![…]`

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{ExprPath, Token};

use crate::home;

pub fn expand(list: TokenStream) -> TokenStream {
    try_expand(list).unwrap_or_else(syn::Error::into_compile_error)
}

fn try_expand(list: TokenStream) -> syn::Result<TokenStream> {
    let kernels = Punctuated::<ExprPath, Token![,]>::parse_terminated.parse2(list)?;
    let kernels = kernels.iter();
    let shared = home::shared()?;
    Ok(quote! {
        #shared::kernel::Kernels::new(::std::vec![#(#shared::kernel::RegisteredKernel::of(#kernels)),*])
    })
}
