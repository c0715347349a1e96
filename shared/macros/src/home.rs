//! Where the code that the macros expand to finds `gristmill_shared`.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

const HINT: &str = "the kernel macros find Gristmill in the dependencies of Cargo.toml: add `gristmill` (client) or \
                    `gristmill-worker`, or say where it is with #[kernel(crate = path)]";

/// The path of `gristmill_shared` in the crate being compiled: a crate that depends on the client or the
/// worker library alone reaches it through their re-export `shared`.
pub fn shared() -> syn::Result<TokenStream> {
    if let Some(name) = dependency("gristmill-shared") {
        return Ok(quote!(::#name));
    }
    for package in ["gristmill-worker", "gristmill"] {
        if let Some(name) = dependency(package) {
            return Ok(quote!(::#name::shared));
        }
    }
    Err(syn::Error::new(Span::call_site(), HINT))
}

/// The name by which the crate being compiled knows `package`.
fn dependency(package: &str) -> Option<Ident> {
    let name = match crate_name(package).ok()? {
        // the package's own tests, examples and binaries know it by its name
        FoundCrate::Itself => package.replace('-', "_"),
        FoundCrate::Name(name) => name,
    };
    Some(Ident::new(&name, Span::call_site()))
}
