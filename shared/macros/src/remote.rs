//! `remote_kernel! { … }`

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, LitStr, Token, Visibility};

use crate::problems::Problems;
use crate::signature::{Role, Signature};
use crate::{home, options, unit_struct};

/// `pub fn thumbnail(a: Thumbnail) -> Bytes = "image.thumbnail";`
struct Declaration {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: syn::Signature,
    name: LitStr,
}

impl Parse for Declaration {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input.parse()?;
        if !input.peek(Token![=]) {
            return Err(
                input.error("a remote kernel ends with the name that its worker gives it: `= \"image.thumbnail\";`")
            );
        }
        input.parse::<Token![=]>()?;
        let name = input.parse()?;
        input.parse::<Token![;]>()?;
        Ok(Self { attributes, visibility, signature, name })
    }
}

struct Declarations(Vec<Declaration>);

impl Parse for Declarations {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut declarations = Vec::new();
        while !input.is_empty() {
            declarations.push(input.parse()?);
        }
        Ok(Self(declarations))
    }
}

pub fn expand(declarations: TokenStream) -> TokenStream {
    let parsed = syn::parse2::<Declarations>(declarations).and_then(|parsed| Ok((parsed, home::shared()?)));
    match parsed {
        Ok((declarations, shared)) => declarations.0.iter().map(|one| one.expand(&shared)).collect(),
        Err(error) => error.into_compile_error(),
    }
}

impl Declaration {
    fn expand(&self, shared: &TokenStream) -> TokenStream {
        let mut problems = Problems::default();
        let signature = Signature::read(&self.signature, Role::Remote, &mut problems);
        let name = options::checked_name(&self.name).unwrap_or_else(|error| {
            problems.add(error);
            String::new()
        });
        let ident = &self.signature.ident;
        let conditions = unit_struct::named(&self.attributes, &["cfg"]);
        let attributes: Vec<&Attribute> = self.attributes.iter().collect();
        let unit_struct = unit_struct::expand(&attributes, &self.visibility, ident);
        if let Some(errors) = problems.tell() {
            return unit_struct::refuse(errors, unit_struct);
        }
        let kernel = unit_struct::expand_kernel(shared, ident, &name, &signature);
        quote! {
            #unit_struct
            #(#conditions)*
            #[allow(deprecated)]
            const _: () = { #kernel };
        }
    }
}
