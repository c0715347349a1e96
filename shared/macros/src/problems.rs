//! Everything that is wrong with one use of a macro, so that all of it is told at once.

use proc_macro2::TokenStream;
use quote::ToTokens;

#[derive(Default)]
pub struct Problems(Option<syn::Error>);

impl Problems {
    /// Notes what is wrong with `tokens`.
    pub fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    pub fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            none => *none = Some(error),
        }
    }

    /// The compile errors, if there are any.
    pub fn tell(self) -> Option<TokenStream> {
        self.0.map(|error| error.into_compile_error())
    }
}
