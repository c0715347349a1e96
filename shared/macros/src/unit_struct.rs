//! The unit struct that stands for a kernel, and what it says about it.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, Meta, Visibility};

use crate::name;
use crate::options::Options;
use crate::problems::Problems;
use crate::signature::Signature;

/// `pub struct thumbnail;` with the attributes that belong there.
pub fn expand(attributes: &[&Attribute], visibility: &Visibility, ident: &Ident) -> TokenStream {
    quote! {
        #(#attributes)*
        #[allow(non_camel_case_types)]
        #[derive(::core::clone::Clone, ::core::marker::Copy)]
        #visibility struct #ident;
    }
}

/// The `impl Kernel` of the struct.
pub fn expand_kernel(shared: &TokenStream, ident: &Ident, name: &str, signature: &Signature) -> TokenStream {
    let (args, output) = (signature.args(), signature.output());
    quote! {
        impl #shared::kernel::Kernel for #ident {
            const NAME: &'static str = #name;
            type Args = #args;
            type Output = #output;
        }
    }
}

/// The name given, else the function's.
pub fn kernel_name(options: &Options, ident: &Ident, problems: &mut Problems) -> String {
    let name = options.name.clone().unwrap_or_else(|| ident.unraw().to_string());
    if options.name.is_none()
        && let Err(message) = name::check(&name)
    {
        problems.at(ident, format!("{message}; or give it one with #[kernel(name = \"…\")]"));
    }
    name
}

/// The attributes of those names.
pub fn named<'a>(attributes: &'a [Attribute], names: &[&str]) -> Vec<&'a Attribute> {
    attributes.iter().filter(|attribute| is(attribute, names)).collect()
}

/// Whether the attribute has one of those names.
pub fn is(attribute: &Attribute, names: &[&str]) -> bool {
    names.iter().any(|name| attribute.path().is_ident(name))
}

/// The paragraphs of the doc comments before the first heading or code block.
pub fn doc(attributes: &[Attribute]) -> String {
    let text: Vec<String> = named(attributes, &["doc"]).into_iter().filter_map(doc_text).collect();
    let text = text.join("\n");
    let lines = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    let first: Vec<&str> = lines.take_while(|line| !line.starts_with("# ") && !line.starts_with("```")).collect();
    first.join("\n").trim().to_owned()
}

fn doc_text(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// The compile errors, and the item itself so that they draw no others after them.
pub fn refuse(errors: TokenStream, item: impl ToTokens) -> TokenStream {
    quote!(#errors #item)
}
